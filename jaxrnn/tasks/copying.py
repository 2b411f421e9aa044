"""Copy memory: repeat ten symbols after a long blank, on a signal.

Hochreiter and Schmidhuber 1997 in spirit; in this form from Arjovsky, Shah and Bengio 2016,
arXiv:1511.06464. Nothing has to be computed: the carry must hold 10 · log2(8) = 30 bits
over a blank of any length. Cross-entropy, the mean over all T + 20 steps:

    optimum                              0
    memoryless (blanks, then guesses)    10 ln 8 / (T + 20), see `baseline`
"""

import math

import jax
import jax.numpy as jnp

from jaxrnn.tasks.batch import Batch

SYMBOLS = 8  # 1 to 8
KEPT = 10  # how many of them to remember
BLANK, SIGNAL = 0, 9
CLASSES = 10  # of inputs and of targets, including the blank and the signal
OPTIMUM = 0.0


def draw(key: jax.Array, batch: int, *, blank: int) -> Batch:
    """Draws sequences: a pure function of the key.

    Args:
        key: a PRNG key.
        batch: B, how many sequences.
        blank: T of the paper, 1 or more: a symbol and its copy are T + 10 steps apart.

    Returns:
        A `Batch` of int32 inputs and targets [T + 20, B]: ten symbols, T - 1 blanks and
        eleven signals go in; T + 10 blanks and the ten symbols are wanted, all scored.

    Raises:
        ValueError: for a blank below 1.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import copying
        >>> batch = copying.draw(jax.random.key(0), 3, blank=30)
        >>> batch.inputs.shape, bool((batch.inputs[:10] == batch.targets[-10:]).all())
        ((50, 3), True)
    """
    if blank < 1:
        raise ValueError(f"blank: expected 1 step or more, got {blank}.")
    symbols = jax.random.randint(key, (KEPT, batch), 1, SYMBOLS + 1, jnp.int32)
    fill = lambda count, symbol: jnp.full((count, batch), symbol, jnp.int32)
    inputs = [symbols, fill(blank - 1, BLANK), fill(KEPT + 1, SIGNAL)]
    targets = [fill(blank + KEPT, BLANK), symbols]
    steps = blank + 2 * KEPT
    mask = jnp.ones((steps, batch), bool)
    lengths = jnp.full(batch, steps, jnp.int32)
    return Batch(jnp.concatenate(inputs), jnp.concatenate(targets), mask, lengths)


def baseline(blank: int) -> float:
    """The mean cross-entropy, in nats, of a model that knows the step but no symbol.

    Args:
        blank: T, as for `draw`.

    Example:
        >>> from jaxrnn.tasks import copying
        >>> round(copying.baseline(100), 4)
        0.1733
    """
    return KEPT * math.log(SYMBOLS) / (blank + 2 * KEPT)
