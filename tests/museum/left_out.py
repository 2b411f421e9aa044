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
        "Of ONNX, `tests/test_export.py` runs what it exports, reversed time among it.",
    ),
    (
        24,
        ("google-deepmind/optax#898",),
        "Masked logits of -inf gave a wrong cross-entropy and gradient.",
        "There is no loss here; Optax has mended it.",
    ),
    (
        25,
        ("google-deepmind/optax#1752",),
        "Clipping by a norm of zero divided zero by zero.",
        "Clipping is Optax's, which has mended it.",
    ),
    (
        31,
        ("jax-ml/jax@fc1c31d",),
        "Matmuls in TF32 made an LSTM wrong beyond its tests' tolerance.",
        "A GPU alone has TF32; the benchmarks pin the precision and say which.",
    ),
    (
        46,
        ("keras-team/keras#20656", "keras-team/keras#20276", "keras-team/keras#20663"),
        "All gates shared one mask of recurrent dropout.",
        "There is no recurrent dropout here.",
    ),
    (
        61,
        ("stanford-crfm/levanter#77",),
        "A clock that ran back confused when to save.",
        "Nothing here is decided by a clock: saves are counted in updates.",
    ),
)
