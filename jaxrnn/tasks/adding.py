"""The adding problem: the sum of two marked numbers in a long sequence.

`draw` is the form of Le, Jaitly and Hinton 2015 (arXiv:1504.00941), which most papers use;
`draw_1997` is the form of Hochreiter and Schmidhuber 1997
(https://doi.org/10.1162/neco.1997.9.8.1735, experiment 4). The target is at the last
step, so the two numbers must be remembered and all others ignored.

    mean squared error        draw         draw_1997, T=100
    optimum                   0            0
    always the mean           1/6          0.0392, see `baseline_1997`
"""

import jax
import jax.numpy as jnp

from jaxrnn.tasks import marked
from jaxrnn.tasks.batch import Batch, clock

OPTIMUM = 0.0
BASELINE = 1 / 6  # the variance of a sum of two uniform numbers


def draw(key: jax.Array, batch: int, *, length: int) -> Batch:
    """Draws sequences of numbers in [0, 1), one marked in each half.

    Args:
        key: a PRNG key.
        batch: B, how many sequences.
        length: T, 2 or more.

    Returns:
        A `Batch`: inputs [T, B, 2], the numbers and the marks (1 at two steps); targets
        [T, B, 1], at the last step the sum of the two; mask true at the last step.

    Raises:
        ValueError: for a length below 2.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import adding
        >>> batch = adding.draw(jax.random.key(0), 3, length=10)
        >>> batch.inputs.shape, batch.targets.shape
        ((10, 3, 2), (10, 3, 1))
        >>> numbers, marks = batch.inputs[..., 0], batch.inputs[..., 1]
        >>> bool((abs((numbers * marks).sum(0) - batch.targets[-1, :, 0]) < 1e-6).all())
        True
    """
    if length < 2:
        raise ValueError(f"length: expected 2 steps or more, got {length}.")
    of_numbers, early, late = jax.random.split(key, 3)
    numbers = jax.random.uniform(of_numbers, (length, batch), jnp.float32)
    half = length // 2
    one = jax.random.randint(early, (batch,), 0, half, jnp.int32)
    two = jax.random.randint(late, (batch,), half, length, jnp.int32)
    steps = clock(length)
    marks = (steps == one[None]) | (steps == two[None])
    answer = jnp.sum(jnp.where(marks, numbers, 0), axis=0)
    lengths = jnp.full(batch, length, jnp.int32)
    return marked.asked(numbers, marks, answer, lengths)


def draw_1997(key: jax.Array, batch: int, *, length: int) -> Batch:
    """Draws sequences of numbers in [-1, 1) of T to T + T/10 steps, as in the paper.

    One of the first ten numbers is marked, and one of the first T/2 - 1 that are not
    marked yet; the first and the last mark are -1. If the first number is marked, its
    mark is lost and it counts as zero. The target is ``0.5 + (X1 + X2) / 4``. The paper
    calls an answer right if its error is below 0.04.

    Args:
        key: a PRNG key.
        batch: B, how many sequences.
        length: T, the least number of steps, 22 or more.

    Returns:
        A `Batch`: inputs [T + T // 10, B, 2], targets [T + T // 10, B, 1] and a mask that
        is true at each row's last step.

    Raises:
        ValueError: for a length below 22, where there are no ten numbers to choose from.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import adding
        >>> batch = adding.draw_1997(jax.random.key(0), 3, length=100)
        >>> batch.inputs.shape, bool((batch.inputs[0, :, 1] == -1).all())
        ((110, 3, 2), True)
    """
    numbers, marks, lengths = marked.draw(key, batch, length=length, least=-1.0)
    answer = 0.5 + jnp.sum(jnp.where(marks == 1, numbers, 0), axis=0) / 4
    return marked.asked(numbers, marks, answer, lengths)


def baseline_1997(length: int) -> float:
    """The mean squared error of always answering 0.5 to `draw_1997`.

    Args:
        length: T, as for `draw_1997`.

    Returns:
        1/24, for two numbers of variance 1/3 each, reduced by the lost marks.

    Example:
        >>> from jaxrnn.tasks import adding
        >>> round(adding.baseline_1997(100), 5)
        0.0392
    """
    return (2 - marked.lost(length)) / 48
