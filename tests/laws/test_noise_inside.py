"""Law 16, noise, of what acts inside of a gated cell: between its equations.

Each kind is written twice. Cells that show nothing but the noise tell what was drawn;
then a loop of the cell's equations under that noise, written from the paper, tells what
the cell does with it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import noise
from jaxrnn._keys import noise_key
from jaxrnn.cells import LSTMCarry
from tests.laws import programs
from tests.laws.cases import (
    CELLS,
    ENGINES,
    B,
    F,
    H,
    T,
    assert_close,
    assert_same_bits,
    beside,
    by_hand,
    each,
    with_grads,
)
from tests.laws.numpy_jaxpr import evaluate
from tests.laws.test_noise import assert_share

KEY = jax.random.key(5)
LONG, WIDE = 60, 7  # an odd width: two draws share a word


# Cells that show noise.


class Seen(NamedTuple):
    h: Any
    seen: Any


class Gates(NamedTuple):
    g: Any


def showing(**equations):
    """A gated cell whose h is 1, and that shows its candidate, which is x."""
    start = lambda p, x: Seen(jnp.ones_like(x), jnp.ones_like(x))
    return jaxrnn.gated(
        **dict(
            init=lambda key, features: (),
            initial_carry=start,
            project=lambda p, x: (x,),
            recur=lambda p, c, z: z,
            gates=lambda p, c, pre: Gates(pre[0]),
            update=lambda p, c, gates: Seen(jnp.ones_like(c.h), gates.g),
            output=lambda p, c: c.seen,
        )
        | equations
    )


def shown(cell, xs, key=KEY, params=(), **options):
    run = lambda xs, key: jaxrnn.unroll(cell, params, None, xs, key=key, **options)[1]
    return evaluate(run, xs, key)


SHOWS_X = showing()
SHOWS_H = showing(recur=lambda p, c, z: (c.h,))
SHOWS_CARRY = showing(
    update=lambda p, c, gates: Seen(jnp.ones_like(c.h), jnp.zeros_like(c.h))
)


def shows_weights(width, read=lambda p: p["wh"], **shapes):
    """Of one-hot inputs row by row: what `read` makes of params of these shapes, all 1."""
    ones = lambda x, width: jnp.ones((*x.shape[:-1], width))
    return showing(
        init=lambda key, features: {n: jnp.ones(shape) for n, shape in shapes.items()},
        initial_carry=lambda p, x: Seen(ones(x, 1), ones(x, width)),
        recur=lambda p, c, z: (z[0] @ read(p),),
        update=lambda p, c, gates: Seen(c.h, gates.g),
    )


COUNTS = showing(  # its steps: a unit that is held does not
    initial_carry=lambda p, x: LSTMCarry(jnp.zeros_like(x), jnp.zeros_like(x)),
    update=lambda p, c, gates: LSTMCarry(c.h + 1, c.c + 1),
    output=lambda p, c: jnp.concatenate(c, -1),
)

# Wrapper of a rate -> what of a cell under it is not dropped, or not held.
KEPT = {
    "inputs": lambda rate: noise.variational(SHOWS_X, inputs=rate),
    "recurrent": lambda rate: noise.variational(SHOWS_H, recurrent=rate),
    "outputs": lambda rate: noise.variational(SHOWS_X, outputs=rate),
    "candidate": lambda rate: noise.recurrent_dropout(SHOWS_X, rate),
    "zoneout": lambda rate: noise.zoneout(COUNTS, rate),
}
CONSTANT = ("inputs", "recurrent", "outputs")


def kept(name, rate, xs, **options):
    hs = shown(KEPT[name](rate), xs, **options)
    if name == "zoneout":
        order = slice(None, None, -1 if options.get("reverse") else 1)
        hs = np.diff(hs[order], axis=0, prepend=0)[order]
    return hs != 0


def ones(*batch, steps=LONG, width=WIDE):
    return np.ones((steps, *batch, width))


# What is drawn.


@pytest.mark.parametrize("rate", [0.25, 0.9])
@pytest.mark.parametrize("name", KEPT)
def test_masks_have_this_rate(name, rate):
    """At each step, of each row, of each unit."""
    mask = kept(name, rate, ones(300 if name in CONSTANT else 9))
    if name in CONSTANT:
        np.testing.assert_array_equal(mask, np.broadcast_to(mask[:1], mask.shape))
        mask = mask[:1]
    for axis in range(3):
        for line in np.moveaxis(~mask, axis, 0):
            assert_share(line, rate)


@pytest.mark.parametrize("name", [n for n in KEPT if n != "zoneout"])
def test_what_is_kept_is_scaled(name):
    hs = shown(KEPT[name](0.25), ones(9))
    np.testing.assert_allclose(hs, np.where(hs != 0, 1 / 0.75, 0), rtol=1e-15)
    assert 0 < (hs == 0).mean() < 1


@pytest.mark.parametrize("name", KEPT)
def test_masks_depend_on_no_option(name):
    """hs[t] belongs to xs[t]: so does its noise, backwards too."""
    xs, want = ones(4), kept(name, 0.5, ones(4))
    options = dict(reverse=True, remat=7, engine="scan")
    np.testing.assert_array_equal(kept(name, 0.5, xs, **options), want)
    np.testing.assert_array_equal(kept(name, 0.5, xs, engine="gated"), want)
    np.testing.assert_array_equal(kept(name, 0.5, xs[:9]), want[:9])
    mask = np.random.RandomState(0).rand(LONG, 4) < 0.6
    lengths = np.array([LONG, 3, 0, 41])
    valid = mask & (np.arange(LONG)[:, None] < lengths)
    got = shown(KEPT[name](0.5), xs, mask=mask, lengths=lengths)
    plain = shown(KEPT[name](0.5), xs)
    if name != "zoneout":  # whose counts tell of all steps before
        np.testing.assert_array_equal(got, np.where(valid[..., None], plain, 0))


def test_h_and_c_are_held_apart():
    held = ~kept("zoneout", 0.5, ones(9))
    assert_share(held[..., :WIDE] & held[..., WIDE:], 0.25)
    held = ~kept("zoneout", LSTMCarry(h=0.1, c=0.6), ones(9))
    assert_share(held[..., :WIDE], 0.1)
    assert_share(held[..., WIDE:], 0.6)


def test_weights_are_dropped_for_all_rows_and_steps():
    width, steps = 30, 4
    params = {"wh": 1 + np.random.RandomState(0).rand(width, width)}
    cell = shows_weights(width, wh=(width, width))
    xs = np.broadcast_to(np.eye(width), (steps, width, width))  # a row shows a row
    hs = shown(noise.weight_drop(cell, 0.25), xs, params=params)
    np.testing.assert_array_equal(hs, np.broadcast_to(hs[:1], hs.shape))
    dropped = hs[0] == 0
    want = np.where(dropped, 0, params["wh"] / 0.75)
    np.testing.assert_allclose(hs[0], want, rtol=1e-15)
    for line in (*dropped, *dropped.T):
        assert_share(line, 0.25)


NORMAL = {"inputs": SHOWS_X, "pre": SHOWS_X, "carry": SHOWS_CARRY}


@pytest.mark.parametrize("where", NORMAL)
def test_gaussian_noise_is_normal(where):
    cell = noise.gaussian(NORMAL[where], **{where: 0.5})
    drawn = shown(cell, 0 * ones(40)) / 0.5
    assert abs(drawn.mean()) < 5 / drawn.size**0.5
    assert abs(drawn.var() - 1) < 5 * (2 / drawn.size) ** 0.5
    for level in (-2.0, -1.0, 0.5, 1.5):
        assert_share(drawn < level, jax.scipy.stats.norm.cdf(level).item())
    for axis in range(3):  # neighbours know nothing of each other
        lines = np.moveaxis(drawn, axis, 0)
        products = lines[1:] * lines[:-1]
        assert abs(products.mean()) < 5 / products.size**0.5


# On what it depends.

WRAPS = {
    "variational": lambda cell, rate: noise.variational(
        cell, inputs=rate, recurrent=rate, outputs=rate
    ),
    "recurrent_dropout": lambda cell, rate: noise.recurrent_dropout(cell, rate),
    "zoneout": lambda cell, rate: noise.zoneout(cell, rate),
    "weight_drop": lambda cell, rate: noise.weight_drop(cell, rate),
    "gaussian": lambda cell, rate: noise.gaussian(
        cell, inputs=rate, pre=rate, carry=rate
    ),
    "dropout": lambda cell, rate: noise.dropout(cell, rate),
}


def all_kinds(cell, rate):
    for wrap in WRAPS.values():
        cell = wrap(cell, rate)
    return cell


def test_a_row_draws_by_its_key_alone():
    """Not by the rows beside it, nor by their order; weights are all rows'."""
    params, _, xs = programs.given("lstm", (4,))[:3]
    cell = CELLS["lstm"]
    for name, wrap in WRAPS.items():
        cell = wrap(cell, 0.3) if name != "weight_drop" else cell
    keys, order = jax.random.split(KEY, 4), np.array([2, 0, 3])
    run = lambda xs, keys: jaxrnn.unroll(cell, params, None, xs, key=keys)
    carry, hs = evaluate(run, xs, keys)
    some, few = evaluate(run, xs[:, order], keys[order])
    assert_close((some, few), (jax.tree.map(lambda a: a[order], carry), hs[:, order]))
    assert_close(evaluate(run, xs[:, 1], keys[1])[1], hs[:, 1])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CONSTANT)
def test_a_reset_brings_a_new_mask(name, reverse):
    """Whichever way time runs; within a sequence it stays."""
    rows = 200
    resets = np.random.RandomState(1).rand(LONG, rows) < 0.1
    mask = kept(name, 0.5, ones(rows), resets=resets, reverse=reverse)
    begun = resets[1:, :, None]
    stays = np.where(begun, True, mask[1:] == mask[:-1])
    assert stays.all()
    again = (mask[1:] & mask[:-1])[np.broadcast_to(begun, mask[1:].shape)]
    assert_share(again, 0.25)
    first = kept(name, 0.5, ones(rows))  # as without resets
    before = np.cumsum(resets[1:], axis=0) == 0
    same = mask[1:] == first[1:]
    assert same[before].all()


def test_each_wrapper_draws_its_own():
    twice = lambda wrap, cell: wrap(wrap(cell))
    for name in ("inputs", "recurrent", "outputs"):
        cell = SHOWS_H if name == "recurrent" else SHOWS_X
        wrap = lambda cell, name=name: noise.variational(cell, **{name: 0.5})
        assert_share(shown(twice(wrap, cell), ones(900))[:1] == 0, 0.75)
    both = noise.variational(SHOWS_X, inputs=0.5, outputs=0.5)
    assert_share(shown(both, ones(900))[:1] == 0, 0.75)
    both = showing(
        project=lambda p, x: (x, x), recur=lambda p, c, z: (z[0] * c.h, z[1])
    )
    both = noise.variational(both, inputs=0.5, recurrent=0.5)
    assert_share(shown(both, ones(900))[:1] == 0, 0.75)
    wrap = lambda cell: noise.recurrent_dropout(cell, 0.5)
    assert_share(shown(twice(wrap, SHOWS_X), ones(9)) == 0, 0.75)
    mixed = noise.dropout(noise.variational(wrap(SHOWS_X), inputs=0.5), 0.5)
    assert_share(shown(mixed, ones(900))[:1] == 0, 0.875)
    counts = shown(twice(lambda c: noise.zoneout(c, 0.5), COUNTS), ones(9))
    assert_share(np.diff(counts, axis=0) == 0, 0.75)
    for where, cell in NORMAL.items():
        wrap = lambda cell, where=where: noise.gaussian(cell, **{where: 1.0})
        drawn = shown(twice(wrap, cell), 0 * ones(40))
        assert abs(drawn.var() - 2) < 10 * (2 / drawn.size) ** 0.5
    for two in (dict(inputs=1.0, pre=1.0), dict(pre=1.0, carry=1.0)):
        drawn = shown(noise.gaussian(SHOWS_X, **two), 0 * ones(40))
        assert abs(drawn.var() - 2) < 10 * (2 / drawn.size) ** 0.5
    cell, xs = shows_weights(30, wh=(30, 30)), np.eye(30)[None]
    cell = twice(lambda cell: noise.weight_drop(cell, 0.5), cell)
    assert_share(shown(cell, xs, params=cell.init(KEY, 30)) == 0, 0.75)


@pytest.mark.parametrize("batch", [None, (), (40,)], ids=str)
def test_rows_share_with_weights_no_key(batch):
    """Whatever part of whatever part a row or the weights draw from."""
    key = noise_key(KEY, batch)
    parts = level = [key]
    for _ in range(3):
        level = [one.part(n) for one in level for n in range(3)]
        parts = parts + level
    words = lambda keys: {k.tobytes() for k in np.asarray(jax.random.key_data(keys))}
    rows = words(jnp.concatenate([jnp.atleast_1d(part.rows) for part in parts]))
    shared = words(jnp.stack([part.shared for part in parts]))
    assert len(shared) == len(parts)
    assert len(rows) == len(parts) * (40 if batch else 1)
    assert not rows & shared


def test_several_params_are_dropped_apart():
    both = lambda p: p["wh"] * p["u"]
    cell = shows_weights(30, both, wh=(30, 30), u=(30, 30))
    params = cell.init(KEY, 30)
    hs = shown(noise.weight_drop(cell, 0.5), np.eye(30)[None], params=params)
    assert_share(hs == 0, 0.75)


def test_integers_are_not_dropped():
    cell = showing(output=lambda p, c: (c.seen, jnp.full(c.seen.shape, 3)))
    for wrap in (
        noise.variational(cell, outputs=0.5),
        noise.dropout(noise.recurrent_dropout(cell, 0.5), 0.5),
    ):
        hs, threes = shown(wrap, ones(900))
        assert_share(hs[:1] == 0, 0.75 if wrap.spec[0] == "dropout" else 0.5)
        np.testing.assert_array_equal(threes, 3)


@pytest.mark.parametrize("name", WRAPS)
def test_rates_may_be_traced(name):
    params, carry, xs = programs.given("lstm")[:3]
    rates = np.array([0.0, 0.25, 0.5])

    def run(rate):
        cell = WRAPS[name](CELLS["lstm"], rate)
        return jaxrnn.unroll(cell, params, carry, xs, key=KEY)

    got = evaluate(jax.vmap(run), rates)
    for n, rate in enumerate(rates):
        cell = WRAPS[name](CELLS["lstm"], float(rate))
        one = lambda xs, cell=cell: jaxrnn.unroll(cell, params, carry, xs, key=KEY)
        assert_close(jax.tree.map(lambda a, n=n: a[n], got), evaluate(one, xs))


# Without noise.


def graded(cell, args, key):
    def f(params, carry, xs, lengths, mask, resets):
        options = dict(lengths=lengths, mask=mask, resets=resets, key=key)
        return jaxrnn.unroll(cell, params, carry, xs, **options)

    return evaluate(with_grads(f), *args)


@each(("lstm", "gru_before", "conv_gru", "mgu"), quick=("gru_before",))
def test_rate_0_and_no_key_are_the_plain_cell(name):
    """Bit for bit, in value and gradients; but zoneout, whose evaluation is another."""
    cell, args = CELLS[name], programs.given(name)
    want = graded(cell, args, None)
    assert_same_bits(graded(all_kinds(cell, 0), args, KEY), want)
    assert_same_bits(graded(all_kinds(cell, 0), args, None), want)
    unheard = cell
    for kind, wrap in WRAPS.items():
        unheard = unheard if kind == "zoneout" else wrap(unheard, 0.7)
    assert_same_bits(graded(unheard, args, None), want)
    x = args[2][0]
    got = evaluate(unheard.step, *args[:2], x)
    assert_same_bits(got, programs.step(name)(*args[:2], x))


@each(("lstm", "gru"), quick=("lstm",))
def test_zoneout_evaluates_to_its_expectation(name):
    """Around other noise, and inside of it."""
    cell, args = CELLS[name], programs.given(name)
    rate = LSTMCarry(h=0.3, c=0.6) if name == "lstm" else 0.3

    def step(params, carry, x):
        new, _ = cell.step(params, carry, x)
        mix = lambda old, new, rate: rate * old + (1 - rate) * new
        rates = rate if name == "lstm" else jax.tree.map(lambda _: rate, carry)
        carry = jax.tree.map(mix, carry, new, rates)
        return carry, cell.parts.output(params, carry)

    def looped(params, carry, xs, lengths, mask, resets):
        inside = jnp.arange(T)[:, None] < lengths
        valid = inside & mask
        xs = jnp.where(beside(valid, xs), xs, 0)
        hand = jaxrnn.Cell(cell.init, cell.initial_carry, step)
        return by_hand(hand, params, carry, xs, valid, resets & inside)

    want = evaluate(with_grads(looped), *args)
    zoned = noise.zoneout(cell, rate)
    around = noise.zoneout(noise.recurrent_dropout(cell, 0.3), rate)
    for noisy in (zoned, around, noise.recurrent_dropout(zoned, 0.3)):
        assert_close(graded(noisy, args, None), want)
        got = evaluate(noisy.step, *args[:2], args[2][0])
        assert_close(got, evaluate(step, *args[:2], args[2][0]))


@pytest.mark.parametrize("name", ["zoneout", "gaussian"])
def test_a_rate_that_is_learned_may_start_at_0(name):
    """Its gradient there is that of the formula, not of the plain cell."""
    params, carry, xs = programs.given("gru")[:3]
    key = None if name == "zoneout" else KEY

    def shown(rate):
        cell = WRAPS[name](CELLS["gru"], rate)
        return jnp.sum(jnp.sin(jaxrnn.unroll(cell, params, carry, xs, key=key)[1]))

    slope, near = (evaluate(jax.grad(shown), rate) for rate in (0.0, 1e-7))
    quotient = (evaluate(shown, 1e-6) - evaluate(shown, 0.0)) / 1e-6
    assert abs(slope) > 0.01
    np.testing.assert_allclose([near, quotient], slope, rtol=1e-3)


def test_a_rate_that_is_learned_evaluates_within_what_is_drawn():
    params, carry, xs = programs.given("gru")[:3]

    def shown(rate):
        cell = noise.zoneout(CELLS["gru"], rate)
        return jaxrnn.unroll(cell, params, carry, xs)

    most = 1 - 2**-16
    assert_close(evaluate(shown, -0.5), evaluate(shown, 0.0))
    for above in (1.0, 7.0):
        assert_close(evaluate(shown, above), evaluate(shown, most))


# Under noise: a loop of the equations, with what was drawn.

RATE = 0.5


def masks(kind, resets):
    """What was drawn for a batch of the table, ``[T, B, ...]``."""
    x, h = np.ones((T, B, F)), np.ones((T, B, H))
    if kind == "variational":
        return (
            kept("inputs", RATE, x, resets=resets),
            kept("recurrent", RATE, h, resets=resets),
            kept("outputs", RATE, h, resets=resets),
        )
    return kept({"recurrent_dropout": "candidate"}.get(kind, kind), RATE, h)


def normal(name):
    """What Gaussian noise was drawn: for x, for z, and for the carry."""
    zs, lstm = (4, True) if name == "lstm" else (3, False)
    zeros = lambda x, n=1: jnp.zeros((*x.shape[:-1], n * x.shape[-1]))
    start = lambda p, x: LSTMCarry(zeros(x), zeros(x)) if lstm else zeros(x)
    of_z = showing(
        initial_carry=lambda p, x: Seen(zeros(x), zeros(x, zs)),
        project=lambda p, x: (x,) * zs,
        gates=lambda p, c, pre: Gates(jnp.concatenate(pre, -1)),
    )
    of_carry = showing(
        initial_carry=start,
        update=lambda p, c, gates: jax.tree.map(jnp.zeros_like, c),
        output=lambda p, c: jnp.concatenate(jax.tree.leaves(c), -1),
    )
    x, h = np.zeros((T, B, F)), np.zeros((T, B, H))
    return (
        shown(noise.gaussian(SHOWS_X, inputs=1.0), x),
        shown(noise.gaussian(of_z, pre=1.0), h),
        shown(noise.gaussian(of_carry, carry=1.0), h),
    )


def kernel(shape):
    """Which weights of a kernel of this shape are kept."""
    cell = shows_weights(shape[1], wh=shape)
    params = cell.init(KEY, shape[0])
    noisy = noise.weight_drop(cell, RATE)
    return shown(noisy, np.eye(shape[0])[None], params=params)[0] != 0


def by_equations(name, kind, wh, resets):
    """``(step, noise)``: ``step(params, carry, (x, a step's noise))`` of the paper."""
    project, recur, gates, update, output = CELLS[name].parts
    drop = lambda a, mask: jnp.where(mask, a / (1 - RATE), 0)

    def plain(params, carry, x):
        return update(
            params,
            carry,
            gates(params, carry, recur(params, carry, project(params, x))),
        )

    if kind == "weight_drop":
        of_wh = kernel(wh.shape)

        def step(params, carry, both):
            params = params._replace(wh=drop(params.wh, of_wh))
            new = plain(params, carry, both[0])
            return new, output(params, new)

        return step, ()

    if kind == "gaussian":

        def step(params, carry, both):
            x, (on_x, on_z, on_carry) = both
            z = project(params, x + RATE * on_x)
            z = [
                a + RATE * n
                for a, n in zip(z, jnp.split(on_z, len(z), -1), strict=True)
            ]
            new = update(params, carry, gates(params, carry, recur(params, carry, z)))
            leaves, tree = jax.tree.flatten(new)
            noises = jnp.split(on_carry, len(leaves), -1)
            leaves = [a + RATE * n for a, n in zip(leaves, noises, strict=True)]
            new = tree.unflatten(leaves)
            return new, output(params, new)

        return step, normal(name)

    def step(params, carry, both):
        x, mask = both
        if kind == "variational":
            x, lstm = drop(x, mask[0]), name == "lstm"
            h = drop(carry.h if lstm else carry, mask[1])
            read = carry._replace(h=h) if lstm else h
            pre = recur(params, read, project(params, x))
            new = update(params, carry, gates(params, read, pre))
            return new, drop(output(params, new), mask[2])
        if kind == "recurrent_dropout":
            now = gates(params, carry, recur(params, carry, project(params, x)))
            g = "g" if name == "lstm" else "n"
            now = now._replace(**{g: drop(getattr(now, g), mask)})
            new = update(params, carry, now)
            return new, output(params, new)
        moves = jnp.split(mask, 2, -1)
        pick = lambda move, new, old: jnp.where(move, new, old)
        new, like = plain(params, carry, x), jax.tree.structure(carry)
        moves = like.unflatten(moves[: like.num_leaves])
        new = jax.tree.map(pick, moves, new, carry)
        return new, output(params, new)

    return step, masks(kind, resets)


@pytest.mark.parametrize(
    "engine", ["auto", pytest.param("scan", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("name", "kind", "reverse", "remat"),
    [
        pytest.param(
            *(name, kind, reverse, 2 if reverse else None),
            marks=() if reverse == (name == "lstm") else pytest.mark.slow,
        )
        for name in ("lstm", "gru_before")
        for kind in WRAPS
        if kind != "dropout"
        for reverse in (False, True)
    ],
)
def test_gradients_are_those_of_a_loop_with_the_same_noise(
    name, kind, reverse, remat, engine
):
    args = programs.given(name)
    params, _, _, lengths, _, resets = args
    within = np.arange(T)[:, None] < lengths
    step, drawn = by_equations(name, kind, params.wh, resets & within)
    cell, noisy = CELLS[name], WRAPS[kind](CELLS[name], RATE)
    start = lambda params, both: cell.initial_carry(params, both[0])
    hand = jaxrnn.Cell(cell.init, start, step)

    def looped(params, carry, xs, lengths, mask, resets):
        inside = jnp.arange(T)[:, None] < lengths
        valid = inside & mask
        both = jnp.where(beside(valid, xs), xs, 0), drawn
        return by_hand(hand, params, carry, both, valid, resets & inside, reverse)

    def run(params, carry, xs, lengths, mask, resets):
        options = dict(lengths=lengths, mask=mask, resets=resets, reverse=reverse)
        options |= dict(remat=remat, engine=ENGINES[engine], key=KEY)
        return jaxrnn.unroll(noisy, params, carry, xs, **options)

    want = evaluate(with_grads(looped), *args)
    assert_close(evaluate(with_grads(run), *args), want)


def test_compiled_it_is_the_same():
    params, carry, xs = programs.given("lstm")[:3]
    cell = all_kinds(CELLS["lstm"], 0.3)
    run = lambda params, xs: jaxrnn.unroll(cell, params, carry, xs, key=KEY)
    grads = jax.grad(lambda *args: jnp.sum(run(*args)[1] ** 2), (0, 1))
    assert_close(jax.jit(grads)(params, xs), evaluate(grads, params, xs))


def along(run, params, xs):
    """The tangent of the gradient."""
    grads = jax.grad(lambda params, xs: jnp.sum(run(params, xs)[1] ** 2), (0, 1))
    return jax.jvp(grads, (params, xs), (jax.tree.map(jnp.sin, params), jnp.cos(xs)))


UNDER = {
    "jvp of grad": along,
    "checkpoint": lambda run, *args: along(jax.checkpoint(run), *args),
    "vmap over params": lambda run, params, xs: jax.vmap(run, (0, None))(
        jax.tree.map(lambda a: jnp.stack([a, 0.5 * a]), params), xs
    ),
    "scan of unroll": lambda run, params, xs: jax.lax.scan(
        lambda _, scale: (None, run(params, scale * xs)), None, jnp.array([1.0, 0.5])
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNDER)
def test_under_a_transformation_both_engines_are_one(name):
    params, carry, xs, lengths, mask, resets = programs.given("lstm")
    cell = all_kinds(CELLS["lstm"], 0.3)
    options = dict(lengths=lengths, mask=mask, resets=resets, key=KEY)

    def result(engine, around=lambda f: f):
        def run(params, xs):
            return jaxrnn.unroll(cell, params, carry, xs, engine=engine, **options)

        return around(lambda *args: UNDER[name](run, *args))(params, xs)

    want = result("scan")
    assert_close(result("gated"), want)
    assert_close(result("auto", jax.jit), want)


def test_a_batch_of_batches_is_its_rows():
    params, carry, xs = programs.given("lstm", (2, 3))[:3]
    cell = all_kinds(CELLS["lstm"], 0.3)
    flat = lambda a, axis: a.reshape(*a.shape[:axis], 6, *a.shape[axis + 2 :])
    carries = lambda tree: jax.tree.map(lambda a: flat(a, 0), tree)
    run = lambda carry, xs: jaxrnn.unroll(cell, params, carry, xs, key=KEY)
    got, hs = evaluate(run, carry, xs)
    want = evaluate(run, carries(carry), flat(xs, 1))
    assert_close((carries(got), flat(hs, 1)), want)


def test_of_images_each_pixel_draws():
    params, carry, xs = programs.given("conv_gru")[:3]
    cell = noise.zoneout(CELLS["conv_gru"], 0.5)
    h, hs = evaluate(lambda xs: jaxrnn.unroll(cell, params, carry, xs, key=KEY), xs)
    same = np.concatenate([[carry], hs[:-1]]) == hs
    assert_share(same, 0.5)
    for axis in range(same.ndim):
        assert same.all(axis).mean() + (~same).all(axis).mean() < 0.9


def test_around_a_narrower_precision():
    cell = noise.zoneout(jaxrnn.precision(jaxrnn.lstm(H), compute="bfloat16"), 0.5)
    cell = noise.variational(cell, inputs=0.3, recurrent=0.3)
    params, _, xs = programs.given("lstm")[:3]
    types = jax.eval_shape(
        lambda xs: jaxrnn.unroll(cell, params, None, xs, key=KEY), np.float32(xs)
    )
    assert [a.dtype.name for a in jax.tree.leaves(types)] == ["float32"] * 2 + [
        "bfloat16"
    ]


# Errors.

LSTM = jaxrnn.lstm(H)


def run_under(cell, key=KEY):
    params = cell.init(jax.random.key(0), F)
    return lambda: jax.eval_shape(
        lambda: jaxrnn.unroll(cell, params, None, np.ones((T, B, F)), key=key)
    )


STACK = jaxrnn.stack(LSTM)
SLSTM = jaxrnn.slstm(4)
RATES = {
    f"{name} {rate}": (lambda wrap=wrap, rate=rate: wrap(LSTM, rate), "expected 0 to 1")
    for name, wrap in WRAPS.items()
    for rate in (-0.1, 1.0, float("nan"))
    if name != "gaussian"
}
WRONG = RATES | {
    f"{name} of a stack": (
        lambda wrap=wrap: wrap(STACK, 0.1),
        f"{name}: expected a gated cell.*jaxrnn.stack\\({name}",
    )
    for name, wrap in WRAPS.items()
    if name != "dropout"
}
WRONG |= {
    f"{name} of a step": (
        lambda wrap=wrap: wrap(LSTM.step, 0.1),
        f"{name}: expected a jaxrnn.Cell",
    )
    for name, wrap in WRAPS.items()
}
WRONG |= {
    "no mask": (
        lambda: noise.variational(LSTM),
        "expected inputs, recurrent or outputs",
    ),
    "no deviation": (lambda: noise.gaussian(LSTM), "expected inputs, pre or carry"),
    "less than no deviation": (
        lambda: noise.gaussian(LSTM, carry=-0.1),
        "carry: expected a number from 0, got -0.1",
    ),
    "no finite deviation": (
        lambda: noise.gaussian(LSTM, pre=float("inf")),
        "pre: expected a number from 0, got inf",
    ),
    "deviations": (
        lambda: noise.gaussian(LSTM, pre=np.ones(2)),
        "pre: expected a number",
    ),
    "a rate of one leaf": (
        lambda: noise.zoneout(LSTM, LSTMCarry(0.1, 1.5)),
        r"rate\.c: expected 0 to 1",
    ),
    "rates of another carry": (
        run_under(noise.zoneout(jaxrnn.gru(H), LSTMCarry(0.1, 0.2))),
        r"rate: expected one for each of array, got LSTMCarry",
    ),
    "one rate for four leaves": (
        run_under(noise.zoneout(SLSTM, 0.1)),
        r"rate: expected one for each of SLSTMCarry\(h, c, n, m\).*give a tree",
    ),
    "the same without a key": (
        run_under(noise.zoneout(SLSTM, 0.1), None),
        r"rate: expected one for each of SLSTMCarry",
    ),
    "no candidate": (
        run_under(noise.recurrent_dropout(jaxrnn.simple_rnn(H), 0.1)),
        r"candidate: expected one gate named 'g' or 'n', got.*\['h'\].*Name the one",
    ),
    "another candidate": (
        run_under(noise.recurrent_dropout(LSTM, 0.1, candidate="q")),
        "candidate: expected one gate named 'q'",
    ),
    "a candidate by number": (
        lambda: noise.recurrent_dropout(LSTM, 0.1, candidate=2),
        "candidate: expected the name of a gate, got 2",
    ),
    "no such params": (
        run_under(noise.weight_drop(LSTM, 0.1, names=("w",))),
        r"names: expected some of the params.*'wx', 'wh', 'b'.*got \['w'\]",
    ),
    "names as one string": (
        lambda: noise.weight_drop(LSTM, 0.1, names="wh"),
        "names: expected a tuple",
    ),
    "a key a row for weights": (
        run_under(noise.weight_drop(LSTM, 0.1), jax.random.split(KEY, B)),
        "key: expected one PRNG key, because all rows share",
    ),
    "no h": (
        run_under(noise.variational(CELLS["own_gated"], recurrent=0.1)),
        "recurrent: expected a carry that is one array or has a field h",
    ),
    "a carry that the matmuls read a function of": (
        lambda: noise.variational(
            noise.dropout(jaxrnn.leaky_rnn(H, activation="tanh"), 0.1), recurrent=0.1
        ),
        "recurrent: expected.*leaky_rnn of activation tanh.*weight_drop",
    ),
    "a rate that is a truth": (
        lambda: noise.zoneout(LSTM, jnp.array(True)),
        "rate: expected a number",
    ),
    "a complex rate": (
        lambda: noise.zoneout(LSTM, jnp.array(0.1 + 0j)),
        "rate: expected a number",
    ),
    "a ragged rate": (
        lambda: noise.weight_drop(LSTM, [[0.1], [0.1, 0.2]]),
        "rate: expected a number",
    ),
    "precision around noise": (
        lambda: jaxrnn.precision(noise.zoneout(LSTM, 0.1), compute="bfloat16"),
        "Wrap the cells inside",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_raises(case):
    call, message = WRONG[case]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        call()
