"""The multiplication problem: the product of two marked numbers.

Hochreiter and Schmidhuber 1997, experiment 5, https://doi.org/10.1162/neco.1997.9.8.1735:
a cell state can store values that are not summed.

    mean squared error, T=100
    optimum                   0
    always the mean           0.0592, see `baseline`
"""

import jax
import jax.numpy as jnp

from jaxrnn.tasks import marked
from jaxrnn.tasks.batch import Batch

OPTIMUM = 0.0


def draw(key: jax.Array, batch: int, *, length: int) -> Batch:
    """Draws sequences of numbers in [0, 1) of T to T + T/10 steps, as in the paper.

    One of the first ten numbers is marked, and one of the first T/2 - 1 that are not
    marked yet; the first and the last mark are -1. If the first number is marked, its
    mark is lost and it counts as one. The paper calls an answer right if its error is
    below 0.04.

    Args:
        key: a PRNG key.
        batch: B, how many sequences.
        length: T, the least number of steps, 22 or more.

    Returns:
        A `Batch`: inputs [T + T // 10, B, 2], the numbers and the marks; targets
        [T + T // 10, B, 1], at each row's last step the product; a mask true there.

    Raises:
        ValueError: for a length below 22, where there are no ten numbers to choose from.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import multiplication
        >>> batch = multiplication.draw(jax.random.key(0), 3, length=100)
        >>> batch.inputs.shape, batch.mask.sum(0).tolist()
        ((110, 3, 2), [1, 1, 1])
    """
    numbers, marks, lengths = marked.draw(key, batch, length=length, least=0.0)
    answer = jnp.prod(jnp.where(marks == 1, numbers, 1), axis=0)
    return marked.asked(numbers, marks, answer, lengths)


def baseline(length: int) -> float:
    """The mean squared error of always answering the mean product.

    Args:
        length: T, as for `draw`.

    Returns:
        The variance of a product of two uniform numbers, 7/144; where a mark was lost, that
        of one number.

    Example:
        >>> from jaxrnn.tasks import multiplication
        >>> round(multiplication.baseline(100), 5)
        0.05924
    """
    one = marked.lost(length)
    mean, square = (1 - one) / 4 + one / 2, (1 - one) / 9 + one / 3
    return square - mean**2
