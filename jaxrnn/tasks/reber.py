"""The embedded Reber grammar: the second symbol comes again as the last but one.

Hochreiter and Schmidhuber 1997, experiment 1 (https://doi.org/10.1162/neco.1997.9.8.1735),
and as an endless stream without boundaries Gers, Schmidhuber and Cummins 2000
(https://doi.org/10.1162/089976600300015015), the paper of the forget gate. A string
is B, T or P, a string of Reber's grammar, the same T or P again, and E; every branch has
probability 1/2:

    0 -B-> 1    1 -T-> 2    2 -S-> 2    3 -T-> 3    4 -X-> 3    5 -P-> 4    6 -E-> done
                1 -P-> 3    2 -X-> 4    3 -V-> 5    4 -S-> 6    5 -V-> 6

The target of each step is the set of symbols that may come next.

    strings without a wrong set
    optimum                                     1
    all but the second symbol remembered        1/2
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.tasks.batch import Batch

VOCABULARY = ("B", "T", "P", "S", "X", "V", "E")
OPTIMUM = 1.0
BASELINE = 1 / 2
SHORTEST = 9  # symbols of a string
# Of Reber's grammar: state -> (symbol, state), twice.
_INNER = (
    (("B", 1), ("B", 1)),
    (("T", 2), ("P", 3)),
    (("S", 2), ("X", 4)),
    (("T", 3), ("V", 5)),
    (("X", 3), ("S", 6)),
    (("P", 4), ("V", 6)),
    (("E", 7), ("E", 7)),
)


def _embedded() -> tuple[np.ndarray, np.ndarray]:
    """Symbols and next states, both [states, 2], of the embedded grammar.

    State 0 is the start, then 1; two copies of the inner grammar and of the outer symbol
    after it, one for T and one for P; E; and the state after the end.
    """
    size = len(_INNER) + 1
    end = 2 + 2 * size
    rows = [(("B", 1), ("B", 1)), (("T", 2), ("P", 2 + size))]
    for outer, first in (("T", 2), ("P", 2 + size)):
        rows += [tuple((s, first + to) for s, to in row) for row in _INNER]
        rows += [((outer, end), (outer, end))]
    rows += [(("E", end + 1), ("E", end + 1)), (("B", end + 1), ("B", end + 1))]
    symbols = [[VOCABULARY.index(s) for s, _ in row] for row in rows]
    following = [[to for _, to in row] for row in rows]
    return np.array(symbols, np.int32), np.array(following, np.int32)


_SYMBOLS, _NEXT = _embedded()
_OVER = len(_NEXT) - 1


def draw(key: jax.Array, batch: int, *, length: int = 40) -> Batch:
    """Draws strings: a pure function of the key.

    Args:
        key: a PRNG key.
        batch: B, how many strings.
        length: T, 9 or more: strings are drawn from those of at most so many symbols, in
            the proportions of the grammar. 99.99% of all strings have 40 symbols or fewer.

    Returns:
        A `Batch`: int32 inputs [T, B], indices into `VOCABULARY`, 0 beyond a row's length;
        float32 targets [T, B, 7], 1 for each symbol that may come next; the mask is true
        at all of a row's symbols but the last, E, after which nothing comes.

    Raises:
        ValueError: for a length below 9.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import reber
        >>> batch = reber.draw(jax.random.key(1), 1)
        >>> string = batch.inputs[: batch.lengths[0], 0].tolist()
        >>> "".join(reber.VOCABULARY[i] for i in string)
        'BPBTXSEPE'
    """
    if length < SHORTEST:
        raise ValueError(f"length: expected {SHORTEST} or more, got {length}.")
    share = _share(length, _NEXT, _OVER)
    states, inputs = _walk(key, batch, share, _NEXT)
    inside = states != _OVER
    mask = inside & (_to(states, inputs) != _OVER)
    targets = jnp.where(mask[..., None], _legal(_to(states, inputs)), 0)
    lengths = jnp.sum(inside, axis=0, dtype=jnp.int32)
    return Batch(jnp.where(inside, inputs, 0), targets, mask, lengths)


def draw_continual(
    key: jax.Array, batch: int, *, length: int, whole: bool = False
) -> Batch:
    """Draws streams of strings, one after the other, without a mark between them.

    Args:
        key: a PRNG key.
        batch: B, how many streams.
        length: T, symbols in each; the last string is cut off.
        whole: draws only streams that end with a whole string, so that one stream can
            follow another without end; T is then 9 or more.

    Returns:
        A `Batch` as `draw` returns it, with all steps in the mask; after an E comes a B.

    Raises:
        ValueError: for a length below 1, and of whole strings below 9.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import reber
        >>> batch = reber.draw_continual(jax.random.key(1), 1, length=20)
        >>> "".join(reber.VOCABULARY[i] for i in batch.inputs[:, 0].tolist())
        'BPBTXSEPEBTBPVVETEBT'
    """
    least = SHORTEST if whole else 1
    if length < least:
        raise ValueError(f"length: expected {least} or more, got {length}.")
    again = np.where(_NEXT == _OVER, 0, _NEXT)
    share = _share(length, again, 0 if whole else slice(None))
    states, inputs = _walk(key, batch, share, again)
    targets = _legal(_to(states, inputs, again))
    mask = jnp.ones(inputs.shape, bool)
    return Batch(inputs, targets, mask, jnp.full(batch, length, jnp.int32))


def outer(batch: Batch) -> jax.Array:
    """The steps after which the second symbol of a string comes again.

    Args:
        batch: what `draw` or `draw_continual` returned.

    Returns:
        bool [T, B]: steps after which T or P must come and the other must not, 6 steps or
        more after the one it repeats.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import reber
        >>> batch = reber.draw(jax.random.key(1), 1)
        >>> reber.outer(batch)[:, 0].nonzero()[0].tolist()  # after BPBTXSE comes P
        [6]
    """
    t, p = VOCABULARY.index("T"), VOCABULARY.index("P")
    one = batch.targets[..., t] != batch.targets[..., p]
    alone = jnp.sum(batch.targets, axis=-1) == 1
    return one & alone & batch.mask


def _share(length, following, end) -> np.ndarray:
    """Of branch 0 among the walks that are at `end` after all steps: [length, states]."""
    fits = np.zeros((length + 1, len(following)))  # by the steps that are left
    fits[0, end] = 1
    for left in range(1, length + 1):
        fits[left] = fits[left - 1][following].mean(axis=-1)
    first, second = np.moveaxis(fits[:-1][:, following], -1, 0)
    return (first / np.maximum(first + second, 1e-300))[::-1]


def _walk(key, batch, share, following) -> tuple[jax.Array, jax.Array]:
    """States before each step, and symbols, [T, B]; share [T, states]: of branch 0."""
    chances = jax.random.uniform(key, (len(share), batch), jnp.float32)
    symbols, following = jnp.asarray(_SYMBOLS), jnp.asarray(following)

    def step(state, now):
        chance, share = now
        branch = (chance >= share[state]).astype(jnp.int32)
        return following[state, branch], (state, symbols[state, branch])

    start = jnp.zeros(batch, following.dtype)
    share = jnp.asarray(share, jnp.float32)
    _, (states, drawn) = jax.lax.scan(step, start, (chances, share))
    return states, drawn


def _to(states, inputs, following=_NEXT) -> jax.Array:
    """The states after each step."""
    second = inputs != jnp.asarray(_SYMBOLS[:, 0])[states]
    return jnp.asarray(following)[states, second.astype(jnp.int32)]


def _legal(states) -> jax.Array:
    """1 for each symbol that may come next, [T, B, 7]."""
    sets = np.zeros((len(_SYMBOLS), len(VOCABULARY)), np.float32)
    np.put_along_axis(sets, _SYMBOLS, 1, axis=1)
    return jnp.asarray(sets)[states]
