"""Faults of the museum that have no test in it, and why."""

LEFT_OUT = (
    (
        18,
        (
            "microsoft/onnxruntime#4187",
            "onnx/keras-onnx#523",
            "tensorflow/tensorflow#40345",
        ),
        "Exporters put the outputs of reversed time in different orders.",
        "`tests/test_export.py` runs the exported ONNX files, with reversed time too.",
    ),
    (
        24,
        ("google-deepmind/optax#898",),
        "Masked logits of -inf gave a wrong cross-entropy and gradient.",
        "The library has no losses; Optax has fixed it.",
    ),
    (
        25,
        ("google-deepmind/optax#1752",),
        "Clipping by a norm of zero divided zero by zero.",
        "Clipping is part of Optax, which has fixed it.",
    ),
    (
        31,
        ("jax-ml/jax@fc1c31d",),
        "Matmuls in TF32 made an LSTM wrong beyond its tests' tolerance.",
        "Only GPUs have TF32; the benchmarks set the precision and name it.",
    ),
    (
        46,
        ("keras-team/keras#20656", "keras-team/keras#20276", "keras-team/keras#20663"),
        "All gates shared one mask of recurrent dropout.",
        "On purpose: variational dropout ties the masks of the gates, as its paper does.",
    ),
    (
        61,
        ("stanford-crfm/levanter#77",),
        "A clock that ran backwards changed when checkpoints were saved.",
        "No clock decides here: saves are counted in updates.",
    ),
)
