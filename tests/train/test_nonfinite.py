"""What is not finite is named, kept to be run again, and never applied."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import train
from jaxrnn.train import nonfinite
from tests.train.cases import (
    OPTIMIZER,
    assert_same_bits,
    batches,
    draw,
    fit,
    loss,
    start,
)


def spoilt(count, bad, spoil=lambda xs: xs * np.nan):
    """Batches of which those numbered in `bad` are spoilt."""
    return [
        (spoil(xs) if n in bad else xs, lengths)
        for n, (xs, lengths) in enumerate(batches(count))
    ]


def test_one_bad_batch_is_skipped_and_counted(tmp_path):
    data = spoilt(8, {2, 5})
    options = dict(steps=8, steps_per_call=3, log_every=4, folder=tmp_path)
    fitted = fit(start(), data, max_nonfinite=2, **options)
    assert [row["skipped"] for row in fitted.history] == [1, 1]
    assert fitted.state.skipped == 2
    good = [batch for n, batch in enumerate(data) if n not in (2, 5)]
    program = dict(steps_per_call=3, max_nonfinite=2)  # another rounds differently
    good = fit(start(), good, steps=6, **program)
    assert_same_bits(fitted.state.params, good.state.params)
    assert_same_bits(fitted.state.opt_state, good.state.opt_state)


@pytest.mark.parametrize("carry", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize(
    "steps_per_call", [4, pytest.param(20, marks=pytest.mark.slow)]
)
def test_stops_and_can_be_replayed(carry, steps_per_call, tmp_path):
    data = spoilt(20, {6, 7, 8, 9})
    options = dict(steps=20, steps_per_call=steps_per_call, save_every=5)
    with pytest.raises(
        train.NonFinite, match=r"update 9 is not finite.*batch\[0\]"
    ) as raised:
        fit(start(carry), data, folder=tmp_path, max_nonfinite=3, **options)
    error = raised.value
    assert (error.step, error.leaf) == (9, "batch[0]")
    assert error.path == tmp_path / "nonfinite-9"
    state, batch = train.load_bundle(error.path, start(carry), batches(1)[0])
    assert_same_bits(batch, error.batch)
    program = dict(steps_per_call=steps_per_call, max_nonfinite=3)
    before = fit(start(carry), data, steps=6, **program).state
    assert_same_bits(state.params, before.params)
    assert_same_bits(state.carry, before.carry)
    assert (state.step, state.in_a_row) == (8, 2)
    step = train.make_step(loss, OPTIMIZER, max_nonfinite=3)
    after, _ = step(state, batch)
    assert (after.step, after.in_a_row) == (9, 3)
    _, means = step(state, batches(1)[0])
    assert np.isfinite(means["loss"].value)


@pytest.mark.slow
def test_again_from_the_checkpoint(tmp_path):
    """A second try fails at the same update, and keeps both bundles."""
    data = spoilt(10, {6, 7})
    for name in ("nonfinite-8", "nonfinite-8.again"):
        with pytest.raises(train.NonFinite) as raised:
            fit(start(), data, steps=10, folder=tmp_path, max_nonfinite=2, save_every=3)
        assert raised.value.path == tmp_path / name
    rows = (tmp_path / "metrics.jsonl").read_text()
    assert "NaN" not in rows


@pytest.mark.slow
def test_drawn_data_are_drawn_again(tmp_path):
    def sometimes(key):
        xs, lengths = draw(key)
        return jnp.where(xs[0, 0, 0] > 0.3, jnp.inf, xs), lengths

    with pytest.raises(train.NonFinite) as raised:
        fit(start(), sometimes, steps=200, max_nonfinite=3, folder=tmp_path)
    error = raised.value
    assert np.isinf(error.batch[0]).all()
    after, _ = train.make_step(loss, OPTIMIZER)(error.state, error.batch)
    assert after.skipped == error.state.skipped + 1


@pytest.mark.slow
def test_on_a_mesh():
    data = spoilt(10, {3, 4})
    with pytest.raises(train.NonFinite, match=r"update 5 .*batch\[0\]"):
        fit(start(True), data, steps=10, max_nonfinite=2, mesh=train.data_mesh())


def scalar(loss_of):
    def call(params, carry, batch, key):
        return None, {"loss": train.mean(loss_of(params, batch))}

    return call


ROOT = scalar(lambda p, x: jnp.sqrt(jnp.abs(p["a"])) * p["b"] * x)


LEAVES = {
    "params['b']": (ROOT, {"a": 1.0, "b": np.nan}, 0.1),
    "loss": (scalar(lambda p, x: p["a"] / (x - x)), {"a": 1.0}, 0.1),
    "grads['a']": (ROOT, {"a": 0.0, "b": 1.0}, 0.1),
    "the updated params or optimizer state": (ROOT, {"a": 1.0, "b": 1.0}, np.inf),
}


@pytest.mark.parametrize("leaf", LEAVES)
def test_names_the_first(leaf):
    wrong, params, rate = LEAVES[leaf]
    optimizer = optax.sgd(rate)
    state = train.init(params, optimizer, jax.random.key(0))
    data = [np.full((3, 2), 2.0)] * 3
    options = dict(steps=3, max_nonfinite=1, progress=False)
    with pytest.raises(train.NonFinite) as raised:
        train.fit(wrong, optimizer, state, data, **options)
    assert raised.value.leaf.startswith(leaf)
    assert raised.value.path is None
    assert "this error holds its state" in str(raised.value)


def test_a_bundle_that_was_damaged(tmp_path):
    with pytest.raises(train.NonFinite) as raised:
        fit(start(), spoilt(3, {0}), steps=3, folder=tmp_path, max_nonfinite=1)
    path = raised.value.path / "_CHECKPOINT_METADATA"
    path.write_text(path.read_text().replace('"hash": "', '"hash": "0'))
    with pytest.raises(ValueError, match="damaged"):
        train.load_bundle(raised.value.path, start(), batches(1)[0])
    with pytest.raises(ValueError, match="value"):
        train.load_bundle(raised.value.path, start(True), batches(1)[0])


def test_names_what_only_a_microbatch_sees():
    """Noise is another in each microbatch; the name is found with that very noise."""

    def unlucky(params, carry, batch, key):
        low = jax.random.uniform(key) < 0.5
        return None, {
            "loss": train.mean(params["a"] * batch / jnp.where(low, 0.0, 1.0))
        }

    optimizer = optax.sgd(0.1)
    state = train.init({"a": 1.0}, optimizer, jax.random.key(0))
    options = dict(steps=9, max_nonfinite=1, accumulate=4, progress=False)
    with pytest.raises(train.NonFinite) as raised:
        train.fit(unlucky, optimizer, state, [np.ones((2, 4))], **options)
    assert raised.value.leaf == "loss"


def test_a_number_in_a_batch_and_a_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space")

    monkeypatch.setattr(nonfinite, "write_tree", full)
    optimizer = optax.sgd(0.1)
    state = train.init({"a": 1.0}, optimizer, jax.random.key(0))
    wrong = scalar(lambda p, b: p["a"] * jnp.log(b["x"] * b["by"]))
    data = [{"x": np.zeros((2, 3)), "by": 2.0}]
    options = dict(steps=3, max_nonfinite=1, progress=False, folder=tmp_path)
    with pytest.raises(train.NonFinite) as raised:
        train.fit(wrong, optimizer, state, data, **options)
    assert raised.value.leaf == "loss"
    assert raised.value.path is None
    assert raised.value.batch["by"] == 2.0


def test_a_state_that_has_halted():
    with pytest.raises(train.NonFinite) as raised:
        fit(start(), spoilt(5, {1, 2, 3}), steps=5, max_nonfinite=3)
    state = raised.value.state
    with pytest.raises(ValueError, match=r"2 updates in a row.*_replace\(in_a_row=0\)"):
        fit(state, batches(3), steps=5, max_nonfinite=2)
    assert fit(state, batches(3), steps=5, max_nonfinite=3).state.in_a_row == 0
