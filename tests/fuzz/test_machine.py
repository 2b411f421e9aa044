"""Sessions of a user with many cells: each call is right, or refused and changes nothing.

A session makes cells and cells from cells, draws their params, and feeds streams of any
length in pieces through `unroll` and `step`, the carry handed on. In between it makes the
calls that must be refused: things of other streams, other shapes, dtypes and types.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    multiple,
    rule,
    run_state_machine_as_test,
)

import jaxrnn
from tests.fuzz.model import over_time, steps, width
from tests.fuzz.test_door import quietly

QUICK, NIGHTLY = 5, 1_000
FEATURES, BATCH = 2, 2
some = st.sampled_from
FACTORIES = {name: getattr(jaxrnn, name) for name in ("simple_rnn", "lstm", "gru")}
WRAPS = {name: getattr(jaxrnn, name) for name in ("residual", "learned_carry")}
# Refused wherever a positive width is wanted, and wherever an array is.
NO_WIDTHS = (0, -1, True, 1.0, "3", None, np.float32(2))
NO_ARRAYS = ("text", None, object(), {"a": 1.0}, [[1.0, 2.0], [3.0]], jnp.ones)
REFUSAL = r"^[\w .\[\]()'*-]+: "


def refused(call, *args, **options):
    with pytest.raises(ValueError, match=REFUSAL):
        call(*args, **options)


class Stream:
    """A cell with params that is fed: the library's carry, and the model's answer."""

    def __init__(self, kind, cell, x64):
        self.kind, self.cell, self.x64 = kind, cell, x64
        with self.mode():
            drawn = cell.init(jax.random.key(len(repr(kind))), FEATURES)
            random = np.random.default_rng(len(repr(kind)))
            noisy = lambda a: a + 0.2 * random.normal(size=a.shape).astype(a.dtype)
            self.params = jax.tree.map(noisy, drawn)
            self.carry = cell.initial_carry(self.params, jnp.ones((BATCH, FEATURES)))

    def mode(self):
        return contextlib.nullcontext() if self.x64 else jax.enable_x64(False)

    def inputs(self, seed, *lead):
        kind = np.float64 if self.x64 else np.float32
        values = np.random.default_rng(seed).normal(size=(*lead, BATCH, FEATURES))
        return values.astype(kind)

    def same(self, got, want):
        bound = 1e-11 if self.x64 else 1e-5
        assert jax.tree.structure(got) == jax.tree.structure(want)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            assert a.shape == np.shape(b)
            assert a.dtype == (jnp.float64 if self.x64 else jnp.float32)
            np.testing.assert_allclose(np.asarray(a), b, bound, bound)

    def feed(self, xs, way, reverse):
        want = over_time(self.kind, self.params, self.carry, np.asarray(xs), reverse)
        run = lambda p, c, x: jaxrnn.unroll(self.cell, p, c, x, reverse=reverse)
        with self.mode():
            shapes = jax.eval_shape(run, self.params, self.carry, xs)
            if way == "jit":
                run = jax.jit(run)
            got = run(self.params, self.carry, xs)
        self.same(got, want)
        kinds = lambda tree: [(a.shape, a.dtype) for a in jax.tree.leaves(tree)]
        assert kinds(shapes) == kinds(got)
        self.carry = got[0]


class Sessions(RuleBasedStateMachine):
    """Cells and streams of one user."""

    cells = Bundle("cells")
    streams = Bundle("streams")

    @rule(target=cells, name=some(tuple(FACTORIES)), hidden=some((1, 2, 3)))
    def make(self, name, hidden):
        return (name, hidden), FACTORIES[name](hidden)

    @rule(name=some(tuple(FACTORIES)), hidden=some(NO_WIDTHS))
    def no_width(self, name, hidden):
        refused(FACTORIES[name], hidden)

    @rule(one=cells, features=some(NO_WIDTHS[1:]))
    def no_features(self, one, features):
        kind, cell = one
        refused(cell.init, jax.random.key(0), features)

    @rule(target=cells, one=cells, two=cells)
    def stack(self, one, two):
        kind = ("stack", one[0], two[0])
        if len(repr(kind)) > 150:  # deep enough
            return multiple()
        return kind, jaxrnn.stack(one[1], two[1])

    @rule(target=cells, one=consumes(cells), two=cells)
    def bidirectional(self, one, two):
        kind = ("bidirectional", one[0], two[0])
        return kind, jaxrnn.bidirectional(one[1], two[1])

    @rule(target=cells, one=consumes(cells), how=some(tuple(WRAPS)))
    def wrap(self, one, how):
        return (how, one[0]), WRAPS[how](one[1])

    @rule(how=some((*WRAPS, "stack", "bidirectional", "with_carries", "precision")))
    def no_cell(self, how):
        make = getattr(jaxrnn, how)
        options = dict(compute="bfloat16") if how == "precision" else {}
        for wrong in (None, "gru", jaxrnn.gru, 3, (jaxrnn.gru(2),)):
            refused(make, wrong, **options)

    @rule(target=streams, one=cells, x64=st.booleans())
    def open(self, one, x64):
        kind, cell = one
        if not fits(kind):
            # A residual cell of another width can be made, and is refused where it is
            # first run.
            return multiple()
        return Stream(kind, cell, x64)

    @rule(
        stream=streams,
        length=some((0, 1, 3)),
        seed=st.integers(0, 9),
        way=some(("eager", "jit")),
        reverse=st.booleans(),
        weak=st.booleans(),
    )
    def feed(self, stream, length, seed, way, reverse, weak):
        xs = stream.inputs(seed, length)
        if weak and stream.x64:
            with stream.mode():
                xs = jnp.broadcast_to(0.3 + seed, xs.shape)
        stream.feed(xs, way, reverse)

    @rule(stream=streams, seed=st.integers(0, 9))
    def step(self, stream, seed):
        x = stream.inputs(seed)
        call = stream.cell.step
        with stream.mode():
            if not steps(stream.kind):
                refused(call, stream.params, stream.carry, x)
                return
            got = call(stream.params, stream.carry, x)
        want = over_time(stream.kind, stream.params, stream.carry, x[None], False)
        stream.same(got, (want[0], want[1][0]))
        stream.carry = got[0]

    @rule(stream=streams, wrong=some(NO_ARRAYS), which=some(("params", "carry", "x")))
    def no_array(self, stream, wrong, which):
        if which == "carry" and wrong is None:
            return  # the initial carry
        args = dict(params=stream.params, carry=stream.carry, x=stream.inputs(0, 3))
        args[which] = wrong
        with stream.mode():
            refused(jaxrnn.unroll, stream.cell, *args.values())
            if which != "x":
                args["x"] = stream.inputs(0)
            refused(stream.cell.step, *args.values())

    @rule(stream=streams, how=st.integers(0, 6))
    def no_inputs(self, stream, how):
        """Other features, a missing batch axis, other batches, integers, lists."""
        x = stream.inputs(0, 3)
        wrong = (
            x[..., :1],
            x[..., [0, 1, 1]],
            x[..., 0],
            x[:, :1],
            np.concatenate([x, x], 1),
            x.astype(int),
            x > 0,
        )[how]
        with stream.mode():
            refused(jaxrnn.unroll, stream.cell, stream.params, stream.carry, wrong)
            if steps(stream.kind):
                refused(stream.cell.step, stream.params, stream.carry, wrong[0])

    @rule(one=streams, two=streams, which=some(("params", "carry")))
    def anothers(self, one, two, which):
        """What belongs to another stream is refused, or fits in every shape."""
        if one.x64 != two.x64:
            return  # arrays of one mode have no meaning in the other, says JAX
        args = dict(params=one.params, carry=one.carry) | {which: getattr(two, which)}
        x = one.inputs(0, 2)
        alike = lambda a, b: (
            jax.tree.structure(a) == jax.tree.structure(b)
            and all(
                u.shape == v.shape and (u.dtype == v.dtype or which == "params")
                for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
            )
        )
        with one.mode():
            if not alike(getattr(one, which), getattr(two, which)):
                refused(jaxrnn.unroll, one.cell, *args.values(), x)
            else:
                got = jaxrnn.unroll(one.cell, *args.values(), x)
                one.same(got, over_time(one.kind, *args.values(), x, False))

    @rule(stream=streams, which=some(("lengths", "mask", "resets", "remat", "engine")))
    def no_option(self, stream, which):
        wrong = dict(
            lengths=np.ones(BATCH + 1, int),
            mask=np.ones((BATCH, 3), bool),
            resets=np.zeros((3, BATCH)),
            remat=0,
            engine="fast",
        )
        args = stream.params, stream.carry, stream.inputs(0, 3)
        with stream.mode():
            refused(jaxrnn.unroll, stream.cell, *args, **{which: wrong[which]})


def fits(kind, features=FEATURES):
    """Whether every residual cell shows what is as wide as what it reads."""
    name, *parts = kind
    if name in FACTORIES:
        return True
    if name == "stack":
        for part in parts:
            if not fits(part, features):
                return False
            features = width(part, features)
        return True
    whole = all(fits(part, features) for part in parts)
    return whole and (name != "residual" or width(parts[0], features) == features)


def test_a_few_sessions():
    run_state_machine_as_test(
        Sessions, settings=settings(quietly, max_examples=QUICK, stateful_step_count=12)
    )


@pytest.mark.nightly
def test_many_sessions():
    run_state_machine_as_test(
        Sessions,
        settings=settings(quietly, max_examples=NIGHTLY, stateful_step_count=30),
    )
