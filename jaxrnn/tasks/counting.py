"""Counting: after aⁿ exactly n letters b may follow, and then perhaps n letters c.

Gers and Schmidhuber 2001, https://doi.org/10.1109/72.963769; compared across cells by
Weiss, Goldberg and Yahav 2018 (arXiv:1805.04908), who show that an LSTM's cell state can
count without bound and a GRU's cannot. The target of each step is the set of letters that
may come next. A string is accepted if every set is right. The question is up to which n,
beyond those of training, strings are accepted.

    strings accepted, n from `least` to `most`
    optimum                              1
    a fixed n for all strings            1 / (most - least + 1), see `baseline`
"""

import jax
import jax.numpy as jnp

from jaxrnn.tasks.batch import Batch, clock

VOCABULARY = ("S", "a", "b", "c")  # of inputs; S starts a string
NEXT = ("a", "b", "c", "end")  # of targets
OPTIMUM = 1.0


def draw(
    key: jax.Array, batch: int, *, letters: int = 2, n: tuple[int, int] = (1, 50)
) -> Batch:
    """Draws strings, n uniform between two numbers: a pure function of the key.

    Args:
        key: a PRNG key.
        batch: B, how many strings.
        letters: 2 for aⁿbⁿ, 3 for aⁿbⁿcⁿ.
        n: the least and the most of each letter, 1 or more.

    Returns:
        See `strings`; T is 1 + letters · most.

    Raises:
        ValueError: for other letters or an empty range.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import counting
        >>> batch = counting.draw(jax.random.key(0), 3, n=(1, 4))
        >>> ["".join(counting.VOCABULARY[i] for i in row[:k]) for row, k in
        ...  zip(batch.inputs.T.tolist(), batch.lengths.tolist())]
        ['Saabb', 'Sab', 'Sab']
    """
    least, most = n
    if not 1 <= least <= most:
        raise ValueError(f"n: expected (least, most) from 1, got {n}.")
    drawn = jax.random.randint(key, (batch,), least, most + 1, jnp.int32)
    return strings(drawn, letters=letters, most=most)


def strings(n: jax.Array, *, letters: int = 2, most: int) -> Batch:
    """The strings of given n.

    Args:
        n: int [B], 1 to `most`.
        letters: 2 for aⁿbⁿ, 3 for aⁿbⁿcⁿ.
        most: sets T, 1 + letters · most.

    Returns:
        A `Batch`: int32 inputs [T, B], indices into `VOCABULARY`; float32 targets
        [T, B, 4], 1 for each of `NEXT` that may follow (after an a: a or b; then all is
        determined); mask true at each row's steps.

    Raises:
        ValueError: for other letters.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxrnn.tasks import counting
        >>> batch = counting.strings(jnp.array([2]), most=2)
        >>> batch.inputs[:, 0].tolist(), batch.targets[:, 0].astype(int).tolist()[2:]
        ([0, 1, 1, 2, 2], [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    """
    if letters not in (2, 3):
        raise ValueError(f"letters: expected 2 or 3, got {letters}.")
    n = jnp.asarray(n, jnp.int32)
    steps = clock(1 + letters * most)
    lengths = 1 + letters * n
    mask = steps < lengths[None]
    inputs = jnp.where(mask, -(-steps // n[None]), 0)
    following = jnp.where(steps == lengths[None] - 1, len(NEXT) - 1, steps // n[None])
    targets = jax.nn.one_hot(following, len(NEXT), dtype=jnp.float32)
    targets = targets.at[..., :2].max((inputs == 1)[..., None].astype(jnp.float32))
    return Batch(inputs, jnp.where(mask[..., None], targets, 0), mask, lengths)


def baseline(n: tuple[int, int]) -> float:
    """The share of strings accepted by a model that ends all of them at the same n.

    Args:
        n: the least and the most, as for `draw`.

    Example:
        >>> from jaxrnn.tasks import counting
        >>> counting.baseline((1, 50))
        0.02
    """
    least, most = n
    return 1 / (most - least + 1)
