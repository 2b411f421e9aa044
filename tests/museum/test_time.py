"""Lengths, masks, resets and reversed time: where most recurrent code has been wrong."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.laws.cases import CELLS, B, T, assert_close, assert_same_bits, example
from tests.museum.exhibits import exhibit

UNROLL, LAYERS = "jaxrnn/unroll.py", "jaxrnn/compose/layers.py"
DIRECTIONS = "jaxrnn/compose/directions.py"
LENGTHS = np.array([T, 2, 0])
MASK = np.random.RandomState(0).rand(T, B) < 0.6


def run(name="gru", *args, **options):
    """`unroll` of a cell of the table, jitted: on its example, or on `args`."""
    f = lambda *args: jaxrnn.unroll(CELLS[name], *args, **options)
    return jax.jit(f)(*(args or example(name)))


def row(tree, b):
    return jax.tree.map(lambda a: a[b], tree)


@exhibit(
    1,
    "google/flax#3208",
    plant=(
        UNROLL,
        "unroll",
        "resets is not None and lengths is not None",
        "lengths is not None",
    ),
)
def test_an_option_that_works_only_beside_another():
    """`RNN` with lengths crashed unless the carry was returned too."""
    params, carry, xs = example("gru")
    some = dict(lengths=LENGTHS, mask=MASK, resets=~MASK, reverse=True, remat=2)
    want = None
    for chosen in itertools.product([False, True], repeat=len(some)):
        options = {k: v for (k, v), c in zip(some.items(), chosen, strict=True) if c}
        for start, engine in ((None, "auto"), (carry, "scan")):
            f = functools.partial(jaxrnn.unroll, CELLS["gru"], engine=engine, **options)
            got = jax.eval_shape(f, params, start, xs)
            want = want or got
            assert got == want, options


@exhibit(
    2,
    "google/flax@d94b5a3",
    plant=(
        "jaxrnn/_time.py",
        "valid_steps",
        "_lengths(lengths, length, batch)",
        "_lengths(lengths, length, batch)[::-1]",
    ),
)
def test_the_final_carry_taken_along_the_wrong_axis():
    """With lengths, the carries were stacked on one axis and read from another."""
    params, carry, xs = example("lstm")
    last, _ = run("lstm", params, carry, xs, lengths=LENGTHS)
    for b, n in enumerate(LENGTHS):
        alone, _ = run("lstm", params, row(carry, b), xs[:n, b])
        assert_close(row(last, b), alone)


@pytest.mark.parametrize("engine", ["gated", "scan"])
@exhibit(
    3,
    "google/flax: nn.RNN and nnx.RNN of 0.12.8",
    "jax.experimental.rnn of JAX 0.10.2",
    plant=(
        "jaxrnn/_time.py",
        "valid_steps",
        "lengths = _lengths(lengths, length, batch)",
        "lengths = _lengths(lengths, length, batch)\nlengths = jnp.where(lengths == 0, length, lengths)",
    ),
)
def test_length_zero_wraps_to_the_last_step(engine):
    """For an empty row ``length - 1`` is -1, which selects the carry after all padding."""
    params, carry, xs = example("lstm")
    last, hs = run("lstm", params, carry, xs, lengths=np.zeros(B, int), engine=engine)
    assert_same_bits(last, carry)
    assert not hs.any()


@exhibit(
    4,
    "pytorch/pytorch#11514",
    "pytorch/pytorch#4582",
    "pytorch/pytorch#80605",
    "pytorch/pytorch#50192",
    plant=("jaxrnn/_time.py", "_lengths", "value.min() < 0", "value.min() < 1"),
)
def test_empty_rows_are_refused():
    """Rows of length 0, sequences without steps and batches without rows raised errors."""
    params, carry, xs = example("gru")
    run("gru", params, carry, xs, lengths=LENGTHS)
    last, hs = run("gru", params, carry, xs[:0])
    assert_same_bits(last, carry)
    assert hs.shape == (0, *carry.shape)
    _, hs = run("gru", params, carry[:0], xs[:, :0])
    assert hs.shape == (T, 0, carry.shape[-1])


@exhibit(
    5,
    "tensorflow/tensorflow#36139",
    "tensorflow/tensorflow#33148",
    plant=(
        "jaxrnn/_time.py",
        "valid_steps",
        'valid = check_steps("mask", mask, length, batch)',
        'valid = check_steps("mask", mask, length, batch)\nvalid = None if valid is None else valid & valid.any(0).all()',
    ),
)
def test_a_row_that_is_all_padding_changes_the_others():
    """Whether a row without valid steps worked depended on the other rows."""
    mask = MASK.copy()
    mask[:, 1] = False
    (some, hs), (every, all_hs) = run(mask=mask), run(mask=MASK)
    for b in (0, 2):
        assert_same_bits((some[b], hs[:, b]), (every[b], all_hs[:, b]))


@exhibit(
    6,
    "keras-team/keras#4192",
    plant=(
        "jaxrnn/engine/gated/forward.py",
        "forward.body",
        "select(valid, new, entered)",
        "new",
    ),
)
def test_the_state_depends_on_where_the_padding_is():
    """Padding before, between or after the same steps gave different final states."""
    params, carry, xs = example("gru")
    want, _ = run("gru", params, carry, xs[:3])
    for where in itertools.combinations(range(T), 3):
        padded = jnp.zeros_like(xs).at[jnp.array(where)].set(xs[:3])
        mask = np.isin(np.arange(T), where)[:, None] & np.ones((T, B), bool)
        assert_close(run("gru", params, carry, padded, mask=mask)[0], want)


@exhibit(
    7,
    "keras-team/keras#3662",
    plant=(
        "jaxrnn/_tree.py",
        "select.one",
        "where.shape + (1,) * axes",
        "(1,) * axes + where.shape",
    ),
)
def test_reversed_time_and_a_mask_for_inputs_of_another_rank():
    """In reversed time the mask had the rank for vectors, whatever the inputs were."""

    def step(params, carry, x):  # of images [B, 2, 3]
        carry = 0.5 * carry + x * x.sum((-2, -1), keepdims=True)
        return carry, carry

    xs = jax.random.normal(jax.random.key(0), (T, B, 2, 3))
    carry, mask = jnp.ones((B, 2, 3)), jnp.asarray(MASK)
    last, hs = jaxrnn.unroll(step, (), carry, xs, mask=mask, reverse=True)
    for b in range(B):
        kept = np.flatnonzero(mask[:, b])[::-1]
        alone, shown = jaxrnn.unroll(step, (), carry[b], xs[kept, b])
        assert_close((last[b], hs[kept, b]), (alone, shown))


@exhibit(
    8,
    "keras-team/keras#11499",
    plant=(
        "jaxrnn/engine/gated/forward.py",
        "forward.body",
        "select(valid, h, 0)",
        "h",
    ),
)
def test_junk_in_the_padding_reaches_the_outputs():
    """The values in masked steps changed the outputs."""
    params, carry, xs = example("lstm")
    junk = jnp.where(MASK[..., None], xs, 1e30)
    got = run("lstm", params, carry, junk, mask=MASK)
    assert_same_bits(got, run("lstm", params, carry, xs, mask=MASK))
    assert not got[1][~MASK].any()


@exhibit(
    9,
    "keras-team/keras#21224",
    plant=(
        LAYERS,
        "_layered.unroll",
        "control.part(n, f)",
        "control.part(n, f)._replace(valid=None)",
    ),
)
def test_a_mask_forgets_nested_states():
    """Masked steps kept only the first level of a stack's state."""
    params, carry, xs = example("stack")
    last, _ = run("stack", params, carry, xs, mask=MASK)
    for b in range(B):
        alone, _ = run("stack", params, row(carry, b), xs[MASK[:, b], b])
        assert_close(row(last, b), alone)


@pytest.mark.parametrize("reverse", [False, True])
@exhibit(
    10,
    "keras-team/keras#17596",
    plant=(
        "jaxrnn/engine/gated/forward.py",
        "forward.body",
        "select(valid, new, entered)",
        "select(valid, new, 0)",
    ),
)
def test_zeros_of_the_padding_become_the_final_state(reverse):
    """The zeros at masked steps were returned as the last output."""
    # Not to the bit: XLA may compute h for the carry and for hs in two fusions.
    mask = MASK.copy()
    mask[[0, -1]] = False
    last, hs = run(mask=mask, reverse=reverse)
    for b in range(B):
        end = np.flatnonzero(mask[:, b])[0 if reverse else -1]
        assert_close(last[b], hs[end, b])


@pytest.mark.parametrize("engine", ["gated", "scan"])
@exhibit(
    11,
    "keras-team/keras#22421",
    plant=(
        "jaxrnn/_time.py",
        "valid_steps",
        'valid = check_steps("mask", mask, length, batch)',
        'valid = check_steps("mask", mask, length, batch)\nvalid = None if valid is None else jnp.cumprod(valid, 0).astype(bool)',
    ),
)
def test_a_mask_is_taken_for_padding_at_the_end(engine):
    """On the fast path, a mask with holes counted as valid up to the first hole."""
    params, carry, xs = example("gru")
    _, hs = run("gru", params, carry, xs, mask=MASK, engine=engine)
    for b in range(B):
        _, alone = run("gru", params, carry[b], xs[MASK[:, b], b])
        assert_close(hs[MASK[:, b], b], alone)


@exhibit(
    12,
    "keras-team/keras#23235",
    plant=(
        UNROLL,
        "unroll",
        "valid_steps(length, batch or (), lengths, mask)",
        "(xs != 0).any(-1) if mask is None else valid_steps(length, batch or (), lengths, mask)",
    ),
)
def test_a_mask_that_nobody_asked_for():
    """A mask derived from zeros in the inputs was passed on implicitly."""
    params, carry, xs = example("gru")
    last, hs = run("gru", params, carry, xs.at[2].set(0))
    assert (hs[2] != 0).all()
    assert (hs[2] != hs[1]).all()


@exhibit(
    13,
    "apache/mxnet#19323",
    plant=(
        UNROLL,
        "unroll",
        "valid = valid_steps(length, batch or (), lengths, mask)",
        "lengths = None if np.asarray(params.b).any() else lengths\nvalid = valid_steps(length, batch or (), lengths, mask)",
    ),
)
def test_lengths_that_work_only_without_biases():
    """Lengths were ignored on CPU, and zero biases and zero padding hid it."""
    params, carry, xs = example("gru")
    xs = jnp.where(np.arange(T)[:, None, None] < LENGTHS[:, None], xs, 0)
    f = jax.jit(
        lambda xs, lengths: jaxrnn.unroll(
            CELLS["gru"], params, carry, xs, lengths=lengths
        )
    )
    last, hs = f(xs, LENGTHS)
    for b, n in enumerate(LENGTHS):
        alone, _ = run("gru", params, carry[b], xs[:n, b])
        assert_close(last[b], alone)
    assert not hs[2:, 1].any()


@exhibit(
    14,
    "pytorch/pytorch#517",
    plant=(
        DIRECTIONS,
        "bidirectional.unroll",
        "control.part(1, fresh.backward)._replace(reverse=not control.reverse)",
        "control.part(1, fresh.backward)._replace(valid=None, reverse=not control.reverse)",
    ),
)
def test_zeros_in_the_padding_pollute_the_backward_direction():
    """The backward cell read zero padding first, and its biases made the state nonzero."""
    params, carry, xs = example("bidirectional")
    xs = jnp.where(np.arange(T)[:, None, None] < LENGTHS[:, None], xs, 0)
    last, _ = run("bidirectional", params, carry, xs, lengths=LENGTHS)
    alone, _ = run("bidirectional", params, row(carry, 1), xs[:2, 1])
    assert_close(row(last, 1), alone)


@exhibit(
    15,
    "jax-ml/jax#15169",
    plant=(
        "jaxrnn/_time.py",
        "valid_steps",
        "jnp.expand_dims(steps, range(1, ends.ndim)) < ends",
        "jnp.expand_dims(steps, range(1, ends.ndim)) >= length - ends",
    ),
)
def test_reversed_time_begins_in_the_padding():
    """The reference implementation ignored lengths and read the padding first."""
    params, carry, xs = example("lstm")
    last, hs = run("lstm", params, carry, xs, lengths=LENGTHS, reverse=True)
    for b, n in enumerate(LENGTHS):
        alone, shown = run("lstm", params, row(carry, b), xs[:n, b][::-1])
        assert_close((row(last, b), hs[:n, b]), (alone, shown[::-1]))


@exhibit(
    16,
    "google-deepmind/dm-haiku@477af89",
    plant=(
        "jaxrnn/engine/gated/__init__.py",
        "unroll",
        "scan.last_reset(carry, control), hs",
        "scan.last_reset(carry, control), jax.tree.map(lambda a: jax.numpy.roll(a, int(control.reverse), 0), hs)",
    ),
)
def test_reversed_outputs_off_by_one():
    """The output of one step was at the opposite end of time."""
    params, carry, xs = example("gru")
    back = jax.jit(
        jax.jacrev(
            lambda xs: jaxrnn.unroll(CELLS["gru"], params, carry, xs, reverse=True)[
                1
            ].sum((1, 2))
        )
    )
    felt = jnp.abs(back(xs)).sum((2, 3))  # [which output, which input]
    np.testing.assert_array_equal(felt > 0, np.arange(T)[:, None] <= np.arange(T))


@exhibit(
    17,
    "keras-team/keras#1001",
    "keras-team/keras#1703",
    plant=(
        "jaxrnn/engine/gated/__init__.py",
        "unroll",
        "scan.last_reset(carry, control), hs",
        "scan.last_reset(carry, control), jax.tree.map(lambda a: a[::-1] if control.reverse else a, hs)",
    ),
)
def test_reversed_outputs_in_the_order_of_reading():
    """In reversed time, outputs were in the order of computation."""
    params, carry, xs = example("gru")
    last, hs = run("gru", params, carry, xs, reverse=True)
    assert_same_bits(last, hs[0])
    _, there = run("gru", params, carry, xs[::-1])
    assert_close(hs, there[::-1])


@exhibit(
    19,
    "onnx/onnx-tensorflow#342",
    plant=(
        DIRECTIONS,
        "bidirectional.unroll",
        "control.part(1, fresh.backward)._replace(reverse=not control.reverse)",
        "control.part(1, fresh.backward)._replace(valid=control.valid if control.valid is None else control.valid[::-1], reverse=not control.reverse)",
    ),
)
def test_reversed_is_not_the_half_of_both_directions():
    """A single reversed cell began in the padding; in a bidirectional pair it did not."""
    params, carry, xs = example("gru")
    both = jaxrnn.bidirectional(CELLS["gru"], CELLS["gru"])
    pair = type(both.init(jax.random.key(0), xs.shape[-1]))(params, params)
    ends = jaxrnn.BidirectionalCarry(carry, carry)
    last, hs = jaxrnn.unroll(both, pair, ends, xs, lengths=LENGTHS)
    alone, shown = run("gru", params, carry, xs, lengths=LENGTHS, reverse=True)
    assert_close((last.backward, hs[..., shown.shape[-1] :]), (alone, shown))


@exhibit(
    53,
    "keras-team/keras#21742",
    plant=(UNROLL, "unroll", "check_like('carry', carry, start, remedy)", "pass"),
)
def test_a_state_of_another_batch_size():
    """A state of one row or of another batch size was broadcast silently."""
    params, carry, xs = example("lstm")
    for wrong in (row(carry, slice(1)), row(carry, 0), row(carry, slice(2))):
        with pytest.raises(ValueError, match="carry"):
            jaxrnn.unroll(CELLS["lstm"], params, wrong, xs)


@pytest.mark.parametrize("engine", ["gated", "scan"])
@exhibit(
    55,
    "LARG/jax-aht#115",
    plant=(
        UNROLL,
        "unroll",
        'resets = check_steps("resets", resets, length, batch or ())',
        'resets = check_steps("resets", resets, length, batch or ())\nresets = None if resets is None else jnp.roll(resets, -1, 0)',
    ),
)
def test_resets_one_step_early_in_the_replay(engine):
    """When replayed as a sequence, an episode ended one step too early."""
    params, carry, xs = example("gru")
    cell, fresh, h = CELLS["gru"], jnp.zeros_like(carry), carry
    played = []
    for x, over in zip(xs, ~MASK, strict=True):
        h = jnp.where(over[:, None], fresh, h)
        h, shown = cell.step(params, h, x)
        played.append(shown)
    last, hs = run("gru", params, carry, xs, resets=~MASK, engine=engine)
    assert_close((last, hs), (h, jnp.stack(played)))


@exhibit(
    56,
    "instadeepai/Mava#1006",
    "ikostrikov/pytorch-a2c-ppo-acktr-gail#206",
    plant=(
        "jaxrnn/engine/gated/forward.py",
        "forward.body",
        "carry if reset is None else select(reset, fresh, carry)",
        "carry if reset is None else select(reset | reset.any(), fresh, carry)",
    ),
)
def test_one_rows_reset_is_everybodys():
    """When one environment ended, hidden states were reset for all or for none."""
    resets = np.zeros((T, B), bool)
    resets[2, 1] = True
    (last, hs), (untouched, calm) = run(resets=resets), run()
    for b in (0, 2):
        assert_same_bits((last[b], hs[:, b]), (untouched[b], calm[:, b]))
    params, _, xs = example("gru")
    _, anew = run("gru", params, None, xs[2:, 1])
    assert_close(hs[2:, 1], anew)
