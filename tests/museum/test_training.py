"""Updates: accumulated, scheduled, with a state that flows, and resumed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn import train
from tests.laws.cases import assert_close
from tests.museum.exhibits import exhibit

GRADIENT = "jaxrnn/train/gradient.py"
CELL = jaxrnn.gru(4)
LENGTHS = np.array([6, 1, 0, 3])
XS = np.random.default_rng(0).normal(size=(6, 4, 3))


def loss(params, carry, batch, key):
    xs, lengths = batch
    new, hs = jaxrnn.unroll(CELL, params, carry, xs, lengths=lengths)
    valid = jnp.arange(len(xs))[:, None] < lengths
    means = {"loss": train.mean(((hs - 0.5) ** 2).sum(-1), valid)}
    return (None if carry is None else new), means


def begin(optimizer, carry=None, dtype=None):
    params = jaxrnn.gru(4, dtype=dtype).init(jax.random.key(0), features=3)
    return train.init(params, optimizer, jax.random.key(1), carry=carry)


def once(optimizer, state=None, **options):
    step = train.make_step(loss, optimizer, batch_axis=(1, 0), **options)
    return step(begin(optimizer) if state is None else state, (XS, LENGTHS))[0]


@exhibit(
    33,
    "google-deepmind/optax#1552",
    "google-deepmind/optax@ff0b965",
    plant=(
        GRADIENT,
        "make_gradient.gradient",
        "(g * factor).astype(p.dtype)",
        "g * factor",
    ),
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_accumulation_changes_dtypes(dtype):
    """Gradient accumulation over microbatches changed the dtype of the optimizer's state."""
    optimizer = optax.sgd(0.1, momentum=0.9)
    state = begin(optimizer, dtype=dtype)
    after = once(optimizer, state, accumulate=2)
    kinds = lambda tree: [a.dtype for a in jax.tree.leaves(tree)]
    assert kinds((after.params, after.opt_state)) == kinds(
        (state.params, state.opt_state)
    )


@exhibit(
    52,
    "keras-team/keras#20875",
    plant=(
        "jaxrnn/train/step.py",
        "make_step.step",
        "_select(flowed, carry, state.carry)",
        "state.carry",
    ),
)
def test_a_state_that_flows_from_update_to_update():
    """The second update backpropagated through the first one's graph and failed."""
    optimizer = optax.sgd(0.1)
    state = begin(optimizer, jnp.full((4, 4), 0.3))
    first = once(optimizer, state)
    second = once(optimizer, first)
    want, _ = jaxrnn.unroll(CELL, state.params, state.carry, XS, lengths=LENGTHS)
    assert_close(first.carry, want)

    def by_hand(params):
        _, means = loss(params, first.carry, (XS, LENGTHS), None)
        return means["loss"].value

    slope = jax.grad(by_hand)(first.params)
    want = jax.tree.map(lambda p, g: p - 0.1 * g, first.params, slope)
    assert_close(second.params, want)


@exhibit(
    57,
    "huggingface/transformers#34191",
    "huggingface/transformers#24725",
    "pytorch/torchtune#1875",
    "OpenNMT/OpenNMT-py#526",
    plant=(
        GRADIENT,
        "_accumulated.objective",
        "summed[0].total / scale",
        "summed[0].value",
    ),
)
def test_a_mean_of_means():
    """With accumulation over microbatches of different lengths, tokens had unequal weights."""
    optimizer = optax.sgd(1.0)
    whole = once(optimizer)
    for accumulate in (2, 4):
        assert_close(once(optimizer, accumulate=accumulate).params, whole.params)


@exhibit(
    58,
    "google-deepmind/optax#415",
    plant=(
        "jaxrnn/train/state.py",
        "init",
        "optimizer.init(params)",
        "optimizer.update(params, optimizer.init(params), params)[1]",
    ),
)
def test_a_schedule_off_by_one():
    """The first update used the learning rate of the second."""
    rates = jnp.array([0.5, 0.0, 0.0])
    optimizer = optax.sgd(lambda count: rates[count])
    state = begin(optimizer)
    first = once(optimizer, state)
    assert_close(first.params, once(optax.sgd(0.5)).params)
    assert_close(once(optimizer, first).params, first.params)


def noisy(params, carry, batch, key):
    xs = batch * jax.random.bernoulli(key, 0.5, batch.shape)
    _, hs = jaxrnn.unroll(CELL, params, None, xs)
    return None, {"loss": train.mean((hs - 0.5) ** 2)}


@exhibit(
    59,
    "stanford-crfm/levanter#378",
    plant=(
        GRADIENT,
        "make_gradient.gradient",
        "jax.random.fold_in(state.key, state.step)",
        "jax.random.fold_in(state.key, hash(str(batch)) % 2 ** 31)",
    ),
)
def test_dropout_after_a_resume():
    """A resumed run dropped other units than an uninterrupted run."""
    optimizer = optax.sgd(1.0)
    step = train.make_step(noisy, optimizer)
    whole = state = begin(optimizer)
    for _ in range(4):
        whole, means = step(whole, XS)
    for _ in range(2):
        state, _ = step(state, XS)
    saved = jax.tree.map(np.asarray, state._replace(key=jax.random.key_data(state.key)))
    back = train.State(*saved)._replace(key=jax.random.wrap_key_data(saved.key))
    again = train.make_step(noisy, optimizer)
    seen = []
    for _ in range(2):
        back, means = again(back, XS)
        seen.append(float(means["loss"].value))
    assert_close(back.params, whole.params, 0)
    # and each update dropped units of its own
    still = begin(optax.sgd(0.0))
    frozen = train.make_step(noisy, optax.sgd(0.0))
    losses = set()
    for _ in range(4):
        still, means = frozen(still, XS)
        losses.add(float(means["loss"].value))
    assert len(losses) == 4
