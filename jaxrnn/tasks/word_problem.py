"""The word problem of a group: the product of all elements read so far, at every step.

Merrill, Petty and Sabharwal 2024, "The Illusion of State", arXiv:2404.08819. A5 is the
group of the even permutations of five things. A model whose depth does not
grow with the length, such as a Transformer or a linear recurrence with diagonal gates,
cannot compute its products at all lengths (unless TC⁰ = NC¹). A recurrent network with one
layer can. Z60,
addition modulo 60, has as many elements and is the easy counterpart.

    accuracy at each step but the first
    optimum       1
    chance        1/60
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.tasks.batch import Batch

ORDER = 60  # elements of each group
OPTIMUM = 1.0
BASELINE = 1 / ORDER
GROUPS = ("A5", "Z60")


def draw(key: jax.Array, batch: int, *, length: int, group: str = "A5") -> Batch:
    """Draws words of uniform elements: a pure function of the key.

    Args:
        key: a PRNG key.
        batch: B, how many words.
        length: T, elements in a word, 1 or more.
        group: "A5" or "Z60".

    Returns:
        A `Batch` of int32 inputs and targets [T, B]: elements of `table`, and the product
        ``x_1 · x_2 · ... · x_t`` at each step t, all scored.

    Raises:
        ValueError: for another group or a length below 1.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import word_problem
        >>> batch = word_problem.draw(jax.random.key(0), 1, length=4, group="Z60")
        >>> batch.inputs[:, 0].tolist(), batch.targets[:, 0].tolist()
        ([49, 0, 32, 13], [49, 49, 21, 34])
    """
    if length < 1:
        raise ValueError(f"length: expected 1 element or more, got {length}.")
    product = jnp.asarray(table(group), jnp.int32)
    inputs = jax.random.randint(key, (length, batch), 0, ORDER, jnp.int32)

    def multiply(so_far, element):
        so_far = product[so_far, element]
        return so_far, so_far

    _, targets = jax.lax.scan(multiply, jnp.zeros(batch, jnp.int32), inputs)
    mask = jnp.ones((length, batch), bool)
    return Batch(inputs, targets, mask, jnp.full(batch, length, jnp.int32))


@functools.cache
def table(group: str) -> np.ndarray:
    """The multiplication table of a group.

    Args:
        group: "A5", the even permutations of 0 to 4 in lexicographic order, of which the
            product a · b is first a, then b; or "Z60".

    Returns:
        int [60, 60]; entry [a, b] is a · b. Element 0 is the identity.

    Raises:
        ValueError: for another group.

    Example:
        >>> from jaxrnn.tasks import word_problem
        >>> a5 = word_problem.table("A5")
        >>> int(a5[1, 3]), int(a5[3, 1])  # the order matters
        (5, 6)
    """
    if group not in GROUPS:
        raise ValueError(f"group: expected one of {GROUPS}, got {group!r}.")
    numbers = np.arange(ORDER)
    if group == "Z60":
        return np.add.outer(numbers, numbers) % ORDER
    every = np.array(list(itertools.permutations(range(5))))
    # Even: an even number of pairs that stand in the wrong order.
    pairs = itertools.combinations(range(5), 2)
    wrong = sum((every[:, i] > every[:, j]).astype(int) for i, j in pairs)
    even = every[wrong % 2 == 0]
    number = {tuple(p): i for i, p in enumerate(even.tolist())}
    return np.array([[number[tuple(b[a])] for b in even] for a in even])
