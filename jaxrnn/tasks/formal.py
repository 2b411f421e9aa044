"""Formal languages: read symbols, then answer, at lengths not seen in training.

Five tasks of Delétang et al. 2023, "Neural Networks and the Chomsky Hierarchy",
arXiv:2207.02098. The first four are regular: a finite automaton solves them at any length,
and a recurrent network can implement one. Sorting needs counters.

    accuracy of each answer    without the symbols, 20 of them    optimum
    parity                     0.5                                1
    even_pairs                 0.5                                1
    cycle_navigation           0.2                                1
    modular_arithmetic         0.2                                1
    bucket_sort                0.69                               1

In a sorted row the first symbols are low and the last are high. A model that only knows
the position is therefore right in most places; `baseline` has the value for each length.

Every task is ``(key, batch, *, length) -> Batch``: int32 inputs [T, B], a row's symbols,
then `ASK` once for each answer, then zeros. Targets are int32 [T, B], the mask is true at
each `ASK`, and `lengths` is the number of symbols and answers of a row.
"""

import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.tasks.batch import Batch, clock

OPTIMUM = 1.0
# The number of different inputs of each task, with `ASK`, which is the last.
SYMBOLS = {
    "parity": 3,
    "even_pairs": 3,
    "cycle_navigation": 4,
    "modular_arithmetic": 9,
    "bucket_sort": 6,
}
ASK = {name: count - 1 for name, count in SYMBOLS.items()}
# The number of different answers.
ANSWERS = dict(zip(SYMBOLS, (2, 2, 5, 5, 5), strict=True))
OPERATORS = "+-*"  # of modular arithmetic: symbols 5, 6 and 7, after the digits 0 to 4


def parity(key: jax.Array, batch: int, *, length: int | tuple[int, int]) -> Batch:
    """Whether the number of ones is odd.

    Args:
        key: a PRNG key.
        batch: B, how many rows.
        length: the number of symbols per row, or the least and the most, between which
            each row draws one uniformly.

    Returns:
        A `Batch`, T one more than the most symbols: see the module.

    Raises:
        ValueError: for a length below 1 or an empty range.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import formal
        >>> batch = formal.parity(jax.random.key(3), 2, length=6)
        >>> batch.inputs.T.tolist(), batch.targets[-1].tolist()
        ([[1, 0, 1, 1, 1, 1, 2], [0, 1, 1, 0, 1, 0, 2]], [1, 1])
    """
    symbols, lengths = _symbols(key, batch, length, 2)
    odd = jnp.sum(symbols, axis=0, dtype=jnp.int32) % 2
    return _asked(symbols, lengths, odd[None], ASK["parity"], 1)


def even_pairs(key: jax.Array, batch: int, *, length: int | tuple[int, int]) -> Batch:
    """Whether 01 and 10 together occur an odd number of times, so that the ends differ.

    Args:
        key, batch, length: see `parity`.

    Returns:
        A `Batch`, T one more than the most symbols: see the module.

    Raises:
        ValueError: see `parity`.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import formal
        >>> batch = formal.even_pairs(jax.random.key(5), 2, length=6)
        >>> batch.inputs.T.tolist(), batch.targets[-1].tolist()
        ([[0, 1, 1, 0, 1, 1, 2], [0, 0, 0, 1, 1, 0, 2]], [1, 0])
    """
    symbols, lengths = _symbols(key, batch, length, 2)
    last = jnp.take_along_axis(symbols, lengths[None] - 1, axis=0)
    return _asked(symbols, lengths, symbols[:1] ^ last, ASK["even_pairs"], 1)


def cycle_navigation(
    key: jax.Array, batch: int, *, length: int | tuple[int, int]
) -> Batch:
    """The last position of a walk on a circle of five: steps back, none or forward.

    Args:
        key, batch, length: see `parity`. A symbol less 1 is the step.

    Returns:
        A `Batch`, T one more than the most symbols: see the module.

    Raises:
        ValueError: see `parity`.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import formal
        >>> batch = formal.cycle_navigation(jax.random.key(0), 2, length=4)
        >>> batch.inputs.T.tolist(), batch.targets[-1].tolist()
        ([[2, 1, 2, 1, 3], [1, 0, 0, 1, 3]], [2, 3])
    """
    symbols, lengths = _symbols(key, batch, length, 3)
    inside = clock(len(symbols)) < lengths[None]
    place = jnp.sum(jnp.where(inside, symbols - 1, 0), axis=0, dtype=jnp.int32) % 5
    return _asked(symbols, lengths, place[None], ASK["cycle_navigation"], 1)


def modular_arithmetic(
    key: jax.Array, batch: int, *, length: int | tuple[int, int]
) -> Batch:
    """The value modulo 5 of digits with +, - and * between them; * takes precedence.

    Args:
        key, batch, length: see `parity`; odd numbers.

    Returns:
        A `Batch`, T one more than the most symbols: see the module.

    Raises:
        ValueError: see `parity`, and for even lengths.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import formal
        >>> batch = formal.modular_arithmetic(jax.random.key(21), 1, length=7)
        >>> shown = "01234" + formal.OPERATORS + "="
        >>> text = "".join(shown[i] for i in batch.inputs[:, 0].tolist())
        >>> text, int(batch.targets[-1, 0])
        ('4*2*4+4=', 1)
    """
    least, most = _range(length)
    if not least % 2 or not most % 2:
        raise ValueError(f"length: expected odd numbers, got {length}.")
    of_lengths, of_digits, of_operators = jax.random.split(key, 3)
    terms = (most + 1) // 2
    # A row of n terms has 2 n - 1 symbols.
    counts = jax.random.randint(
        of_lengths, (batch,), (least + 1) // 2, terms + 1, jnp.int32
    )
    digits = jax.random.randint(of_digits, (terms, batch), 0, 5, jnp.int32)
    operators = jax.random.randint(of_operators, (terms, batch), 0, 3, jnp.int32)

    def read(state, term):
        """A sum, and the signed product that may go on."""
        total, product = state
        digit, operator, exists = term
        times = operator == OPERATORS.index("*")
        signed = jnp.where(operator == OPERATORS.index("-"), -digit, digit)
        new = (
            jnp.where(times, total, (total + product) % 5),
            jnp.where(times, product * digit % 5, signed % 5),
        )
        return jax.tree.map(lambda n, s: jnp.where(exists, n, s), new, state), None

    # The operator before each digit; before the first one stands a plus.
    before = jnp.concatenate([jnp.zeros_like(operators[:1]), operators[:-1]])
    exists = clock(terms) < counts[None]
    zero = jnp.zeros(batch, jnp.int32)
    (total, product), _ = jax.lax.scan(read, (zero, zero), (digits, before, exists))
    symbols = jnp.stack([digits, 5 + operators], axis=1).reshape(2 * terms, batch)
    lengths = 2 * counts - 1
    value = (total + product)[None] % 5
    return _asked(symbols[:most], lengths, value, ASK["modular_arithmetic"], 1)


def bucket_sort(key: jax.Array, batch: int, *, length: int | tuple[int, int]) -> Batch:
    """The symbols, of five kinds, sorted: as many answers as symbols.

    Args:
        key, batch, length: see `parity`.

    Returns:
        A `Batch`, T twice the most symbols: see the module.

    Raises:
        ValueError: see `parity`.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import formal
        >>> batch = formal.bucket_sort(jax.random.key(1), 1, length=4)
        >>> batch.inputs[:, 0].tolist(), batch.targets[:, 0].tolist()
        ([3, 1, 1, 3, 5, 5, 5, 5], [0, 0, 0, 0, 1, 1, 3, 3])
    """
    symbols, lengths = _symbols(key, batch, length, 5)
    inside = clock(len(symbols)) < lengths[None]
    ordered = jnp.sort(jnp.where(inside, symbols, 5), axis=0)
    return _asked(symbols, lengths, ordered, ASK["bucket_sort"], lengths)


TASKS: dict[str, Callable[..., Batch]] = {
    "parity": parity,
    "even_pairs": even_pairs,
    "cycle_navigation": cycle_navigation,
    "modular_arithmetic": modular_arithmetic,
    "bucket_sort": bucket_sort,
}


def baseline(name: str, length: int) -> float:
    """The accuracy of the best answers that use the length but no symbol.

    Args:
        name: of `TASKS`.
        length: the number of symbols per row.

    Returns:
        The exact probability of the most likely answer; for `bucket_sort` the mean over
        places of the probability of the most likely symbol.

    Raises:
        ValueError: for another name, or a length that the task does not have.

    Example:
        >>> from jaxrnn.tasks import formal
        >>> [round(formal.baseline("bucket_sort", n), 2) for n in (5, 20, 100)]
        [0.5, 0.69, 0.86]
    """
    if name not in TASKS:
        raise ValueError(f"name: expected one of {tuple(TASKS)}, got {name!r}.")
    _range(length)
    if name == "bucket_sort":
        return _sorted_baseline(length, 5)
    if name == "modular_arithmetic":
        return _expression_baseline(length)
    if name == "even_pairs":
        return 1.0 if length == 1 else 0.5
    if name == "parity":
        return 0.5
    moves, places = np.array([1, 1, 0, 0, 1]) / 3, np.eye(5)[0]
    for _ in range(length):  # to the right, not at all, to the left
        places = np.sum([p * np.roll(places, n) for n, p in enumerate(moves)], axis=0)
    return float(places.max())


def _sorted_baseline(length: int, count: int) -> float:
    """P(the k-th smallest ≤ s) is that of k or more symbols up to s: a binomial tail."""
    ways = [math.comb(length, n) for n in range(length + 1)]
    shares = [(s + 1) / count for s in range(count)]
    below = np.array(
        [
            [w * p**n * (1 - p) ** (length - n) for n, w in enumerate(ways)]
            for p in shares
        ]
    )
    tails = below[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]  # [symbols, places]
    return float(np.diff(tails, axis=0, prepend=0).max(axis=0).mean())


def _expression_baseline(length: int) -> float:
    """By the probabilities of each sum and product so far."""
    if length % 2 == 0:
        raise ValueError(f"length: expected an odd number, got {length}.")
    state = np.zeros((5, 5))
    state[0] = 1 / 5
    for _ in range(length // 2):
        new = np.zeros((5, 5))
        for total, product, digit in itertools.product(range(5), repeat=3):
            p = state[total, product] / 15
            added = (total + product) % 5
            new[added, digit] += p
            new[added, -digit % 5] += p
            new[total, product * digit % 5] += p
        state = new
    values = np.zeros(5)
    for total, product in itertools.product(range(5), repeat=2):
        values[(total + product) % 5] += state[total, product]
    return float(values.max())


def _range(length) -> tuple[int, int]:
    least, most = (length, length) if isinstance(length, int) else length
    if not 1 <= least <= most:
        raise ValueError(
            f"length: expected a number of symbols from 1, or (least, most), got {length}."
        )
    return least, most


def _symbols(key, batch, length, count) -> tuple:
    """Symbols below `count` [most, B], zero beyond the lengths [B]."""
    least, most = _range(length)
    of_lengths, of_symbols = jax.random.split(key)
    lengths = jax.random.randint(of_lengths, (batch,), least, most + 1, jnp.int32)
    symbols = jax.random.randint(of_symbols, (most, batch), 0, count, jnp.int32)
    return jnp.where(clock(most) < lengths[None], symbols, 0), lengths


def _asked(symbols, lengths, answers, ask, count) -> Batch:
    """The symbols, then `ask` at `count` steps, where the answers [A, B] are wanted."""
    steps, ends = clock(len(symbols) + len(answers)), lengths[None]
    mask = (ends <= steps) & (steps < (lengths + count)[None])
    rest = jnp.zeros((len(answers), symbols.shape[1]), jnp.int32)
    shown = jnp.where(steps < ends, jnp.concatenate([symbols, rest]), 0)
    at = jnp.clip(steps - ends, 0, len(answers) - 1)
    wanted = jnp.take_along_axis(answers, at, axis=0)
    targets = jnp.where(mask, wanted, 0)
    return Batch(jnp.where(mask, ask, shown), targets, mask, lengths + count)
