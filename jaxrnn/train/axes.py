"""Which axis of a batch holds its rows."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def batch_axes(batch: Any, batch_axis: Any = None, parts: int = 1) -> Any:
    """The batch axis of each leaf of `batch`, checked.

    Args:
        batch: a tree of arrays.
        batch_axis: an int, or a tree of ints that `batch`'s structure begins with; None:
            what the batch's own ``batch_axis`` says, else inferred from the shapes.
        parts: into how many equal parts the rows must divide.

    Raises:
        ValueError: where a leaf has no such axis, leaves differ in their number of rows,
            that number does not divide, or shapes leave more than one choice.
    """
    if batch_axis is None:
        batch_axis = getattr(batch, "batch_axis", None)
    if batch_axis is None:
        axes = _inferred(batch)
    else:
        try:
            spread = lambda axis, part: jax.tree.map(lambda _: axis, part)
            axes = jax.tree.map(spread, batch_axis, batch)
        except ValueError as error:
            raise ValueError(
                f"batch_axis: expected an int or ints in a tree like the batch, "
                f"got {batch_axis}. {error}"
            ) from None
    rows = None
    leaves = jax.tree.leaves_with_path(batch)
    for (path, leaf), axis in zip(leaves, jax.tree.leaves(axes), strict=True):
        name = f"batch{jax.tree_util.keystr(path)}"
        shape = np.shape(leaf)
        if not 0 <= axis < len(shape):
            raise ValueError(
                f"{name}: expected the batch on axis {axis}, got shape {list(shape)}. "
                "Say where it is by batch_axis, an int or a tree of them like the batch."
            )
        rows = shape[axis] if rows is None else rows
        if shape[axis] != rows:
            raise ValueError(
                f"{name}: expected {rows} rows on axis {axis}, as in the first leaf, "
                f"got shape {list(shape)}. Say where the batch is by batch_axis."
            )
    if rows is not None and rows % parts:
        raise ValueError(
            f"batch: expected a number of rows that {parts} divides "
            f"(accumulate times devices), got {rows}."
        )
    return axes


def _inferred(batch: Any) -> Any:
    """Where the rows are, from shapes alone: axis 1 where all agree, as time is first.

    Otherwise the one choice of axis 0 or 1 for each leaf that gives all as many rows.
    """
    leaves, tree = jax.tree.flatten(batch)
    shapes = [np.shape(leaf) for leaf in leaves]
    if all(len(shape) > 1 for shape in shapes) and len({s[1] for s in shapes}) < 2:
        return tree.unflatten([1] * len(leaves))
    choices = []
    for rows in set.intersection(*(set(shape[:2]) for shape in shapes)):
        fits = [[n for n in (1, 0) if s[n : n + 1] == (rows,)] for s in shapes]
        choices += itertools.islice(itertools.product(*fits), 2)
    if len(choices) == 1:
        return tree.unflatten(choices[0])
    listed = ", ".join(
        f"batch{jax.tree_util.keystr(path)} {list(np.shape(leaf))}"
        for path, leaf in jax.tree.leaves_with_path(batch)
    )
    # Time first and labels [B], where no choice fits.
    choices = choices or [[int(len(shape) > 1) for shape in shapes]]
    texts = [f"batch_axis={_text(tree.unflatten(choice))}" for choice in choices]
    raise ValueError(
        f"batch: cannot tell which axis holds the rows of {listed}. Write the axis of "
        f"each, such as {' or '.join(texts)}."
    )


def _text(axes: Any) -> str:
    """A tree of ints as it is written in a program."""
    names = getattr(axes, "_fields", None)
    if isinstance(axes, tuple) and names is not None:
        fields = [(name, _text(getattr(axes, name))) for name in names]
        inner = ", ".join(f"{name}={value}" for name, value in fields)
        return f"{type(axes).__name__}({inner})"
    if isinstance(axes, tuple):
        return f"({', '.join(map(_text, axes))}{',' * (len(axes) == 1)})"
    if isinstance(axes, list):
        return f"[{', '.join(map(_text, axes))}]"
    if isinstance(axes, dict):
        return "{" + ", ".join(f"{k!r}: {_text(v)}" for k, v in axes.items()) + "}"
    return repr(axes)


def rows_divide(batch: Any, axes: Any, parts: int) -> bool:
    """Whether the rows of `batch` divide into that many equal parts."""
    sizes = jax.tree.leaves(
        jax.tree.map(lambda a, axis: np.shape(a)[axis], batch, axes)
    )
    return all(size % parts == 0 for size in sizes)


def in_parts(tree: Any, axes: Any, parts: int) -> Any:
    """Each leaf's rows in that many parts: ``[parts, ..., rows / parts, ...]``."""

    def one(a, axis):
        rows = a.shape[axis] // parts
        shape = (*a.shape[:axis], parts, rows, *a.shape[axis + 1 :])
        return jnp.moveaxis(a.reshape(shape), axis, 0)

    return jax.tree.map(one, tree, axes)
