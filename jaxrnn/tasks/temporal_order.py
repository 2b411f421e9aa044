"""Temporal order: the class is the order of two or three symbols among distractors.

Hochreiter and Schmidhuber 1997, experiments 6a and 6b,
https://doi.org/10.1162/neco.1997.9.8.1735. A sequence is B, distractors a to d, and E; at
random steps near a tenth and a half of it (for three: near a tenth, a third and two
thirds) there is an X or a Y. XX, XY, YX, YY are the four classes, XXX to YYY eight.

    accuracy     two symbols    three symbols
    optimum      1              1
    chance       1/4            1/8
"""

import jax
import jax.numpy as jnp

from jaxrnn.tasks.batch import Batch, clock

VOCABULARY = ("B", "E", "a", "b", "c", "d", "X", "Y")
OPTIMUM = 1.0
BASELINE = {2: 1 / 4, 3: 1 / 8}
# The steps of each symbol, in hundredths of the least length, both ends included.
WINDOWS = {2: ((10, 20), (50, 60)), 3: ((10, 20), (33, 43), (66, 76))}
_START, _END, _DISTRACTOR, _X = (VOCABULARY.index(symbol) for symbol in "BEaX")


def draw(key: jax.Array, batch: int, *, symbols: int = 2, length: int = 100) -> Batch:
    """Draws sequences of T to T + T/10 steps: a pure function of the key.

    Args:
        key: a PRNG key.
        batch: B, how many sequences.
        symbols: how many to put in order, 2 or 3.
        length: T, the least number of steps, 20 or more; 100 in the paper. The
            windows scale with it.

    Returns:
        A `Batch`: int32 inputs [T + T // 10, B], indices into `VOCABULARY`, 0 beyond a
        row's length; int32 targets, the class at the last step: the symbols as a binary
        number, X for 0 and Y for 1, the first in front; mask true at the last step.

    Raises:
        ValueError: for another number of symbols or too short a length.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import temporal_order
        >>> batch = temporal_order.draw(jax.random.key(3), 1, length=20)
        >>> symbols = [temporal_order.VOCABULARY[i] for i in batch.inputs[:, 0].tolist()]
        >>> "".join(symbols[: int(batch.lengths[0])]), int(batch.targets.sum())
        ('BaYbdbdcddXacdabbacdE', 2)
    """
    if symbols not in WINDOWS:
        raise ValueError(f"symbols: expected 2 or 3, got {symbols}.")
    if length < 20:
        raise ValueError(f"length: expected 20 steps or more, got {length}.")
    of_lengths, of_rest, of_steps, of_symbols = jax.random.split(key, 4)
    most = length + length // 10
    lengths = jax.random.randint(of_lengths, (batch,), length, most + 1, jnp.int32)
    steps, last = clock(most), lengths[None] - 1
    inputs = jax.random.randint(
        of_rest, (most, batch), _DISTRACTOR, _DISTRACTOR + 4, jnp.int32
    )
    drawn = jax.random.randint(of_symbols, (symbols, batch), 0, 2, jnp.int32)
    keys = jax.random.split(of_steps, symbols)
    for symbol, where, (first, until) in zip(
        drawn, keys, WINDOWS[symbols], strict=True
    ):
        least, end = first * length // 100, until * length // 100 + 1
        at = jax.random.randint(where, (batch,), least, end, jnp.int32)
        inputs = jnp.where(steps == at[None], _X + symbol[None], inputs)
    inputs = jnp.where(steps == 0, _START, inputs)
    inputs = jnp.where(steps == last, _END, inputs)
    inputs = jnp.where(steps <= last, inputs, 0)
    number = sum(row << n for n, row in enumerate(drawn[::-1]))
    mask = steps == last
    targets = jnp.where(mask, jnp.asarray(number)[None], 0)
    return Batch(inputs, targets, mask, lengths)
