"""Half precision, sums and overflow: what comes in, and what each library then loads."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import convert
from tests.convert.libraries import LIBRARIES, B, F, T, cell_of
from tests.installed import need
from tests.laws import cases
from tests.peers.runs import MODULES

H = 4
HALF = ("bfloat16", "float16")
GRU = jaxrnn.gru(H)


def cast(tree, dtype):
    return jax.tree.map(lambda a: np.asarray(a).astype(jnp.dtype(dtype)), tree)


def two_biases(dtype, b=0.0, random=None):
    """Arrays with two biases, or Haiku's one, for every library that adds biases."""
    random = random or np.random.RandomState(0)

    def draw(*shape):
        return (b or 3 * random.randn(*shape) ** 3) * np.ones(shape)

    def kernel(*shape):
        return random.randn(*shape)

    return {
        name: (take, cast(weights, dtype))
        for name, (take, weights) in {
            "torch": (
                convert.from_torch,
                {
                    "weight_ih_l0": kernel(4 * H, 3),
                    "weight_hh_l0": kernel(4 * H, H),
                    "bias_ih_l0": draw(4 * H),
                    "bias_hh_l0": draw(4 * H),
                },
            ),
            "torch gru": (
                convert.from_torch,
                {
                    "weight_ih_l0": kernel(3 * H, 3),
                    "weight_hh_l0": kernel(3 * H, H),
                    "bias_ih_l0": draw(3 * H),
                    "bias_hh_l0": draw(3 * H),
                },
            ),
            "keras": (
                convert.from_keras,
                [kernel(3, 3 * H), kernel(H, 3 * H), draw(2, 3 * H)],
            ),
            "haiku": (
                convert.from_haiku,
                {
                    "vanilla_rnn/linear": {"w": kernel(3, H), "b": draw(H)},
                    "vanilla_rnn/linear_1": {"w": kernel(H, H), "b": draw(H)},
                },
            ),
            "cudnn": (
                lambda flat, **dtype: convert.from_cudnn(flat, 3, H, **dtype),
                np.concatenate([kernel(4 * H * (3 + H)), draw(8 * H)]),
            ),
        }.items()
    }


LIBRARY = ["torch", "torch gru", "keras", "haiku", "cudnn"]


@pytest.mark.parametrize("library", LIBRARY)
@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_read_as_float32_loses_nothing(library, dtype):
    """float64 adds two such numbers without an error, and float32 rounds that once."""
    take, weights = two_biases(dtype)[library]
    _, exact = take(cast(weights, np.float64))
    for given in ("float32", np.float32, jnp.float32, jnp.dtype("float32")):
        cell, params = take(weights, dtype=given)
        assert {a.dtype for a in params} == {np.dtype("float32")}
        cases.assert_same_bits(params, cast(exact, "float32"))
    assert np.any(np.asarray(exact.b, np.float32) != exact.b.astype(dtype))
    _, own = take(weights)
    assert {a.dtype.name for a in own} == {dtype}
    cases.assert_same_bits(own, cast(exact, dtype))


@pytest.mark.parametrize("library", LIBRARY)
def test_two_float16_biases_that_overflow_are_refused(library):
    take, weights = two_biases("float16", 40000.0)[library]
    with pytest.raises(ValueError, match=r"b.* float16 holds, got 40000 \+ 40000 at"):
        take(weights)
    _, params = take(weights, dtype="float32")
    assert params.b.max() == 80000
    with pytest.raises(ValueError, match="Give dtype='float32'"):
        take(weights)


def test_the_parameter_that_overflows_is_named():
    state = two_biases("float32")["torch"][1]
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"):
        much = {f"rnn.{n}": a + (n == name) * np.float32(1e5) for n, a in state.items()}
        called = f"rnn.{name}" + " + rnn.bias_hh_l0" * ("bias" in name)
        with pytest.raises(ValueError, match=f"{called.replace('+', '.')}: expected"):
            convert.from_torch(much, prefix="rnn.", dtype="float16")
    keras = [two_biases("float32", 1e5)["keras"][1]] * 2
    with pytest.raises(ValueError, match=r"weights\[0\]: bias: .*100000 \+ 100000"):
        convert.from_keras(keras, dtype="float16")
    linen = convert.to_linen(
        GRU, jaxrnn.cells.GRUParams(*(np.full(s, 1e5) for s in SIZES))
    )
    with pytest.raises(ValueError, match=r"params backward: input kernel: expected"):
        convert.from_linen((convert.to_linen(GRU, SMALL), linen), dtype="float16")


SIZES = ((3, 3 * H), (H, 3 * H), (3 * H,), (H,))
SMALL = jaxrnn.cells.GRUParams(
    *(np.linspace(-1, 1, np.prod(s)).reshape(s) for s in SIZES)
)


def test_what_was_infinite_stays_so():
    """An overflow of the conversion is refused, and not what the file holds."""
    take, weights = two_biases("float16", 60000.0)["torch"]
    weights["bias_ih_l0"] = np.full(4 * H, np.inf, np.float16)
    weights["weight_ih_l0"][0, 0] = np.nan
    _, params = take(weights)
    assert np.isinf(params.b).all()
    assert np.isnan(params.wx).sum() == 1


def test_the_largest_of_each_dtype():
    for dtype in ("float16", "float32", "float64"):
        top = np.finfo(dtype).max
        state = {k: a * 0 for k, a in two_biases(dtype)["torch"][1].items()}
        state["bias_ih_l0"] = state["bias_ih_l0"] + top
        assert np.isfinite(convert.from_torch(state)[1].b).all()
        state["bias_hh_l0"] = state["bias_ih_l0"]
        with pytest.raises(ValueError, match=f"bias_ih_l0 .* {dtype} holds"):
            convert.from_torch(state)


@pytest.mark.parametrize("dtype", ["int32", "complex64", "nonsense", object()])
def test_dtypes_that_no_params_have(dtype):
    for take, weights in two_biases("float32").values():
        with pytest.raises(
            ValueError, match="dtype: expected a floating dtype such as"
        ):
            take(weights, dtype=dtype)


BACK = {
    "torch": (convert.to_torch, convert.from_torch),
    "keras": (convert.to_keras, convert.from_keras),
    "linen": (convert.to_linen, convert.from_linen),
    "equinox": (convert.to_equinox, convert.from_equinox),
}


@pytest.mark.parametrize("library", BACK)
def test_every_from_takes_a_dtype(library):
    give, take = BACK[library]
    weights = give(GRU, SMALL)
    for dtype in (*HALF, "float32", "float64"):
        _, params = take(weights, dtype=dtype)
        assert {a.dtype.name for a in params} == {dtype}
        cases.assert_same_bits(params, cast(SMALL, dtype))


def test_nnx_and_haiku_take_a_dtype():
    cell = jaxrnn.lstm(H)
    sizes = ((3, 4 * H), (H, 4 * H), (4 * H,))
    params = cases.randomise(1, jaxrnn.cells.LSTMParams(*map(np.ones, sizes)))
    for give, take in (
        (convert.to_nnx, convert.from_nnx),
        (convert.to_haiku, convert.from_haiku),
    ):
        _, made = take(give(cell, params), dtype="bfloat16")
        cases.assert_close(made, cast(params, "bfloat16"))
        assert {a.dtype.name for a in made} == {"bfloat16"}


def test_weights_of_two_dtypes_need_one():
    state = two_biases("float32")["torch"][1]
    state["bias_hh_l0"] = state["bias_hh_l0"].astype(np.float16)
    with pytest.raises(ValueError, match=r"of one dtype.*Give dtype='float32'"):
        convert.from_torch(state)
    _, params = convert.from_torch(state, dtype="float32")
    np.testing.assert_array_equal(
        params.b, state["bias_ih_l0"] + np.float32(state["bias_hh_l0"])
    )


def test_other_byte_orders():
    state = two_biases("float32")["torch"][1]
    swapped = {name: a.astype(">f4") for name, a in state.items()}
    cases.assert_same_bits(*(convert.from_torch(s)[1] for s in (state, swapped)))


def test_float64_without_x64():
    take, weights = two_biases("float64")["torch"]
    with jax.enable_x64(False):
        for options in ({}, {"dtype": "float64"}):
            with pytest.warns(UserWarning, match="float64 weights become float32"):
                _, params = take(weights, **options)
            assert params.b.dtype == np.float32
            total = weights["bias_ih_l0"] + weights["bias_hh_l0"]
            np.testing.assert_array_equal(params.b, np.float32(total))  # rounded once
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            take(weights, dtype="float32")
        much = weights | {"weight_ih_l0": weights["weight_ih_l0"] * 1e300}
        with pytest.raises(ValueError, match=r"weight_ih_l0.*under jax_enable_x64"):
            take(much, dtype="float32")


def test_haikus_one_is_added_before_rounding():
    w, b = np.ones((3 + H, 4 * H)), np.full(4 * H, 0.004)
    half = {"w": w.astype(jnp.bfloat16), "b": b.astype(jnp.bfloat16)}
    _, wide = convert.from_haiku({"lstm/linear": half}, dtype="float32")
    np.testing.assert_array_equal(
        wide.b[H : 2 * H], np.float32(1) + half["b"][:H].astype(np.float32)
    )
    _, own = convert.from_haiku({"lstm/linear": half})
    assert own.b[H] == jnp.asarray(wide.b[H]).astype(jnp.bfloat16)
    back = convert.to_haiku(jaxrnn.lstm(H), wide)["lstm/linear"]["b"]
    np.testing.assert_allclose(back[2 * H : 3 * H], half["b"][:H].astype(float), 1e-4)


@pytest.mark.slow
def test_torch_takes_both_halves_from_numpy():
    need("torch")
    import torch

    for dtype in HALF:
        cell = jaxrnn.bidirectional(jaxrnn.gru(H, dtype=dtype))
        params = cases.randomise(3, cell.init(jax.random.key(0), 3))
        params = cast(params, dtype)
        state = convert.to_torch(cell, params)
        tensors = {name: torch.from_numpy(a) for name, a in state.items()}
        for module_dtype in (torch.float32, getattr(torch, dtype)):
            module = torch.nn.GRU(3, H, bidirectional=True, dtype=module_dtype)
            module.load_state_dict(tensors)
            cases.assert_same_bits(
                convert.from_torch(module.state_dict(), dtype=dtype)[1], params
            )
        if dtype == "bfloat16":  # and not in the order of rows
            halves = {n: t.to(torch.bfloat16) for n, t in tensors.items()}
            turned = {
                n: t.mT.contiguous().mT if t.ndim == 2 else t for n, t in halves.items()
            }
            assert not turned["weight_ih_l0"].is_contiguous()
            cases.assert_same_bits(convert.from_torch(turned)[1], params)


def test_cudnn_gets_float32():
    """`jax.experimental.rnn.lstm` computes in float32 alone."""
    cell = jaxrnn.lstm(H)
    for dtype in HALF:
        params = cases.randomise(1, cell.init(jax.random.key(0), 3))
        params = cast(params, dtype)
        flat = convert.to_cudnn(cell, params)
        assert flat.dtype == np.float32
        _, back = convert.from_cudnn(flat, 3, H, dtype=dtype)
        cases.assert_same_bits(back, params)


@pytest.mark.slow
def test_equinox_trains_bfloat16_fields():
    """Its filters do not know NumPy's bfloat16 as a float."""
    need("equinox")
    import equinox as eqx

    for dtype in HALF:
        cell = eqx.nn.GRUCell(3, H, key=jax.random.key(0), dtype=dtype)
        params = cast(SMALL, dtype)
        fields = convert.to_equinox(GRU, params)
        where = lambda c: [getattr(c, name) for name in fields]  # noqa: B023
        cell = eqx.tree_at(where, cell, list(fields.values()))
        x, h = (jnp.linspace(-1, 1, n).astype(dtype) for n in (3, H))

        def loss(cell):
            return jnp.sum(cell(x, h).astype(jnp.float32))  # noqa: B023

        grads = eqx.filter_grad(loss)(cell)
        for name in fields:
            assert getattr(grads, name) is not None, (dtype, name)
            assert np.any(np.asarray(getattr(grads, name), np.float32) != 0)
        cases.assert_same_bits(convert.from_equinox(cell)[1], params)


QUICK = [("linen", "gru"), ("nnx", "lstm"), ("haiku", "lstm"), ("equinox", "gru")]


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize(
    ("library", "kind"),
    [
        pytest.param(*pair, marks=pytest.mark.slow)
        for pair in [*QUICK, ("torch", "gru"), ("keras", "gru"), ("keras", "lstm")]
    ],
)
def test_half_precision_in_each_library(library, kind, dtype):
    """Loaded as documented, into its float32 network: the same outputs, in float32."""
    need(MODULES[library].split(".")[0])
    random = np.random.RandomState(list(f"{library} {kind}".encode()))
    peer = LIBRARIES[library]
    network = peer.make(kind, 1, 1, random)
    cell = cell_of(kind, 1, 1)
    params = jax.tree.map(
        lambda a: (0.5 * random.randn(*a.shape)).astype(jnp.dtype(dtype)),
        jax.eval_shape(lambda: cell.init(jax.random.key(0), F)),
    )
    xs = np.float32(random.randn(T, B, F))
    given = peer.give(cell, params, kind)
    theirs = np.asarray(network.run(given, xs), np.float32)
    wide = cast(params, "float32")
    _, ours = jaxrnn.unroll(cell, wide, None, xs)
    # Haiku takes 1 off the forget bias, and the difference is rounded to the dtype.
    tolerance = 2.0**-7 if library == "haiku" else 1e-6
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=tolerance)
    assert np.abs(ours).max() > 0.1


def test_files_of_half_precision(tmp_path):
    path = tmp_path / "half"
    half = cast(SMALL, "bfloat16")
    convert.save_safetensors(path, half, cell=GRU)
    like = cast(SMALL, "float32")
    with pytest.raises(
        ValueError, match=r"got bfloat16 .*Give dtype='float32' to cast"
    ):
        convert.load_safetensors(path, like)
    loaded = convert.load_safetensors(path, like, cell=GRU, dtype="float32")
    assert {a.dtype.name for a in loaded} == {"float32"}
    cases.assert_same_bits(loaded, cast(half, "float32"))
    much = {"w": np.full(3, 1e5, np.float32), "n": np.arange(3)}
    convert.save_safetensors(path, much)
    with pytest.raises(ValueError, match=r"'w': expected numbers that float16 holds"):
        convert.load_safetensors(path, much, dtype="float16")
    loaded = convert.load_safetensors(path, much, dtype="bfloat16")
    assert loaded["n"].dtype == np.arange(3).dtype  # no floats: as they were
    assert loaded["w"].dtype == jnp.bfloat16
    with pytest.raises(ValueError, match="'n': expected float"):
        convert.load_safetensors(path, much | {"n": np.ones(3)}, dtype="float32")


@pytest.mark.slow
def test_a_whole_way_through_files_to_torch(tmp_path):
    need("torch")
    import torch
    from safetensors.torch import load_file

    half = cast(SMALL, "bfloat16")
    convert.save_safetensors(tmp_path / "x", convert.to_torch(GRU, half))
    module = torch.nn.GRU(3, H)
    module.load_state_dict(load_file(tmp_path / "x"))
    cases.assert_same_bits(
        convert.from_torch(module.state_dict(), dtype="bfloat16")[1], half
    )
