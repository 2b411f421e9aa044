"""Laws 1, 5, 6, 7, 8, 9: step, chunk, ragged, reset, reverse, remat.

One compiled function a cell, engine and direction, always with lengths, mask and
resets; hypothesis draws their values. The oracle is a Python loop of ``step``.
"""

import functools
import re

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

import jaxrnn
from jaxrnn.engine import gated, scan
from tests.laws.cases import (
    CELLS,
    ENGINES,
    GATED,
    QUICK,
    STEPS,
    B,
    T,
    assert_close,
    assert_same_bits,
    by_hand,
    each,
    example,
    weighed,
    with_grads,
)

most = each(quick=("lstm", "gru", "own_gated", "bare", "stack"))
steps = each(STEPS)
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
directions = pytest.mark.parametrize(
    "reverse", [False, True], ids=["forward", "reverse"]
)
# A program a direction, each of which costs seconds to compile: one in the quick suite.
directions_apart = pytest.mark.parametrize(
    "reverse",
    [False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["forward", "reverse"],
)
few = settings(max_examples=12, deadline=None, derandomize=True)
lengths_ = st.lists(st.sampled_from([0, 1, 3, T - 1, T]), min_size=B, max_size=B)
bools = arrays(bool, (T, B))


def told_everything(name, engine, reverse, remat=None):
    def run(params, carry, xs, lengths, mask, resets):
        options = dict(lengths=lengths, mask=mask, resets=resets)
        options |= dict(reverse=reverse, engine=engine, remat=remat)
        return jaxrnn.unroll(CELLS[name], params, carry, xs, **options)

    return run


@functools.cache
def ours(name, engine, reverse, remat=None):
    return jax.jit(with_grads(told_everything(name, engine, reverse, remat)))


@functools.cache
def values(name, engine, reverse):
    """`ours` without gradients, for more numbers of steps."""
    return jax.jit(told_everything(name, engine, reverse))


@functools.cache
def oracle(name, reverse):
    def run(params, carry, xs, lengths, mask, resets):
        inside = jnp.arange(T)[:, None] < lengths
        xs = jnp.where((inside & mask)[..., None], xs, 0)
        args = (inside & mask, resets & inside, reverse)
        return by_hand(CELLS[name], params, carry, xs, *args)

    return jax.jit(with_grads(run))


@most
@directions_apart
@few
@given(lengths=lengths_, mask=bools, resets=bools)
def test_equals_a_loop_of_step(name, reverse, lengths, mask, resets):
    control = (jnp.array(lengths), mask, resets)
    got = ours(name, "auto", reverse)(*example(name), *control)
    assert_close(got, oracle(name, reverse)(*example(name), *control))


@each(quick=("lstm", "own_gated"))
@directions_apart
@few
@given(lengths=lengths_, mask=bools, resets=bools)
def test_the_plain_scan_equals_a_loop_of_step(name, reverse, lengths, mask, resets):
    control = (jnp.array(lengths), mask, resets)
    got = ours(name, "scan", reverse)(*example(name), *control)
    assert_close(got, oracle(name, reverse)(*example(name), *control))


@most
@directions
@few
@given(lengths=lengths_, mask=bools, junk=st.sampled_from([np.nan, np.inf, -1e30]))
def test_padding_changes_no_bit(name, reverse, lengths, mask, junk):
    engine = "scan" if name in ("lstm", "stack") and reverse else "auto"
    params, carry, xs = example(name)
    lengths, resets = jnp.array(lengths), jnp.zeros((T, B), bool)
    valid = mask & (jnp.arange(T)[:, None] < lengths)
    run = functools.partial(ours(name, engine, reverse), params, carry)
    dirty = jnp.where(valid[..., None], xs, junk)
    assert_same_bits(run(xs, lengths, mask, resets), run(dirty, lengths, mask, resets))


@each(quick=("own_gated", "stack"))
def test_without_options_equals_all_valid(name):
    """No lengths, mask or resets is another program than ones that change nothing."""
    reverse = name in ("own_gated", "stack")
    run = lambda *a: jaxrnn.unroll(CELLS[name], *a, reverse=reverse)
    got = jax.jit(with_grads(run))(*example(name))
    control = (jnp.full(B, T), jnp.ones((T, B), bool), jnp.zeros((T, B), bool))
    assert_close(got, oracle(name, reverse)(*example(name), *control))


@each(STEPS, quick=QUICK)
@directions
def test_a_row_equals_itself_without_its_invalid_steps(name, reverse):
    """A reset on an invalid step moves to the next valid one, in the order of time."""
    params, carry, xs = example(name)
    rng = np.random.RandomState(3)
    lengths, mask, resets = (
        np.array([T, 0, 3]),
        rng.rand(T, B) < 0.6,
        rng.rand(T, B) < 0.3,
    )
    run = values(name, "auto", reverse)
    last, hs = run(params, carry, xs, jnp.array(lengths), mask, resets)
    order = range(T)[::-1] if reverse else range(T)
    for b in range(B):
        row, shown = jax.tree.map(lambda a, b=b: a[b], carry), {}
        for t in order:
            reset = resets[t, b] and t < lengths[b]
            fresh = CELLS[name].initial_carry(params, xs[t, b])
            row = fresh if reset and not reverse else row
            if mask[t, b] and t < lengths[b]:
                row, shown[t] = CELLS[name].step(params, row, xs[t, b])
            row = fresh if reset and reverse else row
        assert_close(jax.tree.map(lambda a, b=b: a[b], last), row)
        for t in range(T):
            h = jax.tree.map(lambda a, t=t, b=b: a[t, b], hs)
            assert_close(h, shown.get(t, jax.tree.map(jnp.zeros_like, h)))


@each(STEPS, quick=("own_gated", "stack"))
@directions
@pytest.mark.parametrize("k", [0, 2, 3, T])
def test_a_sequence_may_be_cut_anywhere(name, reverse, k):
    params, carry, xs = example(name)
    rng = np.random.RandomState(k)
    mask, resets = rng.rand(T, B) < 0.7, rng.rand(T, B) < 0.3
    lengths = rng.permutation([T, 0, T - 2])
    run = values(name, "auto", reverse)
    whole = run(params, carry, xs, jnp.array(lengths), mask, resets)
    parts = [
        (slice(None, k), np.clip(lengths, 0, k)),
        (slice(k, None), np.clip(lengths - k, 0, None)),
    ]
    hs = []
    for part, inside in parts[::-1] if reverse else parts:
        control = (jnp.array(inside), mask[part], resets[part])
        carry, h = run(params, carry, xs[part], *control)
        hs.append(h)
    hs = jax.tree.map(lambda *a: jnp.concatenate(a), *(hs[::-1] if reverse else hs))
    assert_close((carry, hs), whole)


@each(STEPS, quick=("own_gated", "stack"))
def test_reverse_is_flip_run_flip_of_the_valid_part(name):
    params, carry, xs = example(name)
    lengths = np.array([T, T - 2, 0])
    control = (jnp.array(lengths), np.ones((T, B), bool), np.zeros((T, B), bool))
    flip = np.array([[t if t >= n else n - 1 - t for n in lengths] for t in range(T)])
    turn = lambda a: a[flip, np.arange(B)]
    back, _ = ours(name, "auto", True)(params, carry, xs, *control)
    there, _ = ours(name, "auto", False)(params, carry, turn(xs), *control)
    assert_close(back, (there[0], jax.tree.map(turn, there[1])))


@each(quick=("own_gated",))
@directions_apart
def test_remat_changes_nothing(name, reverse):
    rng = np.random.RandomState(5)
    control = (jnp.array([T, 3, 0]), rng.rand(T, B) < 0.7, rng.rand(T, B) < 0.3)
    engine = "scan" if reverse and name in GATED else "auto"
    got = ours(name, engine, reverse, remat=2)(*example(name), *control)
    assert_close(got, oracle(name, reverse)(*example(name), *control))


@engines
@directions
@pytest.mark.parametrize(
    "remat",
    [3, *(pytest.param(n, marks=pytest.mark.slow) for n in ("auto", 1, T, 100))],
)
def test_any_number_of_steps_between_stored_carries(
    engine, reverse, remat, monkeypatch
):
    monkeypatch.setattr(scan, "AUTO_REMAT_BYTES", 0)
    rng = np.random.RandomState(6)
    control = (jnp.array([T, 3, 0]), rng.rand(T, B) < 0.7, rng.rand(T, B) < 0.3)
    got = ours("lstm", engine, reverse, remat)(*example("lstm"), *control)
    assert_close(got, oracle("lstm", reverse)(*example("lstm"), *control))


class Blocks(gated.Plan):
    """A plan whose `block_bytes` are the steps of a block."""

    def block_size(self, stored, params):
        return self.block_bytes


@each(GATED, quick=("own_gated",))
@directions_apart
def test_blocks_of_steps_change_nothing(name, reverse):
    """The input projected, and the backward pass run, two steps at a time."""
    rng, steps = np.random.RandomState(7), 8
    xs = jnp.asarray(rng.randn(steps, *example(name)[2].shape[1:]))
    plain = np.arange(B) == 0  # a row that enters each block with a carry
    mask, resets = rng.rand(steps, B) < 0.7, rng.rand(steps, B) < 0.3
    options = dict(lengths=jnp.array([steps, 7, 3]), mask=mask | plain)
    options |= dict(resets=resets & ~plain, reverse=reverse)
    args = (*example(name)[:2], xs)

    def run(engine):
        f = lambda *a: jaxrnn.unroll(CELLS[name], *a, **options, engine=engine)
        loss = lambda xs: weighed(f(*args[:2], xs))
        second = lambda xs: jax.jvp(jax.grad(loss), (xs,), (jnp.cos(xs),))
        both = lambda *a: (with_grads(f)(*a), second(a[2]))
        lengths = set(re.findall(r"length=(\d+)", str(jax.make_jaxpr(both)(*args))))
        return lengths, jax.jit(both)(*args)

    lengths, want = run("scan")
    assert lengths == {"8"}
    for size, scans in ((2, {"2", "4"}), (0, {"2", "4", "8"})):  # 0: projected alone
        plan = Blocks(few_rows=100, ahead_rows=2 * B, least_blocks=4, block_bytes=size)
        lengths, got = run((gated.engine(plan),))
        assert lengths == scans
        assert_close(got, want)
