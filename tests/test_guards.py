"""JAX's own guards over the public API: what a user switches on to find silent errors.

Implicit promotion of ranks and dtypes is found while a program is traced, so the table
below is traced and not compiled. `debug_nans` looks at numbers and `checking_leaks` traces
everything anew: a few rows run under them, and tests/transformations has every cell.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
import jaxrnn.linen
import jaxrnn.nnx
from jaxrnn import initializers, probe, tasks
from tests.laws.cases import CELLS, B, F, H, T, example

LENGTHS = jnp.array([T, 2, 0])
MASK = jnp.asarray(np.random.RandomState(5).rand(T, B) < 0.7)
RESETS = jnp.asarray(np.random.RandomState(4).rand(T, B) < 0.3)
EVERYTHING = dict(lengths=LENGTHS, mask=MASK, resets=RESETS, reverse=True, remat=2)
OPTIONS = {
    "plain": {},
    "lengths": dict(lengths=LENGTHS),
    "known lengths": dict(lengths=[T, 2, 0]),
    "mask": dict(mask=MASK),
    "resets": dict(resets=RESETS),
    "reverse": dict(resets=RESETS, reverse=True),
    "remat": dict(remat=2),
    "remat auto": dict(remat="auto"),
    "everything": EVERYTHING,
}
MIXED = jaxrnn.precision(jaxrnn.lstm(H), compute="bfloat16")
EVERY = {
    **CELLS,
    "precision of a step": jaxrnn.precision(CELLS["bare"], compute="float32"),
    "precision inside": jaxrnn.stack(
        MIXED, jaxrnn.bidirectional(jaxrnn.gru(3, dtype="bfloat16"))
    ),
    "chrono": jaxrnn.lstm(H, bias_init=initializers.chrono(9), dtype="bfloat16"),
}


def guarded():
    stack = contextlib.ExitStack()
    stack.enter_context(jax.numpy_rank_promotion("raise"))
    stack.enter_context(jax.numpy_dtype_promotion("strict"))
    return stack


def arguments(name, batch=(B,)):
    if name in CELLS:
        return example(name, batch)
    with jax.ensure_compile_time_eval():
        cell = EVERY[name]
        params = cell.init(jax.random.key(0), F)
        dtype = jax.tree.leaves(params)[0].dtype
        xs = jax.random.normal(jax.random.key(1), (T, *batch, F), dtype)
        return params, cell.initial_carry(params, xs[0]), xs


def total(out):
    """A scalar of every float in `out`, keys and integers left out."""
    leaves = [a for a in jax.tree.leaves(out) if jnp.issubdtype(a.dtype, jnp.floating)]
    return sum(jnp.sum(jnp.square(a), dtype=jnp.float64) for a in leaves)


def gradient(run, *args):
    """The value and every gradient of `run(*args)`."""
    f = lambda *args: total(run(*args))
    return jax.value_and_grad(f, tuple(range(len(args))), allow_int=True)(*args)


def unrolled(name, batch=(B,), **options):
    params, carry, xs = arguments(name, batch)
    run = lambda p, c, x: jaxrnn.unroll(EVERY[name], p, c, x, **options)
    fresh = jaxrnn.unroll(EVERY[name], params, None, xs, **options)
    return fresh, gradient(run, params, carry, xs)


def later(names, quick):
    """The names; those that are not among `quick` are slow."""
    slow = lambda name: [] if name in quick else [pytest.mark.slow]
    return [pytest.param(name, marks=slow(name)) for name in names]


QUICK = ("lstm", "gru", "learned_carry")


@pytest.mark.parametrize("engine", later(["auto", "scan"], ["auto"]))
@pytest.mark.parametrize("name", later(EVERY, QUICK))
def test_every_cell(name, engine):
    with guarded():
        jax.make_jaxpr(lambda: unrolled(name, engine=engine, **EVERYTHING))()


@pytest.mark.parametrize("options", later(OPTIONS, ("plain", "lengths")))
@pytest.mark.parametrize("batch", later([(), (B,), (2, B)], [(), (2, B)]))
def test_every_option(batch, options):
    options = dict(OPTIONS[options])
    for name in {"lengths", "mask", "resets"} & set(options):
        rows = jnp.asarray(options[name])
        rows = rows[..., 0] if batch == () else rows
        twice = jnp.stack([rows, rows], rows.ndim - 1)
        options[name] = twice if batch == (2, B) else rows
    with guarded():
        for name in ("lstm", "bare"):
            jax.make_jaxpr(lambda name=name: unrolled(name, batch, **options))()


def step(name):
    params, carry, xs = arguments(name)
    return gradient(EVERY[name].step, params, carry, xs[0])


def nnx(**options):
    import flax.nnx

    rnn = jaxrnn.nnx.LSTM(F, H, rngs=flax.nnx.Rngs(0), **options)
    xs = jnp.ones((B, T, F))
    loss = lambda rnn, xs: total(rnn(None, xs, lengths=LENGTHS, mask=MASK.T))
    return flax.nnx.value_and_grad(loss)(rnn, xs)


def linen(**options):
    rnn = jaxrnn.linen.GRU(H, **options)
    xs = jnp.ones((B, T, F))
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = rnn.init(keys, None, xs)
    run = lambda v: rnn.apply(
        v, None, xs, LENGTHS, MASK.T, RESETS.T, rngs={"dropout": jax.random.key(2)}
    )
    return gradient(run, variables)


def scanned():
    rnn = jaxrnn.linen.ScannedRNN(jaxrnn.lstm, 4)
    carry = rnn.initialize_carry(B, 4, jaxrnn.lstm)
    xs = jnp.ones((T, B, F))
    variables = rnn.init(jax.random.key(0), carry, (xs, RESETS))
    return gradient(lambda v: rnn.apply(v, carry, (xs, RESETS)), variables)


def probed(name):
    """Every probe of a cell."""
    cell, (params, carry, xs) = EVERY[name], arguments(name)
    control = dict(lengths=LENGTHS, mask=MASK, reverse=True)
    seen = []
    if name not in ("bare", "stack"):
        seen.append(probe.gates(cell, params, carry, xs, resets=RESETS, **control))
    seen.append(probe.timescale(cell, params, carry, xs, **control))
    if name != "bidirectional":
        control |= dict(resets=RESETS)
        seen += [
            probe.gradient_flow(
                cell, params, None, xs, lambda c, hs: total(hs), **control
            ),
            probe.ablation(cell, params, None, xs, lambda c, hs: total(hs), **control),
            probe.memory_span(cell, params, None, xs, xs + 1, lags=(0, 2)),
            probe.jacobian_spectrum(cell, params, None, xs),
            probe.lyapunov(cell, params, None, xs, count=2, warmup=1),
        ]
    return seen


def initial(cell, **options):
    return lambda: cell(8, **options).init(jax.random.key(0), 3)


KEY = jax.random.key(0)
API = {
    **{f"step of {name}": lambda name=name: step(name) for name in EVERY if
       "bidirectional" not in name and name != "precision inside"},
    "nnx": nnx,
    "nnx, both ways": lambda: nnx(num_layers=2, bidirectional=True, dropout=0.5),
    "linen": linen,
    "linen, both ways": lambda: linen(
        num_layers=2, bidirectional=True, dropout=0.5, deterministic=False
    ),
    "ScannedRNN": scanned,
    **{f"probes of {name}": lambda name=name: probed(name) for name in
       ("lstm", "gru", "simple_rnn", "own_gated", "bare", "stack", "residual",
        "learned_carry", "bidirectional", "precision", "chrono")},
    **{f"initial values, {dtype}": lambda dtype=dtype: (
        initial(jaxrnn.lstm, bias_init=initializers.chrono(9), dtype=dtype)(),
        initial(jaxrnn.gru, update_bias=jnp.arange(8.0), dtype=dtype)(),
        initial(jaxrnn.gru, bias_init=initializers.torch_bias("rzn"), dtype=dtype)(),
        initial(jaxrnn.lstm, kernel_init=initializers.torch_uniform, dtype=dtype)(),
        initial(
            jaxrnn.simple_rnn, recurrent_init=initializers.identity(0.5), dtype=dtype
        )(),
    ) for dtype in ("bfloat16", "float16", "float32", "float64")},
    "adding": lambda: tasks.adding.draw(KEY, B, length=12),
    "adding, 1997": lambda: tasks.adding.draw_1997(KEY, B, length=24),
    "agreement": lambda: tasks.agreement.draw(KEY, B, distance=(3, 9)),
    "agreement, attractors": lambda: tasks.agreement.draw(
        KEY, B, distance=9, attractors=2
    ),
    "copying": lambda: tasks.copying.draw(KEY, B, blank=5),
    "counting": lambda: tasks.counting.draw(KEY, B, n=(1, 5)),
    "digits": lambda: tasks.digits.draw(KEY, B),
    "parity": lambda: tasks.formal.parity(KEY, B, length=(3, 9)),
    "even pairs": lambda: tasks.formal.even_pairs(KEY, B, length=(3, 9)),
    "cycles": lambda: tasks.formal.cycle_navigation(KEY, B, length=(3, 9)),
    "arithmetic": lambda: tasks.formal.modular_arithmetic(KEY, B, length=(3, 9)),
    "bucket sort": lambda: tasks.formal.bucket_sort(KEY, B, length=(3, 9)),
    "multiplication": lambda: tasks.multiplication.draw(KEY, B, length=24),
    "reber": lambda: tasks.reber.outer(tasks.reber.draw(KEY, B)),
    "reber, continual": lambda: tasks.reber.draw_continual(KEY, B, length=12),
    "temporal order": lambda: tasks.temporal_order.draw(KEY, B),
    "word problem": lambda: tasks.word_problem.draw(KEY, B, length=5),
}  # fmt: skip


SLOW = ["probes of", "step of", "linen, both ways", "nnx, both ways"]
FAST = ("step of lstm", "step of bare", "probes of lstm", "probes of bidirectional")


@pytest.mark.parametrize(
    "name", later(API, [n for n in API if n in FAST or not n.startswith(tuple(SLOW))])
)
def test_the_api(name):
    with guarded():
        jax.make_jaxpr(API[name])()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("lstm", marks=pytest.mark.slow),
        pytest.param("stack", marks=pytest.mark.nightly),
        pytest.param("bidirectional", marks=pytest.mark.nightly),
    ],
)
def test_nothing_leaks_and_nothing_is_nan(name):
    params, carry, xs = arguments(name)
    xs = xs.at[2:, 1].set(0).at[:, 2].set(0)

    def run(params, carry, xs):
        return jaxrnn.unroll(EVERY[name], params, carry, xs, lengths=LENGTHS, remat=2)

    with guarded(), jax.checking_leaks(), jax.debug_nans(True):
        value, grads = jax.jit(lambda *args: gradient(run, *args))(params, carry, xs)
    assert np.isfinite(value)
    assert float(jnp.abs(jax.tree.leaves(grads)[0]).max()) > 0
