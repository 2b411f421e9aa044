"""Batches of rows from arrays: `arrays`."""

from typing import Any

import jax
import numpy as np

from jaxrnn.train.axes import batch_axes
from jaxrnn.train.checks import check_count, check_seed
from jaxrnn.train.dataset import Kept, dataset
from jaxrnn.train.numeric import flat


def arrays(
    tree: Any,
    batch: int,
    *,
    batch_axis: Any = None,
    seed: int | None = None,
    epochs: int | None = None,
    drop_last: bool = True,
) -> Any:
    """Batches of rows from NumPy arrays.

    Args:
        tree: an array or a tree of arrays, such as ``(xs [T, N, F], labels [N])``. A list
            is one array; trees are tuples, NamedTuples and dicts.
        batch: rows per batch.
        batch_axis: the axis of the N rows in each leaf: an int, or a tree of ints like
            `tree`; None: inferred from the shapes, axis 1 where all leaves have the same
            size there. It is the batch axis of the batches too.
        seed: for the order of the rows, which differs in each epoch; None: not shuffled.
        epochs: how often each row is seen; None: no end. Validation data need an end.
        drop_last: whether the last rows of an epoch are left out if they do not fill a
            batch. Otherwise the last batch is smaller.

    Returns:
        A ``grain.MapDataset`` of trees like `tree`.

    Raises:
        ValueError: if a leaf is not an array of numbers or bools, if leaves differ in N,
            or if there are fewer rows than one batch holds.

    Example:
        >>> import numpy as np
        >>> from jaxrnn import train
        >>> xs, labels = np.arange(24.0).reshape(3, 4, 2), np.arange(4)
        >>> data = train.arrays((xs, labels), 2, batch_axis=(1, 0), seed=0)
        >>> some_xs, some_labels = data[5]
        >>> some_xs.shape, bool((some_xs == xs[:, some_labels]).all())
        ((3, 2, 2), True)
    """
    check_count("batch", batch)
    check_seed(seed)
    for leaf in jax.tree.leaves(tree, is_leaf=lambda a: isinstance(a, list)):
        if isinstance(leaf, list) and any(getattr(a, "shape", ()) for a in leaf):
            raise ValueError(
                "tree: expected arrays, got a list of arrays. Write a tuple, (xs, labels), "
                "for several arrays, and np.stack(list) for one."
            )
    leaves, structure = flat("tree", tree)
    tree = jax.tree.unflatten(structure, leaves)
    axes = batch_axes(tree, batch_axis)
    leaf, axis = jax.tree.leaves(tree)[0], jax.tree.leaves(axes)[0]
    rows = leaf.shape[axis]
    count = rows // batch if drop_last else -(-rows // batch)
    if count == 0:
        raise ValueError(
            f"batch: expected at most {rows}, the rows there are, got {batch}."
        )

    @Kept
    def order(epoch: int) -> Any:
        return np.random.default_rng((seed or 0, epoch)).permutation(rows)

    def at(epoch: int, n: int) -> Any:
        chosen: Any = slice(n * batch, (n + 1) * batch)
        chosen = chosen if seed is None else order(epoch)[chosen]
        cut = lambda a, axis: np.asarray(a[(slice(None),) * axis + (chosen,)])
        return jax.tree.map(cut, tree, axes)

    kept = {batch} if rows % batch == 0 or drop_last else {batch, rows % batch}
    return dataset(
        at,
        count,
        epochs,
        batch_axis=axes,
        batch_sizes=kept if rows >= batch else {rows},
        settings=dict(
            name="arrays", batch=batch, seed=seed, drop_last=drop_last, rows=rows
        ),
    )
