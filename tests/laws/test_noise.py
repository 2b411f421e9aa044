"""Law 16, noise: what is drawn, on what it depends, and that without a key there is none.

`copy` shows its inputs, so that a wrapper's noise is seen as it is: an output is zero
where a unit was dropped.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxrnn
from jaxrnn.noise import dropout
from tests.laws import programs
from tests.laws.cases import (
    CELLS,
    ENGINES,
    B,
    H,
    T,
    assert_close,
    assert_same_bits,
    by_hand,
    each,
    example,
    own_gated,
    with_grads,
)
from tests.laws.numpy_jaxpr import evaluate

KEY = jax.random.key(5)
RATES = (0.25, 0.5, 58982.6 / 2**16)  # the last is rounded up
WIDE, LONG = 7, 60  # an odd width: two draws share a word


def copy(event_ndim=1):
    return jaxrnn.Cell(
        init=lambda key, features: (),
        initial_carry=lambda p, x: (),
        step=lambda p, c, x: (c, x),
        event_ndim=event_ndim,
    )


def inputs(*batch, steps=LONG):
    """Never zero, and distinct."""
    return 1 + np.random.RandomState(3).rand(steps, *batch, WIDE)


def shown(cell, xs, key=KEY, **options):
    """What a cell without params shows under a key."""
    run = lambda xs, key: jaxrnn.unroll(cell, (), None, xs, key=key, **options)[1]
    return evaluate(run, xs, key)


def pattern(*args, **options):
    """Which units are dropped."""
    return shown(*args, **options) == 0


def assert_share(found, rate):
    """So many of a mask are True, to five standard deviations of a binomial."""
    share, n = np.mean(found), np.size(found)
    assert abs(share - rate) <= 5 * (rate * (1 - rate) / n) ** 0.5, (share, rate, n)


half = dropout(copy(), 0.5)


# What is drawn.


@pytest.mark.parametrize("rate", RATES)
def test_units_are_dropped_at_this_rate_and_the_others_scaled(rate):
    xs = inputs(9)
    hs = shown(dropout(copy(), rate), xs)
    rounded = round(rate * 2**16) / 2**16
    kept = hs != 0
    np.testing.assert_allclose(hs[kept], xs[kept] / (1 - rounded), rtol=1e-15)
    assert_share(~kept, rate)
    for axis in range(3):  # at each step, of each row, of each unit
        for line in np.moveaxis(~kept, axis, 0):
            assert_share(line, rate)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_neighbours_are_dropped_independently(axis):
    """Also two units that share a word of the generator."""
    dropped = np.moveaxis(pattern(half, inputs(9)), axis, 0)
    assert_share(dropped[1:] & dropped[:-1], 0.25)


def test_rates_are_multiples_of_two_to_the_minus_16():
    draws = lambda rate: pattern(dropout(copy(), rate), inputs(200))
    assert not draws(2.0**-18).any()
    almost = pattern(dropout(copy(), 1 - 2.0**-18), inputs(2000))
    assert_share(almost, 1 - 2.0**-16)
    assert not almost.all()


# Without noise.


@each(("lstm", "own_gated", "bare", "stack"), quick=("own_gated", "bare"))
def test_rate_0_and_no_key_are_the_plain_cell(name):
    """Bit for bit, in value and gradients."""
    args = programs.given(name)

    def run(cell, key):
        def f(params, carry, xs, lengths, mask, resets):
            options = dict(lengths=lengths, mask=mask, resets=resets, key=key)
            return jaxrnn.unroll(cell, params, carry, xs, **options)

        return evaluate(with_grads(f), *args)

    cell = CELLS[name]
    want = run(cell, None)
    assert_same_bits(run(dropout(cell, 0), KEY), want)
    assert_same_bits(run(dropout(cell, 0.7), None), want)
    assert_same_bits(run(cell, KEY), want)  # a key for a cell that has no noise


def test_compiled_too_rate_0_is_the_plain_cell():
    params, carry, xs = example("lstm")
    run = lambda cell: jax.jit(
        lambda xs: jaxrnn.unroll(cell, params, carry, xs, key=KEY)
    )
    assert_same_bits(run(dropout(CELLS["lstm"], 0))(xs), run(CELLS["lstm"])(xs))


def test_a_step_is_without_noise():
    params, carry, xs = programs.given("lstm")[:3]
    got = evaluate(dropout(CELLS["lstm"], 0.7).step, params, carry, xs[0])
    assert_same_bits(got, programs.step("lstm")(params, carry, xs[0]))


def test_the_memory_is_without_noise():
    params, carry, xs = programs.given("lstm")[:3]
    run = lambda cell: evaluate(
        lambda *args: jaxrnn.unroll(cell, *args, key=KEY), params, carry, xs
    )
    noisy, plain = run(dropout(CELLS["lstm"], 0.5)), run(CELLS["lstm"])
    assert_same_bits(noisy[0], plain[0])
    assert np.any(noisy[1] != plain[1])


def test_integers_are_not_dropped():
    """The carry that `with_carries` shows holds a counter."""
    params, carry, xs = programs.given("own_gated")[:3]
    cell = dropout(jaxrnn.with_carries(own_gated(H)), 0.5)
    run = lambda *args: jaxrnn.unroll(cell, *args, key=KEY)[1]
    hs, carries = evaluate(run, params, carry, xs)
    np.testing.assert_array_equal(carries.ticks - carry.ticks, _counted(carry.ticks))
    assert_share(hs == 0, 0.5)


def _counted(ticks):
    return np.broadcast_to(np.arange(1, T + 1)[:, None, None], (T, *ticks.shape))


def test_each_array_that_a_cell_shows_has_its_own_noise():
    cell = dropout(jaxrnn.with_carries(CELLS["lstm"]), 0.5)
    params, _, xs = programs.given("lstm", (40,))[:3]
    run = lambda *args: jaxrnn.unroll(cell, params, None, *args, key=KEY)[1]
    h, carries = evaluate(run, xs)
    one, two, three = (a == 0 for a in (h, *carries))
    for a, b in ((one, two), (two, three), (one, three)):
        assert_share(a & b, 0.25)


# On what it depends.


def test_a_row_draws_by_its_key_alone():
    """Not by the rows beside it, nor by their number, nor by their order."""
    keys = jax.random.split(KEY, 4)
    xs = inputs(4)
    whole = shown(half, xs, keys)
    order = np.array([2, 0, 3, 1])
    np.testing.assert_array_equal(
        shown(half, xs[:, order], keys[order]), whole[:, order]
    )
    np.testing.assert_array_equal(shown(half, xs[:, 1:3], keys[1:3]), whole[:, 1:3])
    for b in range(4):
        np.testing.assert_array_equal(shown(half, xs[:, b], keys[b]), whole[:, b])
    assert np.any((whole == 0)[:, 0] != (whole == 0)[:, 1])


@pytest.mark.parametrize("batch", [(4,), (2, 3)], ids=str)
def test_one_key_is_folded_in_with_the_number_of_the_row(batch):
    xs, numbers = inputs(*batch), np.arange(np.prod(batch))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, numbers).reshape(batch)
    got = shown(half, xs)
    np.testing.assert_array_equal(got, shown(half, xs, keys))
    if batch == (4,):  # so fewer rows draw what the first of many do
        np.testing.assert_array_equal(shown(half, xs[:, :2]), got[:, :2])


def test_without_a_batch_the_key_is_the_rows():
    xs = inputs()
    rows = shown(half, xs[:, None], KEY[None])
    np.testing.assert_array_equal(shown(half, xs), rows[:, 0])


def test_a_longer_sequence_begins_with_the_same_noise():
    xs = inputs(4)
    whole = shown(half, xs)
    for steps in (0, 1, LONG // 2):
        np.testing.assert_array_equal(shown(half, xs[:steps]), whole[:steps])


def test_no_steps_no_rows_and_no_units_are_ordinary_inputs():
    for shape in ((0, 4, WIDE), (LONG, 0, WIDE), (LONG, 4, 0)):
        assert shown(half, np.ones(shape)).shape == shape


@pytest.mark.parametrize(
    "options",
    [
        dict(reverse=True),
        dict(remat=7),
        dict(remat="auto", reverse=True),
        dict(engine="scan"),
        dict(lengths=np.array([LONG, 3, 0, 41])),
        dict(mask=np.random.RandomState(0).rand(LONG, 4) < 0.6),
        dict(resets=np.random.RandomState(1).rand(LONG, 4) < 0.2),
    ],
    ids=lambda options: " ".join(options),
)
def test_it_depends_on_no_option(options):
    """hs[t] belongs to xs[t]: so does its noise, backwards too."""
    xs = inputs(4)
    valid = np.ones((LONG, 4), bool) & options.get("mask", True)
    if "lengths" in options:
        valid &= np.arange(LONG)[:, None] < options["lengths"]
    want = np.where(valid[..., None], shown(half, xs), 0)
    np.testing.assert_array_equal(shown(half, xs, **options), want)


# Each wrapper draws its own: of two with rate 1/2 a quarter is kept.
TWO = {
    "stack": jaxrnn.stack(half, half),
    "nested": dropout(half, 0.5),
    "nested in a stack": dropout(jaxrnn.stack(half), 0.5),
    "stack of stacks": jaxrnn.stack(jaxrnn.stack(half), jaxrnn.stack(half)),
    "directions": jaxrnn.bidirectional(half, merge="product"),
    "around directions": dropout(
        jaxrnn.bidirectional(half, copy(), merge=lambda f, b: f), 0.5
    ),
    "through other wrappers": jaxrnn.stack(
        jaxrnn.learned_carry(half), jaxrnn.learned_carry(half)
    ),
}


@pytest.mark.parametrize("name", TWO)
def test_each_wrapper_draws_its_own(name):
    cell = TWO[name]
    params = cell.init(jax.random.key(0), WIDE)
    run = lambda xs: jaxrnn.unroll(cell, params, None, xs, key=KEY)[1]
    hs = evaluate(run, inputs(9))
    assert_share(hs == 0, 0.75)


# Keys.


def test_vmap_over_keys_equals_a_loop():
    keys, xs = jax.random.split(KEY, 3), inputs(2)
    run = lambda key: jaxrnn.unroll(half, (), None, xs, key=key)[1]
    got = evaluate(jax.vmap(run), keys)
    for key, hs in zip(keys, got, strict=True):
        np.testing.assert_array_equal(hs, shown(half, xs, key))


def test_raw_keys_are_keys():
    xs, raw = inputs(4), jax.random.PRNGKey(5)
    np.testing.assert_array_equal(shown(half, xs, raw), shown(half, xs, KEY))
    rows = np.asarray(jax.random.key_data(jax.random.split(KEY, 4)))
    want = shown(half, xs, jax.random.split(KEY, 4))
    np.testing.assert_array_equal(shown(half, xs, rows), want)


def test_keys_of_another_generator():
    """Their own draws under vmap would depend on the rows beside."""
    words = np.array([[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 4, 4]], np.uint32)
    keys, xs = jax.random.wrap_key_data(words, impl="rbg"), inputs(4)
    run = lambda key: jaxrnn.unroll(half, (), None, xs, key=key)[1]
    several = evaluate(jax.vmap(run), keys)
    for key, hs in zip(keys, several, strict=True):
        np.testing.assert_array_equal(shown(half, xs, key), hs)
        assert_share(hs == 0, 0.5)
    assert len({(hs == 0).tobytes() for hs in several}) == 3  # all words count
    of_rows = jax.random.split(keys[0], 4)
    alone = shown(half, xs[:, 2], of_rows[2])
    np.testing.assert_array_equal(alone, shown(half, xs, of_rows)[:, 2])


def test_rates_may_be_traced():
    xs = inputs(4)
    run = lambda rate, xs: jaxrnn.unroll(dropout(copy(), rate), (), None, xs, key=KEY)[
        1
    ]
    got = evaluate(jax.vmap(run, (0, None)), np.array([0.0, *RATES]), xs)
    np.testing.assert_array_equal(got[0], xs)
    for rate, hs in zip(RATES, got[1:], strict=True):
        np.testing.assert_allclose(hs, shown(dropout(copy(), rate), xs), rtol=1e-15)


@pytest.mark.slow
def test_a_row_draws_the_same_on_any_device():
    """A loop that spreads rows gives each its key by its number in the whole."""
    keys, xs = jax.random.split(KEY, 8), inputs(8)
    run = lambda xs, keys: jaxrnn.unroll(half, (), None, xs, key=keys)[1]
    for n in (2, 4):
        axes = jax.make_mesh((n,), ("d",), (AxisType.Auto,), devices=jax.devices()[:n])
        spread = jax.shard_map(
            run, mesh=axes, in_specs=(P(None, "d"), P("d")), out_specs=P(None, "d")
        )
        np.testing.assert_array_equal(jax.jit(spread)(xs, keys), shown(half, xs, keys))


# Gradients.


def looped(name, rate, reverse):
    """A loop of `step` whose outputs a mask is laid on that was drawn beforehand."""
    cell = CELLS[name]

    def run(params, carry, xs, lengths, mask, resets, kept):
        inside = jnp.arange(T)[:, None] < lengths
        valid = inside & mask
        xs = jnp.where(valid[..., None], xs, 0)
        args = (xs, valid, resets & inside, reverse)
        last, hs = by_hand(cell, params, carry, *args)
        return last, jnp.where(kept, hs / (1 - rate), 0)

    return run


@pytest.mark.parametrize(
    ("name", "engine", "reverse", "remat"),
    [
        ("own_gated", "auto", False, None),
        ("own_gated", "auto", True, 2),
        ("own_gated", "scan", False, 2),
        ("own_gated", "scan", True, None),
        ("bare", "auto", True, 2),
    ],
)
def test_gradients_are_those_of_a_loop_with_the_same_noise(
    name, engine, reverse, remat
):
    args = programs.given(name)
    width = programs.step(name)(*args[:2], args[2][0])[1].shape[-1]
    ones = np.ones((T, B, width))
    kept = shown(half, ones) != 0
    assert 0 < kept.sum() < kept.size

    def run(params, carry, xs, lengths, mask, resets):
        options = dict(lengths=lengths, mask=mask, resets=resets, reverse=reverse)
        options |= dict(remat=remat, engine=ENGINES[engine], key=KEY)
        cell = dropout(CELLS[name], 0.5)
        return jaxrnn.unroll(cell, params, carry, xs, **options)

    want = evaluate(with_grads(looped(name, 0.5, reverse)), *args, kept)
    assert_close(evaluate(with_grads(run), *args), want)


# Errors.

gru = jaxrnn.gru(H)
WRONG = {
    "rate 1": (lambda: dropout(gru, 1.0), "rate: expected 0 to 1, without 1, got 1.0"),
    "rate -0.1": (lambda: dropout(gru, -0.1), "rate: expected 0 to 1.*got -0.1"),
    "rate NaN": (lambda: dropout(gru, float("nan")), "rate: expected 0 to 1.*got nan"),
    "rate True": (lambda: dropout(gru, True), "rate: expected a number, got True"),
    "rates": (lambda: dropout(gru, jnp.ones(2)), "rate: expected a number"),
    "no cell": (lambda: dropout(gru.step, 0.1), "dropout: expected a jaxrnn.Cell"),
    "keys of two rows": (
        lambda: shown(half, inputs(4), jax.random.split(KEY, 2)),
        r"key: expected one PRNG key or one for each row, \[4\], got \[2\] keys",
    ),
    "keys of a swapped batch": (
        lambda: shown(half, inputs(2, 3), jax.random.split(KEY, (3, 2))),
        r"key: expected.*\[2, 3\], got \[3, 2\] keys",
    ),
    "a seed": (
        lambda: shown(half, inputs(4), 3),
        r"key: expected.*jax\.random\.key\(0\)",
    ),
    "floats": (lambda: shown(half, inputs(4), np.ones(2)), "key: expected a PRNG key"),
    "half a raw key": (
        lambda: shown(half, inputs(4), np.ones(3, np.uint32)),
        "key: expected a PRNG key",
    ),
    "no batch": (
        lambda: shown(dropout(copy(event_ndim=None), 0.5), inputs(4)),
        "key: expected a cell whose batch is known. Give lengths",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_raises(case):
    call, message = WRONG[case]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        call()


def test_lengths_say_what_the_batch_is():
    xs = inputs(4)
    cell = dropout(copy(event_ndim=None), 0.5)
    got = shown(cell, xs, lengths=np.full(4, LONG))
    np.testing.assert_array_equal(got, shown(half, xs))
