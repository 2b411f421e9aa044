"""State that is neither trained nor a row of the batch: saved, resumed and validated."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import train
from tests.train.cases import assert_same_bits

DECAY = 0.7


def draw(key):
    return 2 + jax.random.normal(key, (3, 4))


VALID = [np.asarray(draw(jax.random.key(n))) for n in (7, 8)]


def normalised(params, carry, batch, key):
    """A loss with running statistics, as batch normalisation has them."""
    stats = carry.shared["mean"]
    if key is not None:
        stats = DECAY * stats + (1 - DECAY) * batch.mean()
    losses = (params * (batch - stats) - 1) ** 2
    return train.Carry(None, carry.shared | {"mean": stats}), {
        "loss": train.mean(losses)
    }


def averaged(state, means, finite):
    """An average of the params, and a count of all updates, skipped ones too."""
    ema = DECAY * state.shared["ema"] + (1 - DECAY) * state.params
    return state.shared | {"ema": ema, "seen": state.shared["seen"] + 1}


OPTIMIZER = optax.sgd(0.05)


def start():
    shared = {"mean": jnp.zeros(()), "ema": jnp.ones(()), "seen": jnp.int32(0)}
    return train.init(jnp.ones(()), OPTIMIZER, jax.random.key(0), shared=shared)


def fit(steps, **options):
    options = {"steps_per_call": 2, "progress": False} | options
    return train.fit(
        normalised,
        OPTIMIZER,
        start(),
        draw,
        steps=steps,
        update_shared=averaged,
        **options,
    )


def by_hand(steps):
    """``(params, mean, ema, batches)`` after so many updates, in NumPy."""
    key = jax.random.fold_in(jax.random.key(0), 2**32 - 1)
    params, mean, ema = 1.0, 0.0, 1.0
    for n in range(steps):
        batch = np.asarray(draw(jax.random.fold_in(key, n)))
        new = DECAY * mean + (1 - DECAY) * batch.mean()
        # The statistics of this batch are part of the loss, and constants to params.
        shifted = batch - new
        params -= 0.05 * (2 * (params * shifted - 1) * shifted).mean()
        mean, ema = new, DECAY * ema + (1 - DECAY) * params
    return params, mean, ema


@pytest.mark.parametrize("everywhere", [True, False])
def test_a_failed_update_leaves_it(everywhere):
    """Statistics of a batch that is not finite, or of one whose loss alone is not."""

    def loss(params, carry, batch, key):
        carry, means = normalised(params, carry, batch[0], key)
        return carry, {"loss": train.mean(batch[1] * params) + means["loss"]}

    good, bad = np.ones((3, 4)), np.full((3, 4), np.nan)
    step = train.make_step(loss, OPTIMIZER)
    before, _ = step(start(), (2 * good, good))
    assert 0.5 < before.shared["mean"] < 0.7
    after, _ = step(before, (bad if everywhere else 5 * good, bad))
    assert (after.skipped, after.step) == (1, 2)
    assert_same_bits(after.shared, before.shared)
    assert_same_bits(after.params, before.params)


def test_is_the_loop_by_hand():
    params, mean, ema = by_hand(5)
    fitted = fit(5)
    shared = fitted.state.shared
    np.testing.assert_allclose(fitted.params, params, 1e-10)
    np.testing.assert_allclose(shared["mean"], mean, 1e-10)
    np.testing.assert_allclose(shared["ema"], ema, 1e-10)
    assert shared["seen"] == 5
    assert_same_bits(fitted.shared, shared)


def test_validation_sees_it_and_the_best_keeps_it(tmp_path):
    options = dict(valid=VALID, valid_every=2)
    fitted = fit(6, folder=tmp_path, **options)
    for row in (row for row in fitted.history if row["split"] == "valid"):
        params, mean, _ = by_hand(row["step"])
        want = np.mean([(params * (xs - mean) - 1) ** 2 for xs in VALID])
        np.testing.assert_allclose(row["loss"], want, 1e-9)
    _, mean, _ = by_hand(fitted.best["step"])
    np.testing.assert_allclose(fitted.shared["mean"], mean, 1e-10)
    found = train.evaluate(normalised, fitted.params, VALID, shared=fitted.shared)
    np.testing.assert_allclose(found["loss"], fitted.best["loss"], 1e-12)
    again = fit(6, folder=tmp_path, **options)
    assert_same_bits((again.shared, again.state), (fitted.shared, fitted.state))


def test_resumes_bit_for_bit(tmp_path):
    fit(3, folder=tmp_path)
    assert_same_bits(fit(7, folder=tmp_path).state, fit(7).state)


@pytest.mark.parametrize(
    ("accumulate", "devices"), [(2, None), (1, 2), (2, 2)], ids=str
)
def test_is_averaged_over_the_parts_of_a_batch(accumulate, devices):
    """Of what each part makes of the state's; what is not floating is kept as it is."""

    def loss(params, carry, batch, key):
        shared = {
            "mean": 0.5 * carry.shared["mean"] + 0.5 * batch.mean(),
            "seen": carry.shared["seen"] + 3,
            "odd": ~carry.shared["odd"],
            "key": jax.random.fold_in(carry.shared["key"], 1),
            "same": carry.shared["same"],
        }
        rows = carry.rows + batch.sum(axis=0)
        return train.Carry(rows, shared), {"loss": train.mean(params * batch)}

    shared = {
        "mean": jnp.array(0.3),
        "seen": jnp.uint8(254),  # wraps
        "odd": jnp.array(True),
        "key": jax.random.key(3),
        "same": jnp.array(0.1),
    }
    batch = np.random.default_rng(0).normal(size=(3, 4))
    carry = jnp.arange(4.0)
    state = train.init(
        jnp.ones(()), OPTIMIZER, jax.random.key(0), carry=carry, shared=shared
    )
    whole, _ = train.make_step(loss, OPTIMIZER)(state, batch)
    mesh = devices and train.data_mesh(devices)
    step = train.make_step(loss, OPTIMIZER, accumulate=accumulate, mesh=mesh)
    cut, _ = step(state, batch)
    np.testing.assert_allclose(cut.shared.pop("mean"), whole.shared.pop("mean"), 1e-12)
    np.testing.assert_allclose(cut.carry, carry + batch.sum(axis=0), 1e-12)
    assert_same_bits(cut.shared, whole.shared)
    assert cut.shared["seen"] == 1
    assert cut.shared["same"] == 0.1


def test_an_infinity_is_a_start():
    """A running minimum from infinity: the average of what the parts make of it."""

    def loss(params, carry, batch, key):
        lowest = jnp.minimum(carry.shared, batch.min())
        return train.Carry(None, lowest), {"loss": train.mean(params * batch)}

    state = train.init(
        jnp.ones(()), OPTIMIZER, jax.random.key(0), shared=jnp.array(jnp.inf)
    )
    batch = np.array([[3.0, 1.0, 5.0, 2.0]])
    for accumulate, want in ((1, 1.0), (2, 1.5), (4, 2.75)):
        step = train.make_step(loss, OPTIMIZER, accumulate=accumulate)
        assert step(state, batch)[0].shared == want


def test_weights_are_constants_to_the_gradient():
    """In a sum of means too, whether a batch is cut or not."""

    def loss(params, carry, batch, key):
        weights = jax.nn.sigmoid(params * batch)
        total = (jax.lax.stop_gradient(weights) * (params - batch) ** 2).sum()
        return None, {
            "loss": train.Mean(total, weights.sum()) + 0.1 * train.mean(params * batch)
        }

    state = train.init(jnp.array(0.7), OPTIMIZER, jax.random.key(0))
    batch = np.array([[3.0, -1.0, 0.5, 2.0]])
    whole, _ = train.make_step(loss, OPTIMIZER)(state, batch)
    cut, _ = train.make_step(loss, OPTIMIZER, accumulate=2)(state, batch)
    np.testing.assert_allclose(whole.params, cut.params, 1e-12)


def scaled(params, carry, batch, key):
    """A loss in half precision, scaled so that small gradients do not vanish."""
    mean = train.mean((params * batch - 2) ** 2)
    return carry, {"loss": mean * carry.shared, "plain": mean}


def unscale():
    """Divides gradients by the loss scale, where they are still finite."""

    def update(grads, state, params=None, *, shared, **_):
        return jax.tree.map(lambda g: (g / shared).astype(g.dtype), grads), state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)


def halved(state, means, finite):
    return jnp.where(finite, state.shared, state.shared / 2)


def test_a_loss_scale_reacts_to_skipped_updates():
    optimizer = optax.chain(unscale(), optax.sgd(1e-2))
    scale = jnp.float32(2.0**20)
    params = jnp.array([1.0, 0.5, -0.25, 2.0], jnp.float16)
    state = train.init(params, optimizer, jax.random.key(0), shared=scale)
    data = lambda key: jax.random.normal(key, (4,), "float16")
    fitted = train.fit(
        scaled,
        optimizer,
        state,
        data,
        steps=40,
        max_nonfinite=20,
        update_shared=halved,
        progress=False,
    )
    skipped = int(fitted.state.skipped)
    assert 2 < skipped < 15
    assert fitted.state.shared == 2.0 ** (20 - skipped)
    assert (fitted.params != params).all()
    assert fitted.history[-1]["skipped"] == skipped


def test_the_loss_must_return_what_it_was_given():
    broken = {
        "no Carry": lambda p, c, b, k: (None, {"loss": train.mean(p * b)}),
        "other shape": lambda p, c, b, k: (
            c._replace(shared=c.shared | {"mean": b}),
            {"loss": train.mean(p * b)},
        ),
    }
    for loss in broken.values():
        with pytest.raises(ValueError, match=r"carry that loss returns.*_replace"):
            train.make_step(loss, OPTIMIZER)(start(), VALID[0])
    wrong = lambda state, means, finite: state.params
    step = train.make_step(normalised, OPTIMIZER, update_shared=wrong)
    with pytest.raises(ValueError, match="shared state that update_shared returns"):
        step(start(), VALID[0])


def test_what_is_no_row_of_the_batch_is_told_its_place():
    state = start()._replace(shared=None, carry=jnp.zeros(()))
    step = train.make_step(normalised, OPTIMIZER, accumulate=2)
    with pytest.raises(ValueError, match=r"rows on axis 0.*init\(..., shared=\)"):
        step(state, VALID[0])
    with pytest.raises(ValueError, match=r"params\['n'\].*int.*shared="):
        train.init({"n": jnp.arange(3)}, OPTIMIZER, jax.random.key(0))
    for key in (0, jax.random.split(jax.random.key(0)), jnp.zeros(2)):
        with pytest.raises(ValueError, match=r"key: expected one PRNG key"):
            train.init(jnp.ones(()), OPTIMIZER, key)
