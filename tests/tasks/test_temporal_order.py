"""Temporal order against its definition, by reading the sequences."""

import jax
import numpy as np
import pytest

from jaxrnn.tasks import temporal_order

MANY = 4000


@pytest.mark.parametrize("symbols", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_the_order_is_the_class(symbols):
    batch = temporal_order.draw(jax.random.key(symbols), MANY, symbols=symbols)
    inputs, lengths = np.asarray(batch.inputs), np.asarray(batch.lengths)
    assert (np.unique(lengths) == np.arange(100, 111)).all()
    classes, found = [], []
    for row, length, target, asked in zip(
        inputs.T,
        lengths,
        np.asarray(batch.targets).T,
        np.asarray(batch.mask).T,
        strict=True,
    ):
        read = "".join(temporal_order.VOCABULARY[i] for i in row[:length])
        assert not row[length:].any()
        assert read[0] == "B"
        assert read[-1] == "E"
        steps = [t for t, symbol in enumerate(read) if symbol in "XY"]
        assert set(read[1:-1]) <= set("abcdXY")
        assert len(steps) == symbols
        order = "".join(read[t] for t in steps)
        classes.append(int(order.replace("X", "0").replace("Y", "1"), 2))
        assert np.flatnonzero(asked).tolist() == [length - 1]
        assert target[length - 1] == classes[-1]
        assert target.sum() == target[length - 1]
        found.append(steps)
    for steps, (first, last) in zip(
        np.array(found).T, temporal_order.WINDOWS[symbols], strict=True
    ):
        assert set(steps) == set(range(first, last + 1))
        assert np.abs(np.bincount(steps)[first:] / MANY - 1 / 11).max() < 0.025
    share = np.bincount(classes) / MANY
    assert np.abs(share - temporal_order.BASELINE[symbols]).max() < 0.035


def test_distractors_are_alike():
    inputs = np.asarray(temporal_order.draw(jax.random.key(0), MANY).inputs)
    middle = inputs[21:49]
    shares = np.bincount(middle.ravel(), minlength=8) / middle.size
    np.testing.assert_allclose(shares, [0, 0, 0.25, 0.25, 0.25, 0.25, 0, 0], atol=0.01)


@pytest.mark.parametrize("options", [{"symbols": 4}, {"length": 19}])
def test_wrong_options(options):
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"{name}: expected"):
        temporal_order.draw(jax.random.key(0), 3, **options)
