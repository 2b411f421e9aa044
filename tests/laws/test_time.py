"""Laws 1, 5, 6, 7, 8, 9: step, chunk, ragged, reset, reverse, remat.

Each program of a cell is traced once, always with lengths, mask and resets, of which
hypothesis draws the values, and evaluated in NumPy. The oracle is a Python loop of
``step``. At the end is what only XLA can show: one compiled program for each cell.
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
from tests.laws import programs
from tests.laws.cases import (
    ALIKE,
    CELLS,
    ENGINES,
    GATED,
    NIGHTLY,
    STEPS,
    B,
    T,
    assert_close,
    assert_same_bits,
    beside,
    each,
    example,
    floats,
    later,
    marks,
    most,
    weighed,
    weights_of,
    with_grads,
)
from tests.laws.numpy_jaxpr import evaluate, trace

engines = pytest.mark.parametrize("engine", ENGINES)
directions = pytest.mark.parametrize(
    "reverse", [False, True], ids=["forward", "reverse"]
)


def in_directions(forward, reverse, slow=()):
    """Parametrises ``name`` and ``reverse``; what is not named comes later.

    Args:
        forward, reverse: in the quick suite.
        slow: in `make slow` at the latest, forwards.
    """
    quick = {False: forward, True: reverse}

    def when(name, backwards):
        if name in quick[backwards]:
            return []
        return [pytest.mark.slow] if name in slow and not backwards else marks(name)

    return pytest.mark.parametrize(
        ("name", "reverse"),
        [
            pytest.param(
                *(name, backwards),
                marks=when(name, backwards),
                id=f"{name}-{'reverse' if backwards else 'forward'}",
            )
            for name in CELLS
            for backwards in quick
        ],
    )


few = settings(max_examples=8, deadline=None, derandomize=True)
lengths_ = st.lists(st.sampled_from([0, 1, 3, T - 1, T]), min_size=B, max_size=B)
lengths_ = lengths_.map(np.array)
bools = arrays(bool, (T, B))
JUNK = [np.nan, np.inf, -1e30]


def told(name, *control):
    """The example of a cell with these lengths, mask and resets, and its weights."""
    return *programs.given(name)[:3], *control, programs.weights(name)


# Of what is made of other cells the order of time is the others' business; of these three
# all is: test_noise has `dropout`.
FORWARD = set(CELLS) - {"simple_rnn_relu", "deep_bidirectional", "dropout"}


@in_directions(FORWARD - {*ALIKE}, set(CELLS) - {*NIGHTLY, *ALIKE}, slow=ALIKE)
@few
@given(lengths=lengths_, mask=bools, resets=bools)
def test_equals_a_loop_of_step(name, reverse, lengths, mask, resets):
    """By both engines, in value and in every gradient."""
    args = told(name, lengths, mask, resets)
    want = programs.oracle(name, reverse)(*args)
    for engine in ENGINES:
        assert_close(programs.gradients(name, engine, reverse)(*args), want)


@functools.cache
def half(number, reverse):
    """The program of one of the two cells of `bidirectional`, by the plain scan."""
    params, carry, *rest = programs.given("bidirectional")
    cell = CELLS["bidirectional"].parts[number]
    run = programs.unrolled(cell, "scan", reverse)
    return trace(run, params[number], carry[number], *rest)


@directions
@few
@given(lengths=lengths_, mask=bools, resets=bools)
def test_each_direction_is_its_own_unroll(reverse, lengths, mask, resets):
    """What no loop of `step` can tell of a bidirectional cell; merged by hand."""
    params, carry, xs = programs.given("bidirectional")[:3]
    rest = xs, lengths, mask, resets
    ahead, f = half(0, reverse)(params.forward, carry.forward, *rest)
    back, b = half(1, not reverse)(params.backward, carry.backward, *rest)
    valid = mask & (np.arange(T)[:, None] < lengths)
    hs = np.where(valid[..., None], np.cos(f) + f * b, 0)
    for engine in ENGINES:
        run = programs.values("bidirectional", engine, reverse)
        got, shown = run(params, carry, *rest)
        assert_close((*got, shown), (ahead, back, hs))


@most(alike=False)
@directions
@few
@given(lengths=lengths_, mask=bools, resets=bools, junk=st.sampled_from(JUNK))
def test_padding_changes_no_bit(name, reverse, lengths, mask, resets, junk):
    params, carry, xs, *rest = told(name, lengths, mask, resets)
    valid = mask & (np.arange(T)[:, None] < lengths)
    dirty = np.where(beside(valid, xs), xs, junk)
    run = programs.gradients(name, "scan" if reverse else "auto", reverse)
    assert_same_bits(run(params, carry, xs, *rest), run(params, carry, dirty, *rest))


@most(alike=False)
def test_the_tangent_is_the_gradient_along_it(name):
    """jvp of the loss; the gradient is the loop's by the law above."""
    args, weights = programs.given(name), programs.weights(name)
    rng = np.random.RandomState(8)
    along = [rng.randn(*a.shape) for a in floats(args[:3])]
    _, grads = programs.gradients(name)(*args, weights)
    real = jax.tree.map(lambda a: jnp.issubdtype(a.dtype, jnp.floating), args[:3])
    moved = [g for g, r in zip(*map(jax.tree.leaves, (grads, real)), strict=True) if r]
    want = sum(np.sum(g * d) for g, d in zip(moved, along, strict=True))
    assert_close(programs.tangent(name)(args, weights, along), want)


@most(alike=False)
def test_without_options_equals_all_valid(name):
    """No lengths, mask or resets is another program than ones that change nothing."""
    run = with_grads(lambda *a: jaxrnn.unroll(CELLS[name], *a, reverse=True))
    got = evaluate(run, *programs.given(name)[:3])
    control = np.full(B, T), np.ones((T, B), bool), np.zeros((T, B), bool)
    args = *programs.given(name)[:3], *control
    assert_close(got, programs.oracle(name, True)(*args, weights_of(got[0])))


@most(STEPS, alike=False)
@directions
@few
@given(lengths=lengths_, mask=bools, resets=bools)
def test_a_row_equals_itself_without_its_invalid_steps(
    name, reverse, lengths, mask, resets
):
    """A reset on an invalid step moves to the next valid one, in the order of time.

    Without a gradient, which is a program of its own.
    """
    params, carry, xs = programs.given(name)[:3]
    run = programs.values(name, "auto", reverse)
    last, hs = run(params, carry, xs, lengths, mask, resets)
    step, fresh = programs.step(name, ()), programs.fresh(name)
    for b in range(B):
        row, shown = jax.tree.map(lambda a, b=b: a[b], carry), {}
        for t in range(T)[::-1] if reverse else range(T):
            reset = resets[t, b] and t < lengths[b]
            row = fresh if reset and not reverse else row
            if mask[t, b] and t < lengths[b]:
                row, shown[t] = step(params, row, xs[t, b])
            row = fresh if reset and reverse else row
        assert_close(jax.tree.map(lambda a, b=b: a[b], last), row)
        for t in range(T):
            h = jax.tree.map(lambda a, t=t, b=b: a[t, b], hs)
            assert_close(h, shown.get(t, jax.tree.map(np.zeros_like, h)))


@most(STEPS, alike=False)
@directions
@pytest.mark.parametrize("k", [0, 2, T])
def test_a_sequence_may_be_cut_anywhere(name, reverse, k):
    params, carry, xs = programs.given(name)[:3]
    rng = np.random.RandomState(k)
    mask, resets = rng.rand(T, B) < 0.7, rng.rand(T, B) < 0.3
    lengths = rng.permutation([T, 0, T - 2])

    def run(carry, part, lengths):
        program = programs.values(name, "auto", reverse, (B,), len(xs[part]))
        return program(params, carry, xs[part], lengths, mask[part], resets[part])

    parts = [
        (slice(None, k), np.clip(lengths, 0, k)),
        (slice(k, None), np.clip(lengths - k, 0, None)),
    ]
    last, hs = carry, []
    for part, inside in parts[::-1] if reverse else parts:
        last, h = run(last, part, inside)
        hs.append(h)
    hs = jax.tree.map(lambda *a: np.concatenate(a), *(hs[::-1] if reverse else hs))
    assert_close((last, hs), run(carry, slice(None), lengths))


@most(STEPS, alike=False)
def test_reverse_is_flip_run_flip_of_the_valid_part(name):
    lengths = np.array([T, T - 2, 0])
    control = lengths, np.ones((T, B), bool), np.zeros((T, B), bool)
    params, carry, xs, *rest = told(name, *control)
    flip = np.array([[t if t >= n else n - 1 - t for n in lengths] for t in range(T)])
    turn = lambda a: a[flip, np.arange(B)]
    back, _ = programs.gradients(name, "auto", True)(params, carry, xs, *rest)
    there, _ = programs.gradients(name, "auto")(params, carry, turn(xs), *rest)
    assert_close(back, (there[0], jax.tree.map(turn, there[1])))


# What is recomputed is the engines' business, so backwards two cells show it.
@in_directions(forward=set(CELLS) - {*NIGHTLY, *ALIKE}, reverse=("own_gated", "bare"))
def test_remat_changes_nothing(name, reverse):
    args = *programs.given(name), programs.weights(name)
    got = programs.gradients(name, "auto", reverse, remat=2)(*args)
    assert_close(got, programs.oracle(name, reverse)(*args))


@engines
@directions
@pytest.mark.parametrize("remat", later([3, "auto", 1, T, 100], quick=[3]))
def test_any_number_of_steps_between_stored_carries(
    engine, reverse, remat, monkeypatch
):
    monkeypatch.setattr(scan, "AUTO_REMAT_BYTES", 0)
    args = *programs.given("lstm"), programs.weights("lstm")
    run = with_grads(programs.unrolled("lstm", engine, reverse, remat), weighs=True)
    assert_close(evaluate(run, *args), programs.oracle("lstm", reverse)(*args))


class Blocks(gated.Plan):
    """A plan whose `block_bytes` are the steps of a block."""

    def block_size(self, stored, params, convolves):
        return self.block_bytes


@each(GATED, quick=("own_gated",))
@directions
def test_blocks_of_steps_change_nothing(name, reverse):
    """The input projected, and the backward pass run, two steps at a time."""
    rng, steps = np.random.RandomState(7), 8
    xs = rng.randn(steps, *example(name)[2].shape[1:])
    plain = np.arange(B) == 0  # a row that enters each block with a carry
    mask, resets = rng.rand(steps, B) < 0.7, rng.rand(steps, B) < 0.3
    options = dict(lengths=jnp.array([steps, 7, 3]), mask=mask | plain)
    options |= dict(resets=resets & ~plain, reverse=reverse)
    args = (*programs.given(name)[:2], xs)

    def run(engine):
        f = lambda *a: jaxrnn.unroll(CELLS[name], *a, **options, engine=engine)
        loss = lambda p, c, x: weighed(f(p, c, x))
        second = lambda p, c, x: jax.jvp(
            lambda x: jax.grad(loss, 2)(p, c, x), (x,), (jnp.cos(x),)
        )
        both = lambda *a: (with_grads(f)(*a), second(*a))
        lengths = set(re.findall(r"length=(\d+)", str(jax.make_jaxpr(both)(*args))))
        return lengths, evaluate(both, *args)

    lengths, want = run("scan")
    assert lengths == {"8"}
    for size, scans in ((2, {"2", "4"}), (0, {"2", "4", "8"})):  # 0: projected alone
        plan = Blocks(few_rows=100, ahead_rows=2 * B, least_blocks=4, block_bytes=size)
        lengths, got = run((gated.engine(plan),))
        assert lengths == scans
        assert_close(got, want)


# What XLA makes of it: one program for each cell in the quick suite.


def compiled(name, **changed):
    """What the compiled program gives for the example with some arguments `changed`."""
    names = ("params", "carry", "xs", "lengths", "mask", "resets")
    args = dict(zip(names, programs.given(name), strict=True)) | changed
    return programs.compiled(name)(*args.values(), programs.weights(name))


@most(alike=False)
def test_compiled_it_is_the_same(name):
    want = programs.gradients(name)(*programs.given(name), programs.weights(name))
    assert_close(jax.device_get(compiled(name)), want)


@most(alike=False)
@pytest.mark.parametrize("junk", JUNK)
def test_compiled_too_padding_changes_no_bit(name, junk):
    _, _, xs, lengths, mask, _ = programs.given(name)
    valid = mask & (np.arange(T)[:, None] < lengths)
    assert 0 < valid.sum() < T * B
    dirty = np.where(beside(valid, xs), xs, junk)
    assert_same_bits(compiled(name), compiled(name, xs=dirty))


@most(alike=False)
def test_a_second_call_compiles_nothing(name):
    params, _, xs, lengths, mask, resets = programs.given(name)
    twice = jax.tree.map(lambda a: 2 * a, params)
    compiled(name)
    compiled(name, params=twice, xs=xs + 1)
    compiled(name, lengths=lengths - 1, mask=~mask, resets=~resets)
    assert programs.compiled(name)._cache_size() == 1


@most(alike=False)
@pytest.mark.parametrize("size", [2000.0, 1e30])
def test_inputs_that_saturate_every_gate_leave_all_finite(name, size):
    xs = size * programs.given(name)[2]
    for a in jax.tree.leaves(compiled(name, xs=xs)):
        assert np.isfinite(a).all()


WAYS = [
    pytest.param(name, engine, reverse, remat, marks=marks(name))
    for name in CELLS
    for engine in ENGINES
    for reverse in (False, True)
    for remat in (None, 2)
    if (engine, reverse, remat) != ("auto", False, None)  # which is above
]


@pytest.mark.parametrize(("name", "engine", "reverse", "remat"), WAYS)
def test_compiled_every_other_way_it_is_the_same(name, engine, reverse, remat):
    args = *programs.given(name), programs.weights(name)
    got = programs.compiled(name, engine, reverse, remat)(*args)
    assert_close(jax.device_get(got), programs.oracle(name, reverse)(*args))
