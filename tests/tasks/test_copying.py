"""Copy memory against its definition, and its baseline against a simulation."""

import jax
import numpy as np
import pytest

from jaxrnn.tasks import copying


@pytest.mark.parametrize("blank", [1, 2, 40])
def test_what_goes_in_and_what_is_wanted(blank):
    batch = copying.draw(jax.random.key(blank), 5000, blank=blank)
    inputs, targets = np.asarray(batch.inputs), np.asarray(batch.targets)
    assert inputs.shape == targets.shape == (blank + 20, 5000)
    symbols = inputs[:10]
    assert set(np.unique(symbols)) == set(range(1, 9))
    assert np.abs((symbols == 3).mean(1) - 1 / 8).max() < 0.025
    # no symbol tells of another
    assert np.abs(np.corrcoef(symbols) - np.eye(10)).max() < 0.08
    assert (inputs[10 : 10 + blank - 1] == copying.BLANK).all()
    assert (inputs[10 + blank - 1 :] == copying.SIGNAL).all()
    assert (targets[: blank + 10] == copying.BLANK).all()
    np.testing.assert_array_equal(targets[-10:], symbols)
    assert batch.mask.all()
    assert (batch.lengths == blank + 20).all()


def test_the_baseline_is_that_of_guesses():
    """Blanks for certain, then each symbol with probability 1/8: measured."""
    blank = 100
    targets = np.asarray(copying.draw(jax.random.key(0), 50, blank=blank).targets)
    chances = np.zeros((*targets.shape, copying.CLASSES))
    chances[: blank + 10, :, copying.BLANK] = 1
    chances[-10:, :, 1:9] = 1 / 8
    given = np.take_along_axis(chances, targets[..., None], -1)
    assert np.mean(-np.log(given)) == pytest.approx(copying.baseline(blank))
    for steps, published in ((100, 0.1733), (200, 0.0945), (500, 0.0400)):
        assert copying.baseline(steps) == pytest.approx(published, abs=5e-5)


def test_no_blank():
    with pytest.raises(ValueError, match="blank: expected 1 step or more, got 0"):
        copying.draw(jax.random.key(0), 3, blank=0)
