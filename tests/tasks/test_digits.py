"""Sequential digits: disjoint splits, and pixels in reading order."""

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxrnn.tasks import digits


def test_the_splits_are_all_images_once():
    parts = [digits.images(split) for split in digits.SPLITS]
    assert [len(p.labels) for p in parts] == list(digits.SPLITS.values())
    pixels = np.concatenate([p.pixels for p in parts]).reshape(-1, 64) * 16
    labels = np.concatenate([p.labels for p in parts])
    there, theirs = load_digits(return_X_y=True)
    ours = sorted(map(tuple, np.column_stack([pixels, labels]).astype(int)))
    assert ours == sorted(map(tuple, np.column_stack([there, theirs]).astype(int)))
    # Every digit is in every split, about as often.
    for part in parts:
        assert (np.bincount(part.labels) / len(part.labels) > 0.06).all()


@pytest.mark.parametrize("by", digits.STEPS)
def test_pixels_come_in_reading_order(by):
    some = digits.images("valid")
    batch = digits.sequences(*some, by=by)
    np.testing.assert_array_equal(
        np.asarray(batch.inputs).transpose(1, 0, 2).reshape(-1, 8, 8), some.pixels
    )
    np.testing.assert_array_equal(batch.targets[-1], some.labels)
    assert np.asarray(batch.mask).sum(axis=1).tolist() == [0] * (
        digits.STEPS[by] - 1
    ) + [300]


def test_draws_are_of_the_first_images():
    allowed = {p.tobytes() for p in digits.images("train").pixels[:30]}
    batch = digits.draw(jax.random.key(0), 200, by="rows", first=30)
    rows = np.ascontiguousarray(np.asarray(batch.inputs).transpose(1, 0, 2))
    assert {p.tobytes() for p in rows} == allowed


def test_the_baseline():
    labels = digits.images("test").labels
    commonest = max(range(10), key=digits.images("train").labels.tolist().count)
    answers = np.full(len(labels), commonest)
    assert digits.baseline() == np.mean(answers == labels)


@pytest.mark.parametrize(
    "options", [{"split": "all"}, {"by": "columns"}, {"first": 0}, {"first": 1098}]
)
def test_wrong_options(options):
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"{name}: expected"):
        digits.draw(jax.random.key(0), 3, **options)
