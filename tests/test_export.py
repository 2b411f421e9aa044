"""Export: symbolic sizes mean what numbers mean; what was exported says the same alone.

StableHLO is read back by a process in which jaxrnn cannot be imported. ONNX models are
run by onnxruntime.
"""

import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jaxrnn
from jaxrnn import convert
from jaxrnn.convert import onnx
from tests.installed import need
from tests.laws import cases
from tests.laws.cases import F, assert_close, randomise

CELLS = {
    **{name: cases.CELLS[name] for name in cases.BUILT_IN},
    "stack": jaxrnn.stack(jaxrnn.lstm(5), jaxrnn.gru(3)),
    "bidirectional": jaxrnn.bidirectional(jaxrnn.lstm(5), jaxrnn.gru(3)),
    "all": jaxrnn.stack(
        jaxrnn.lstm(5), jaxrnn.bidirectional(jaxrnn.gru(4), jaxrnn.simple_rnn(3))
    ),
}
OPTIONS = ("lengths", "mask", "resets")


def draw(cell, steps, rows, dtype=np.float64, seed=0):
    """Random ``(params, carry, xs)`` and all three options; one row has length 0."""
    rng = np.random.RandomState(seed + 10 * steps + rows)
    xs = jnp.asarray(rng.randn(steps, rows, *cases.event_of(cell)), dtype)
    params = randomise(1, cell.init(jax.random.key(0), F))
    params = jax.tree.map(lambda a: a.astype(dtype), params)
    carry = randomise(seed + 2, cell.initial_carry(params, xs[0]))
    lengths = rng.permutation(np.r_[steps, 0, rng.randint(1, steps + 1, rows - 2)])
    options = {
        "lengths": jnp.asarray(lengths, np.int32),
        "mask": jnp.asarray(rng.rand(steps, rows) < 0.8),
        "resets": jnp.asarray(rng.rand(steps, rows) < 0.2),
    }
    return params, carry, xs, options


def types_of(time, batch, params, carry, xs, options):
    """The types of what `draw` draws, with these sizes: symbols such as "t" or numbers."""
    t, b = export.symbolic_shape(f"{time}, {batch}")

    def like(leading, tree):
        n = len(leading)
        one = lambda a: jax.ShapeDtypeStruct((*leading, *a.shape[n:]), a.dtype)
        return jax.tree.map(one, tree)

    options = {
        k: like((b,) if k == "lengths" else (t, b), v) for k, v in options.items()
    }
    return like((), params), like((b,), carry), like((t, b), xs), options


def with_grads(run):
    """``(params, carry, xs, options) -> (outputs, gradients)``, for sizes of any kind."""

    def loss(params, carry, xs, options):
        out = run(params, carry, xs, options)
        floats = [a for a in jax.tree.leaves(out) if jnp.issubdtype(a.dtype, float)]
        return sum(jnp.sum(jnp.sin((2 + i) * a)) for i, a in enumerate(floats)), out

    def both(*args):
        f = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True, allow_int=True)
        (_, out), grads = f(*args)
        return out, [g for g in jax.tree.leaves(grads) if g.dtype != jax.dtypes.float0]

    return both


# Symbolic sizes


def check(cell, time, batch, **static):
    """What was exported with symbols has the values and gradients of numbers."""

    def run(params, carry, xs, options):
        return jaxrnn.unroll(cell, params, carry, xs, **options, **static)

    run = jax.jit(with_grads(run))
    args = draw(cell, 9 if time == "t" else 6, 5 if batch == "b" else 3)
    exported = export.export(run)(*types_of(time, batch, *args))
    assert_close(jax.jit(exported.call)(*args), run(*args))


@pytest.mark.parametrize(
    ("time", "batch", "remat"),
    [
        ("t", "b", None),
        ("6", "b", "auto"),
        pytest.param("t", "b", 2, marks=pytest.mark.slow),
        pytest.param("t", "3", "auto", marks=pytest.mark.slow),
        pytest.param("6", "b", 2, marks=pytest.mark.slow),
    ],
)
def test_a_size_may_be_symbolic(time, batch, remat):
    check(CELLS["gru"], time, batch, remat=remat)


@pytest.mark.parametrize(
    ("time", "batch", "static"),
    [("t", "b", {}), ("6", "b", {"reverse": True}), ("t", "3", {"engine": "scan"})],
)
@cases.each(quick=())
def test_a_size_may_be_symbolic_for_every_cell(name, time, batch, static):
    check(cases.CELLS[name], time, batch, **static)


@pytest.mark.slow
def test_a_size_may_be_symbolic_under_noise():
    """Of all kinds, each with a key of its own."""
    cell = jaxrnn.noise.variational(
        CELLS["gru"], inputs=0.2, recurrent=0.3, outputs=0.4
    )
    cell = jaxrnn.noise.gaussian(cell, inputs=0.1, pre=0.1, carry=0.1)
    cell = jaxrnn.noise.zoneout(jaxrnn.noise.weight_drop(cell, 0.2), 0.3)
    cell = jaxrnn.noise.dropout(jaxrnn.noise.recurrent_dropout(cell, 0.2), 0.1)
    check(cell, "t", "b", key=jax.random.key(7))


@pytest.mark.parametrize("argument", [*OPTIONS, "carry"])
def test_symbols_that_do_not_fit_are_refused(argument):
    cell = CELLS["lstm"]
    params, carry, xs, options = types_of("t", "b", *draw(cell, 6, 3))
    other = lambda a: jax.ShapeDtypeStruct((*a.shape[1::-1], *a.shape[2:]), a.dtype)
    if argument == "carry":
        carry = jax.tree.map(other, carry)
    elif argument == "lengths":
        options["lengths"] = jax.ShapeDtypeStruct(xs.shape[:1], np.int32)
    else:
        options[argument] = other(options[argument])

    def run(params, carry, xs, options):
        return jaxrnn.unroll(cell, params, carry, xs, **options)

    with pytest.raises(ValueError, match=rf"^{argument}.*: expected .*b.*, got .*t"):
        export.export(jax.jit(run))(params, carry, xs, options)


# StableHLO

ALONE = """
import sys
import jax, numpy as np

sys.modules["jaxrnn"] = None  # an import of it fails, as where it is not installed
with open("exported", "rb") as file:
    exported = jax.export.deserialize(bytearray(file.read()))
with np.load("given.npz") as file:
    given = {kind: [] for kind in ("floats", "options", "cotangents")}
    for name, array in file.items():
        given[name.split()[0]].append(array)

@jax.jit
def run(floats, options, cotangents):
    out, back = jax.vjp(lambda floats: exported.call(floats, options), floats)
    return out, back(cotangents)[0]

out, grads = run(**given)
np.savez("done.npz", *out, *grads)
"""


@cases.each(CELLS, quick=["gru"])
def test_what_was_exported_is_the_same_without_jaxrnn(name, tmp_path):
    cell = CELLS[name]
    *floats, options = draw(cell, 9, 5)
    floats, tree = jax.tree.flatten(floats)

    def run(floats, options):
        params, carry, xs = jax.tree.unflatten(tree, floats)
        options = dict(zip(OPTIONS, options, strict=True))
        return jax.tree.leaves(jaxrnn.unroll(cell, params, carry, xs, **options))

    @jax.jit
    def expected(floats, options, cotangents):
        out, back = jax.vjp(lambda floats: run(floats, options), floats)
        return [*out, *back(cotangents)[0]]

    *types, symbolic = types_of("t", "b", *draw(cell, 9, 5))
    exported = export.export(jax.jit(run))(
        jax.tree.leaves(types), [symbolic[name] for name in OPTIONS]
    )
    given = dict(floats=floats, options=[options[name] for name in OPTIONS])
    given["cotangents"] = randomise(3, jax.eval_shape(run, floats, given["options"]))

    (tmp_path / "exported").write_bytes(exported.serialize(vjp_order=1))
    arrays = {f"{k} {i}": a for k, many in given.items() for i, a in enumerate(many)}
    np.savez(tmp_path / "given.npz", **arrays)
    alone = [sys.executable, "-W", "error", "-c", ALONE]
    env = {**os.environ, "JAX_ENABLE_X64": "1"}
    done = subprocess.run(alone, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "done.npz") as file:
        assert_close(list(file.values()), list(expected(**given)))


# ONNX

ONNX_CELLS = {
    **CELLS,
    **{k: cases.CELLS[k] for k in ("own_gated", "bare", "residual", "with_carries")},
    "learned_carry": jaxrnn.learned_carry(jaxrnn.gru(4)),
}


def in_onnxruntime(model, arrays):
    import onnxruntime

    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), quiet)
    named = dict(zip([i.name for i in session.get_inputs()], arrays, strict=True))
    return session.run(None, {name: np.asarray(a) for name, a in named.items()})


def same_in_onnx(cell, time, batch, which, dtype=np.float32, **static):
    """The model of `cell` with the options `which` gives JAX's values, for two sizes."""
    need("jax2onnx", "onnxruntime")

    def flat(params, carry, xs, options):
        return [*jax.tree.leaves((carry, xs)), *(options[name] for name in which)]

    drawn = [  # where a size is fixed, both have it, but other numbers
        draw(
            cell, steps if time == "t" else 6, rows if batch == "b" else 3, dtype, seed
        )
        for seed, (steps, rows) in enumerate([(6, 3), (9, 5)])
    ]
    params = drawn[0][0]
    tree = jax.tree.structure(drawn[0][1:3])

    def run(*arrays):
        carry, xs = jax.tree.unflatten(tree, arrays[: tree.num_leaves])
        options = dict(zip(which, arrays[tree.num_leaves :], strict=True))
        return jaxrnn.unroll(cell, params, carry, xs, **options, **static)

    model = convert.to_onnx(run, *flat(*types_of(time, batch, *drawn[0])))
    for arrays in (flat(*one) for one in drawn):
        expected = jax.tree.leaves(run(*arrays))
        assert all(a.dtype in (dtype, np.int32) for a in expected)
        tolerance = 1e-6 if dtype == np.float32 else 1e-12
        assert_close(in_onnxruntime(model, arrays), expected, tolerance)


@pytest.mark.parametrize(
    ("which", "time", "batch"),
    [
        pytest.param(OPTIONS, "t", "b", id="all options", marks=pytest.mark.slow),
        pytest.param(("lengths",), "6", "b", id="lengths", marks=pytest.mark.nightly),
        pytest.param((), "6", "3", id="fixed", marks=pytest.mark.nightly),
    ],
)
@cases.each(ONNX_CELLS, quick=set(ONNX_CELLS) - set(cases.ALIKE))
def test_onnx(name, which, time, batch):
    with jax.enable_x64(False):
        same_in_onnx(ONNX_CELLS[name], time, batch, which)


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param("auto", marks=pytest.mark.slow),
        pytest.param("scan", marks=pytest.mark.nightly),
    ],
)
@cases.each(ONNX_CELLS, quick=set(ONNX_CELLS) - set(cases.ALIKE))
def test_onnx_of_reversed_time(name, engine):
    with jax.enable_x64(False):
        same_in_onnx(ONNX_CELLS[name], "t", "b", OPTIONS, reverse=True, engine=engine)


@pytest.mark.slow
def test_onnx_of_what_jit_has_seen():
    """A compiled function is traced anew, so that its reversed scans are found."""
    need("jax2onnx", "onnxruntime")
    cell = CELLS["bidirectional"]
    with jax.enable_x64(False):
        params, _, xs, _ = draw(cell, 9, 5, np.float32)
        types = types_of("t", "b", *draw(cell, 9, 5, np.float32))
        run = jax.jit(lambda xs: jaxrnn.unroll(cell, params, None, xs)[1])
        expected = run(xs)
        model = convert.to_onnx(run, types[2])
        assert_close(in_onnxruntime(model, [xs]), [expected], 1e-6)


# onnxruntime has no convolution in float64.
@cases.each([name for name in CELLS if "conv" not in name], quick=())
def test_onnx_in_float64(name):
    same_in_onnx(CELLS[name], "t", "b", OPTIONS, np.float64)


@pytest.mark.slow
def test_onnx_of_pytrees():
    """Arguments and result are flattened; names go to their leaves; jit stays as it was."""
    need("jax2onnx", "onnxruntime")
    cell = jaxrnn.stack(jaxrnn.lstm(5), jaxrnn.gru(3))
    with jax.enable_x64(False):
        params, carry, xs, _ = draw(cell, 6, 3, np.float32)

        def run(params, carry, inputs):
            carry, hs = jaxrnn.unroll(cell, params, carry, inputs["xs"])
            return {"carry": carry, "hs": hs}

        args, scan = (params, carry, {"xs": xs}), jax.lax.scan
        expected = jax.tree.leaves(run(*args))
        outputs = [f"out{i}" for i in range(len(expected))]
        model = convert.to_onnx(run, *args, output_names=outputs)
        assert jax.lax.scan is scan
        assert [o.name for o in model.graph.output] == outputs
        got = in_onnxruntime(model, jax.tree.leaves(args))
        assert_close(got, expected, 1e-6)


def drawing(xs):
    return xs + jax.random.normal(jax.random.key(0), xs.shape)


def half_inside(xs):
    step = lambda c, x: (c + x.astype(jnp.bfloat16).sum().astype(x.dtype), c)
    return jax.lax.scan(step, jnp.zeros((), xs.dtype), xs)[1]


@pytest.mark.parametrize(
    ("function", "types", "message"),
    [
        (3, (np.ones((2, 3)),), "function: expected a function of arrays, got 3"),
        (np.sin, (2.0,), r"types\[0\]: expected an array or .*got 2.0"),
        (jnp.sin, ({"a": np.ones((0, 3))},), r"types\[0\]\['a'\]: .*from 1.*\[0, 3\]"),
        (jnp.sin, (np.ones((2, 3), np.float16),), "float32 or float64.*got float16"),
        (half_inside, (np.ones((2, 3)),), "float32 or float64.*got bfloat16"),
        (drawing, (np.ones((2, 3)),), "no random numbers, got random_"),
        (
            jnp.linalg.eigvals,
            (np.ones((3, 3)),),
            r"jax2onnx [\d.]+ cannot convert it: ",
        ),
    ],
)
def test_what_onnx_has_not_is_refused(function, types, message, monkeypatch):
    def to_onnx(*args, **options):
        raise NotImplementedError("eig")

    monkeypatch.setattr(onnx, "_jax2onnx", lambda: SimpleNamespace(to_onnx=to_onnx))
    monkeypatch.setattr(onnx, "version", lambda package: "0.13.0")
    with pytest.raises(ValueError, match=message):
        convert.to_onnx(function, *types)
