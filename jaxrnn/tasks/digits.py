"""Sequential digits: classify a handwritten digit, read by pixels or by rows.

The shape of "sequential MNIST" (Le, Jaitly and Hinton 2015, arXiv:1504.00941) on a set that
comes with a package: 1,797 images of 8 by 8 pixels (Alpaydin and Kaynak 1998,
https://doi.org/10.24432/C50P49), as in scikit-learn. It is not MNIST: accuracies
cannot be compared with published ones.

    accuracy on the test images
    optimum                       1
    always the commonest digit    see `baseline`
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._extra import need
from jaxrnn.tasks.batch import Batch, clock

OPTIMUM = 1.0
CLASSES = 10
SPLITS = {"train": 1097, "valid": 300, "test": 400}
STEPS = {"pixels": 64, "rows": 8}


class Images(NamedTuple):
    """A split of the images.

    Fields:
        pixels: float32 [N, 8, 8], 0 to 1.
        labels: int32 [N], 0 to 9.
    """

    pixels: np.ndarray
    labels: np.ndarray


@functools.cache
def images(split: str) -> Images:
    """One of three disjoint splits: 1,097 training, 300 validation and 400 test images.

    Args:
        split: "train", "valid" or "test". The order is random but always the same,
            so the first n of a split are a fair sample of it.

    Raises:
        ValueError: for another split.
        ImportError: without scikit-learn.

    Example:
        >>> from jaxrnn.tasks import digits
        >>> digits.images("valid").pixels.shape
        (300, 8, 8)
    """
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {tuple(SPLITS)}, got {split!r}.")
    pixels, labels = need("sklearn.datasets").load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    ends = dict(zip(SPLITS, np.cumsum(list(SPLITS.values())), strict=True))
    chosen = order[ends[split] - SPLITS[split] : ends[split]]
    shaped = (pixels[chosen] / 16).astype(np.float32).reshape(-1, 8, 8)
    return Images(shaped, labels[chosen].astype(np.int32))


def draw(
    key: jax.Array,
    batch: int,
    *,
    split: str = "train",
    by: str = "pixels",
    first: int | None = None,
) -> Batch:
    """Draws images of a split, with replacement: a pure function of the key.

    Args:
        key: a PRNG key.
        batch: B, how many images.
        split: see `images`.
        by: "pixels", 64 steps of one number, or "rows", 8 steps of eight.
        first: draw only from the first so many images; None: from all.

    Returns:
        See `sequences`.

    Raises:
        ValueError: for another split or `by`, or more images than there are.
        ImportError: without scikit-learn.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import digits
        >>> digits.draw(jax.random.key(0), 5, by="rows").inputs.shape
        (8, 5, 8)
    """
    kept = images(split)
    count = len(kept.labels) if first is None else first
    if not 1 <= count <= len(kept.labels):
        raise ValueError(f"first: expected 1 to {len(kept.labels)}, got {first}.")
    chosen = jax.random.randint(key, (batch,), 0, count, jnp.int32)
    return sequences(
        jnp.asarray(kept.pixels)[chosen], jnp.asarray(kept.labels)[chosen], by
    )


def sequences(pixels: jax.Array, labels: jax.Array, by: str = "pixels") -> Batch:
    """Images as sequences; the label is the target of the last step.

    Args:
        pixels: [B, 8, 8].
        labels: int [B].
        by: "pixels" or "rows".

    Returns:
        A `Batch`: float32 inputs [64, B, 1] or [8, B, 8]; int32 targets [T, B]; the mask
        is true at the last step.

    Raises:
        ValueError: for another `by`.

    Example:
        >>> from jaxrnn.tasks import digits
        >>> digits.sequences(*digits.images("test")).inputs.shape
        (64, 400, 1)
    """
    if by not in STEPS:
        raise ValueError(f"by: expected one of {tuple(STEPS)}, got {by!r}.")
    steps, batch = STEPS[by], len(labels)
    inputs = jnp.moveaxis(jnp.reshape(jnp.asarray(pixels), (batch, steps, -1)), 1, 0)
    mask = jnp.broadcast_to(clock(steps) == steps - 1, (steps, batch))
    targets = jnp.where(mask, jnp.asarray(labels, jnp.int32)[None], 0)
    return Batch(inputs, targets, mask, jnp.full(batch, steps, jnp.int32))


def baseline(split: str = "test") -> float:
    """The accuracy of always answering the most frequent digit of the training images.

    Args:
        split: the split to answer for.

    Example:
        >>> from jaxrnn.tasks import digits
        >>> digits.baseline()
        0.075
    """
    commonest = np.bincount(images("train").labels).argmax()
    return float(np.mean(images(split).labels == commonest))
