"""The table of the laws: every cell, how to loop over it by hand, and random numbers."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.cells import LSTMCarry
from jaxrnn.engine import gated, scan

T, B, F, H = 5, 3, 4, 5
# The laws' batches of 3 rows take the way of many rows, single rows that of few.
AUTO = (gated.engine(gated.Plan(few_rows=3)), scan.ENGINE)
ENGINES = {"auto": AUTO, "scan": "scan"}
unroll = functools.partial(jaxrnn.unroll, engine=AUTO)


class OwnParams(NamedTuple):
    wx: jax.Array
    wh: jax.Array
    peep: jax.Array


class OwnCarry(NamedTuple):
    s: jax.Array
    ticks: jax.Array


def times(vector, rows):
    """``vector [H]`` times every row of ``rows [*batch, H]``."""
    return jnp.expand_dims(vector, tuple(range(rows.ndim - 1))) * rows


def own_gated(hidden: int, rate: Any = 0.3, picks: Any = 1) -> jaxrnn.Cell:
    """A user's gated cell that uses every freedom: hyperparameters in recur, in gates and
    in the state equation, params in gates, an integer in the carry, another width of
    h."""

    def init(key, features):
        kx, kh, kp = jax.random.split(key, 3)
        return OwnParams(
            jax.random.normal(kx, (features, 2 * hidden)) * 0.3,
            jax.random.normal(kh, (hidden, 2 * hidden)) * 0.3,
            jax.random.normal(kp, (hidden,)) * 0.3,
        )

    def initial_carry(params, x):
        zeros = jnp.zeros((*x.shape[:-1], hidden))
        return OwnCarry(zeros, jnp.zeros(zeros.shape, jnp.int32))

    def recur(params, carry, z):
        a, b = jnp.split(carry.s @ params.wh, 2, -1)
        gain = jnp.array([1.0, 0.5, 0.25], params.wh.dtype)[picks]
        return z[0] + a, z[1] + (gain + rate) * b

    def update(params, carry, gates):
        keep, new = gates
        s = (1 - rate) * keep * carry.s + rate * new
        return OwnCarry(s, carry.ticks + 1)

    return jaxrnn.gated(
        init=init,
        initial_carry=initial_carry,
        project=lambda p, x: tuple(jnp.split(x @ p.wx, 2, -1)),
        recur=recur,
        gates=lambda p, c, a: (
            jax.nn.sigmoid(a[0] + times(p.peep, c.s)),
            jnp.tanh(a[1]),
        ),
        update=update,
        output=lambda p, c: jnp.concatenate([c.s, jnp.tanh((2 + rate) * c.s)], -1),
    )


class DeepParams(NamedTuple):
    wx: jax.Array
    wh: jax.Array
    peep: jax.Array
    scale: jax.Array
    shift: jax.Array
    down: jax.Array
    gain: jax.Array


def own_deep(hidden: int, shown: int) -> jaxrnn.Cell:
    """A user's LSTM whose state equation and output have params: a peephole from the new
    c to o, a layer norm of c, a projection, so that h is narrower than c, and a gain."""

    def init(key, features):
        keys = jax.random.split(key, 7)
        shapes = [(features, 4 * hidden), (shown, 4 * hidden)]
        shapes += [(hidden,)] * 3 + [(hidden, shown), (shown,)]
        pairs = zip(keys, shapes, strict=True)
        return DeepParams(*(0.3 * jax.random.normal(k, s) for k, s in pairs))

    def initial_carry(params, x):
        zeros = lambda width: jnp.zeros((*x.shape[:-1], width))
        return jaxrnn.cells.LSTMCarry(zeros(shown), zeros(hidden))

    def recur(params, carry, z):
        return tuple(map(jnp.add, z, jnp.split(carry.h @ params.wh, 4, -1)))

    def gates(params, carry, pre):
        i, f, g, o = pre
        return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), o

    def update(params, carry, gates):
        i, f, g, o = gates
        c = f * carry.c + i * g
        o = jax.nn.sigmoid(o + times(params.peep, c))
        off = c - c.mean(-1, keepdims=True)
        normed = off * jax.lax.rsqrt(jnp.mean(off**2, -1, keepdims=True) + 1e-3)
        normed = times(params.scale, normed) + times(params.shift, jnp.ones_like(c))
        return jaxrnn.cells.LSTMCarry((o * jnp.tanh(normed)) @ params.down, c)

    return jaxrnn.gated(
        init=init,
        initial_carry=initial_carry,
        project=lambda p, x: tuple(jnp.split(x @ p.wx, 4, -1)),
        recur=recur,
        gates=gates,
        update=update,
        output=lambda p, c: times(p.gain, c.h),
    )


def bare_step(params, carry, x):
    """A user's own function, whose carry has another width than its output."""
    carry = jnp.tanh(times(params["keep"], carry) + x @ params["w"])
    return carry, carry[..., :2] ** 2


def bare() -> jaxrnn.Cell:
    """`bare_step` as a cell without an unroll of its own."""

    def init(key, features):
        return {"keep": jnp.full(H, 0.7), "w": jax.random.normal(key, (features, H))}

    return jaxrnn.Cell(
        init=init,
        initial_carry=lambda p, x: jnp.zeros((*x.shape[:-1], H), x.dtype),
        step=bare_step,
    )


def dense(width: int) -> jaxrnn.Cell:
    """A layer without memory."""
    return jaxrnn.pointwise(
        lambda p, x: jnp.tanh(x @ p["w"] + times(p["b"], x @ p["w"])),
        init=lambda key, features: {
            "w": jax.random.normal(key, (features, width)) * features**-0.5,
            "b": jnp.ones(width),
        },
    )


def noisy(cell: jaxrnn.Cell) -> jaxrnn.Cell:
    """Every noise around a gated cell. Without a key it is zoneout's expectation."""
    cell = jaxrnn.noise.weight_drop(cell, 0.2)
    cell = jaxrnn.noise.gaussian(cell, inputs=0.1, pre=0.1, carry=0.1)
    cell = jaxrnn.noise.zoneout(cell, LSTMCarry(h=0.2, c=0.4))
    cell = jaxrnn.noise.recurrent_dropout(cell, 0.3)
    return jaxrnn.noise.variational(cell, inputs=0.2, recurrent=0.3, outputs=0.4)


CELLS: dict[str, jaxrnn.Cell] = {
    "simple_rnn": jaxrnn.simple_rnn(H),
    "simple_rnn_relu": jaxrnn.simple_rnn(H, activation="relu"),
    "lstm": jaxrnn.lstm(H),
    "gru": jaxrnn.gru(H),
    "gru_before": jaxrnn.gru(H, reset_after=False),
    "peephole_lstm": jaxrnn.peephole_lstm(H),
    "coupled_lstm": jaxrnn.coupled_lstm(H),
    "projected_lstm": jaxrnn.projected_lstm(H, 3),
    "layer_norm_lstm": jaxrnn.layer_norm_lstm(H),
    "layer_norm_gru": jaxrnn.layer_norm_gru(H),
    "dreamer_gru": jaxrnn.dreamer_gru(H),
    "mgu": jaxrnn.mgu(H),
    "mgu_before": jaxrnn.mgu(H, reset_after=False),
    "janet": jaxrnn.janet(H, beta=0.7),
    "ugrnn": jaxrnn.ugrnn(H),
    "ind_rnn": jaxrnn.ind_rnn(H, activation="tanh"),
    "antisymmetric_rnn": jaxrnn.antisymmetric_rnn(H, gate=True, epsilon=0.6, gamma=0.3),
    "cornn": jaxrnn.cornn(H, dt=0.7, gamma=0.6, epsilon=0.4),
    "lem": jaxrnn.lem(H, dt=0.7),
    "leaky_rnn": jaxrnn.leaky_rnn(
        H, tau=3, dt=1, learn_tau=True, activation="tanh", signs=(1, -1, 1, 1, -1)
    ),
    "slstm": jaxrnn.slstm(6, heads=2),
    "conv_lstm": jaxrnn.conv_lstm(2, (3, 2), strides=(1, 2)),
    "conv_gru": jaxrnn.conv_gru(3, 3, reset_after=False, dilation=2),
    "own_gated": own_gated(H),
    "own_deep": own_deep(H, 3),
    "bare": bare(),
    "stack": jaxrnn.stack(jaxrnn.lstm(H), bare(), jaxrnn.gru(3)),
    "residual": jaxrnn.residual(jaxrnn.stack(jaxrnn.gru(3), jaxrnn.simple_rnn(F))),
    "skip": jaxrnn.skip(jaxrnn.gru(3), dense(2), jaxrnn.simple_rnn(3)),
    "with_carries": jaxrnn.with_carries(jaxrnn.lstm(H)),
    "learned_carry": jaxrnn.learned_carry(jaxrnn.stack(jaxrnn.gru(3), jaxrnn.lstm(H))),
    "bidirectional": jaxrnn.bidirectional(
        jaxrnn.lstm(H), jaxrnn.gru(H), merge=lambda f, b: jnp.cos(f) + f * b
    ),
    "deep_bidirectional": jaxrnn.stack(
        jaxrnn.bidirectional(jaxrnn.gru(3)), jaxrnn.bidirectional(jaxrnn.simple_rnn(2))
    ),
    # all float64: what is rounded nowhere; test_precision.py has narrower dtypes
    "precision": jaxrnn.precision(own_gated(H), compute=jnp.float64),
    # without a key: what its noise does is test_noise.py's
    "dropout": jaxrnn.noise.dropout(own_gated(H), 0.4),
    "noise": noisy(jaxrnn.lstm(H)),
}
# Where a law costs a compilation of half a second and more for each cell, the quick suite
# runs it for these, and `make slow` for the rest.
QUICK = ("lstm", "own_gated", "stack", "bidirectional")
# These are made of cells that are there already: the quick suite has the laws of what is
# new in them, and `make nightly` all others.
NIGHTLY = ("simple_rnn_relu", "residual", "with_carries", "learned_carry")
NIGHTLY += ("deep_bidirectional", "dropout", "noise")
# Built-in gated cells for which others of the table speak where a test is slow: an engine
# does the same with all of them.
ALIKE = (
    *("gru_before", "peephole_lstm", "coupled_lstm", "projected_lstm"),
    *(
        "layer_norm_gru",
        "dreamer_gru",
        "mgu",
        "mgu_before",
        "janet",
        "ugrnn",
        "ind_rnn",
    ),
    *("antisymmetric_rnn", "cornn", "lem", "leaky_rnn", "conv_gru"),
)
BUILT_IN = (
    *("simple_rnn", "simple_rnn_relu", "lstm", "gru", "gru_before", "peephole_lstm"),
    *("coupled_lstm", "projected_lstm", "layer_norm_lstm", "layer_norm_gru"),
    *("dreamer_gru", "mgu", "mgu_before", "janet", "ugrnn", "ind_rnn"),
    *("antisymmetric_rnn", "cornn", "lem", "leaky_rnn", "slstm"),
    *("conv_lstm", "conv_gru"),
)
SPACE = (4, 3)  # of images, as many of these as they have dimensions
GATED = tuple(n for n, cell in CELLS.items() if isinstance(cell.parts, jaxrnn.Gated))
STEPS = tuple(n for n in CELLS if "bidirectional" not in n)


def marks(name: str) -> list[pytest.MarkDecorator]:
    """Not in the quick suite: slow, or nightly where others speak for the cell."""
    others = name in NIGHTLY or name in ALIKE
    return [pytest.mark.nightly if others else pytest.mark.slow]


def later(names: Any, quick: Any) -> list:
    """Values of a parameter; those that are not among `quick` come later."""
    return [pytest.param(n, marks=[] if n in quick else marks(n)) for n in names]


def most(names: Any = CELLS, alike: bool = True) -> pytest.MarkDecorator:
    """`each`, but for those that are made of others.

    Args:
        names: of cells.
        alike: whether cells are among them that are `ALIKE`; else `make slow` has those.
    """
    slow = () if alike else ALIKE
    values = [
        pytest.param(n, marks=pytest.mark.slow) if n in slow else n
        for n in names
        if n not in NIGHTLY
    ]
    values += [pytest.param(n, marks=marks(n)) for n in names if n in NIGHTLY]
    return pytest.mark.parametrize("name", values)


def each(names: Any = CELLS, quick: Any = None) -> pytest.MarkDecorator:
    """Parametrises ``name``; None: all cells are in the quick suite."""
    quick = names if quick is None else quick
    return pytest.mark.parametrize("name", later(names, quick))


def randomise(key: int, tree: Any, scale: float = 0.6) -> Any:
    """The floats of `tree` drawn anew, all distinct and none zero; integers distinct."""
    rng = np.random.RandomState(key)

    def one(a):
        if jnp.issubdtype(a.dtype, jnp.floating):
            return jnp.asarray(scale * rng.randn(*a.shape), a.dtype)
        return jnp.asarray(rng.randint(0, 9, a.shape), a.dtype)

    return jax.tree.map(one, tree)


def event_of(cell: jaxrnn.Cell) -> tuple:
    """The shape of one row's input: F, or an image with F channels."""
    return *SPACE[: (cell.event_ndim or 1) - 1], F


@functools.cache
def example(name: str, batch: tuple = (B,), steps: int = T) -> tuple:
    """Random ``(params, carry, xs)`` for a cell of the table."""
    cell = CELLS[name]
    x = jax.ShapeDtypeStruct((*batch, *event_of(cell)), jnp.zeros(()).dtype)
    # shapes alone: to run `init` would compile it
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), F))
    carry = jax.eval_shape(cell.initial_carry, params, x)
    with jax.ensure_compile_time_eval():  # so that no trace's values are cached
        xs = jnp.asarray(np.random.RandomState(7).randn(steps, *x.shape))
        carry = randomise(2, carry)
        if name == "slstm":  # a sum of exponentials
            carry = carry._replace(n=1 + abs(carry.n))
        return randomise(1, params), carry, xs


def by_hand(cell, params, carry, xs, valid, resets, reverse=False):
    """The meaning of `unroll`, written as a Python loop of `step`.

    ``valid`` and ``resets`` are bool [T, *batch]. A cell that does not step is run by its
    own unroll, with this loop for each cell inside.
    """
    batch = valid.ndim - 1

    def run(cell, params, carry, xs, control):
        if not _steps(cell, params, carry, xs):
            return cell.unroll(params, carry, xs, control, run)
        return _loop(cell, params, carry, xs, control)

    fresh = cell.initial_carry(params, jax.tree.map(lambda a: a[0], xs))
    control = jaxrnn.Control(valid, resets, fresh, reverse, batch_ndim=batch)
    return run(cell, params, carry, xs, control)


def _steps(cell, params, carry, xs):
    try:
        x = jax.tree.map(lambda a: a[0], xs)
        jax.eval_shape(lambda x: cell.step(params, carry, x), x)
    except ValueError:
        return False
    return True


def _loop(cell, params, carry, xs, control):
    valid, resets, fresh, reverse = control[:4]
    where = lambda m, a, b: jax.tree.map(
        lambda u, v: jnp.where(beside(m, u), u, v),
        a,
        b,
    )
    hs = [None] * len(valid)
    for t in reversed(range(len(valid))) if reverse else range(len(valid)):
        if not reverse:
            carry = where(resets[t], fresh, carry)
        x = jax.tree.map(lambda a, t=t: a[t], xs)
        new, h = cell.step(params, carry, x)
        carry = where(valid[t], new, carry)
        hs[t] = where(valid[t], h, jax.tree.map(jnp.zeros_like, h))
        if reverse:
            carry = where(resets[t], fresh, carry)
    return carry, jax.tree.map(lambda *a: jnp.stack(a), *hs)


def beside(where, array):
    """Bools [T, *batch] with axes of size 1, to stand beside ``[T, *batch, ...]``."""
    return where.reshape(where.shape + (1,) * (array.ndim - where.ndim))


def weights_of(tree: Any) -> list:
    """A random weight for each float in a tree of arrays, or of their types."""
    shapes = [a.shape for a in floats(tree)]
    return [np.random.RandomState(i).randn(*shape) for i, shape in enumerate(shapes)]


def floats(tree: Any) -> list:
    return [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.floating)]


def weighed(tree: Any, weights: Any = None) -> jax.Array:
    """A scalar in which each number of a tree has a weight of its own."""
    weights = weights_of(tree) if weights is None else weights
    leaves = zip(weights, floats(tree), strict=True)
    return sum(jnp.sum(w * jnp.sin(a)) for w, a in leaves)


def with_grads(run: Callable, weighs: bool = False) -> Callable:
    """``(params, carry, xs, *rest) -> (outputs, gradients)`` of ``run(...)``'s outputs.

    Where it `weighs`, the last argument are the outputs' weights, as `weights_of` gives
    them: rows of a batch then have theirs wherever they are.
    """

    def loss(params, carry, xs, *rest):
        rest, weights = (rest[:-1], rest[-1]) if weighs else (rest, None)
        out = run(params, carry, xs, *rest)
        return weighed(out, weights), out

    def both(params, carry, xs, *rest):
        f = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True, allow_int=True)
        (_, out), grads = f(params, carry, xs, *rest)
        return out, jax.tree.map(
            lambda a, g: g if jnp.issubdtype(a.dtype, jnp.floating) else 0,
            (params, carry, xs),
            grads,
        )

    return both


def assert_close(a: Any, b: Any, tolerance: float = 1e-12) -> None:
    """``max|a-b| <= tolerance * max(1, max|b|)`` for each leaf, structures equal."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(
        jax.tree.leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        x, y = np.asarray(x), np.asarray(y)
        assert x.shape == y.shape, jax.tree_util.keystr(path)
        if x.size:
            bound = tolerance * max(1, np.abs(y).max())
            worst = np.abs(x.astype(float) - y.astype(float)).max()
            assert worst <= bound, f"{jax.tree_util.keystr(path)}: {worst:.1e}"


def assert_same_bits(a: Any, b: Any) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
