"""The multiplication problem against its definition, by reading the sequences."""

import jax
import numpy as np
import pytest

from jaxrnn.tasks import adding, multiplication

MANY = 20_000


def test_the_answer_is_the_product_of_the_marked():
    batch = multiplication.draw(jax.random.key(0), 500, length=30)
    numbers, marks = (
        np.asarray(batch.inputs)[..., 0].T,
        np.asarray(batch.inputs)[..., 1].T,
    )
    lost = 0
    for row, mark, target, length in zip(
        numbers, marks, np.asarray(batch.targets)[..., 0].T, batch.lengths, strict=True
    ):
        product = 1.0
        for t in np.flatnonzero(mark == 1):
            product *= row[t]
        assert mark[0] == mark[length - 1] == -1
        lost += (mark == 1).sum() == 1
        np.testing.assert_allclose(target[length - 1], product, rtol=1e-6)
        assert not target[: length - 1].any()
        assert not row[length:].any()
    assert 0 < lost < 150


@pytest.mark.parametrize("length", [22, 100])
def test_its_baseline(length):
    batch = multiplication.draw(jax.random.key(1), MANY, length=length)
    answers = np.asarray(batch.targets).sum(axis=(0, 2))
    error = answers.std() / np.sqrt(MANY)  # of the mean of squares, generously
    np.testing.assert_allclose(
        answers.var(), multiplication.baseline(length), atol=error
    )


def test_the_same_marks_as_the_adding_problem():
    of_sum = adding.draw_1997(jax.random.key(3), 4, length=40)
    of_product = multiplication.draw(jax.random.key(3), 4, length=40)
    np.testing.assert_array_equal(of_sum.inputs[..., 1], of_product.inputs[..., 1])
    assert (np.asarray(of_product.inputs[..., 0]) >= 0).all()


def test_too_short():
    with pytest.raises(ValueError, match="length: expected 22"):
        multiplication.draw(jax.random.key(0), 3, length=21)
