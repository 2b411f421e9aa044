"""The adding problem against its definition: by reading it, and by counts."""

import jax
import numpy as np
import pytest

from jaxrnn.tasks import adding

MANY = 20_000


def parts(batch):
    numbers, marks = np.moveaxis(np.asarray(batch.inputs, float), -1, 0)
    return numbers, marks, np.asarray(batch.targets)[..., 0]


def at_the_end(batch):
    """The answers, and that nothing else is asked."""
    mask, lengths = np.asarray(batch.mask), np.asarray(batch.lengths)
    rows = np.arange(len(lengths))
    assert (mask.sum(0) == 1).all()
    assert mask[lengths - 1, rows].all()
    targets = np.asarray(batch.targets)[..., 0]
    assert not targets[~mask].any()
    return targets[lengths - 1, rows]


@pytest.mark.parametrize("length", [2, 7, 50])
def test_one_number_is_marked_in_each_half(length):
    batch = adding.draw(jax.random.key(length), MANY, length=length)
    numbers, marks, _ = parts(batch)
    assert (marks[: length // 2].sum(0) == 1).all()
    assert (marks[length // 2 :].sum(0) == 1).all()
    np.testing.assert_allclose((numbers * marks).sum(0), at_the_end(batch), rtol=1e-5)
    share = marks.mean(1)  # each step of a half as often as any other
    assert np.abs(share[: length // 2] - 1 / (length // 2)).max() < 0.02
    assert np.abs(share[length // 2 :] - 1 / (length - length // 2)).max() < 0.02
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.01


def test_the_baseline_is_that_of_the_mean():
    answers = at_the_end(adding.draw(jax.random.key(1), MANY, length=20))
    # the variance's own standard error is 0.0014
    assert abs(np.mean((answers - 1) ** 2) - adding.BASELINE) < 0.006


def test_the_form_of_1997():
    length = 40
    batch = adding.draw_1997(jax.random.key(2), MANY, length=length)
    numbers, marks, _ = parts(batch)
    lengths = np.asarray(batch.lengths)
    assert (np.unique(lengths) == np.arange(40, 45)).all()
    rows = np.arange(MANY)
    assert (marks[0] == -1).all()
    assert (marks[lengths - 1, rows] == -1).all()
    assert not numbers[np.arange(len(numbers))[:, None] >= lengths].any()
    ones = marks == 1
    assert set(ones.sum(0)) == {1, 2}  # one where the first number was chosen
    assert not ones[length // 2 :].any()
    assert ones[1:10].any(0).mean() > 0.9
    want = 0.5 + (numbers * ones).sum(0) / 4
    np.testing.assert_allclose(at_the_end(batch), want, atol=1e-6)
    # First: one of ten. Second: one of the first T/2 - 1 that are left.
    lost = (ones.sum(0) == 1).mean()
    assert abs(lost - (0.1 + 0.9 / (length // 2 - 1))) < 0.015
    assert numbers.min() < -0.99
    assert numbers.max() > 0.99


@pytest.mark.parametrize("length", [22, 100])
def test_the_baseline_of_1997(length):
    answers = at_the_end(adding.draw_1997(jax.random.key(3), MANY, length=length))
    error = np.mean((answers - 0.5) ** 2)
    assert abs(error - adding.baseline_1997(length)) < 0.0015


def test_too_short():
    with pytest.raises(ValueError, match=r"length: expected 2 steps or more, got 1\."):
        adding.draw(jax.random.key(0), 3, length=1)
    with pytest.raises(ValueError, match="length: expected 22"):
        adding.draw_1997(jax.random.key(0), 3, length=21)
