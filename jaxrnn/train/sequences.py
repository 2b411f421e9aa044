"""Sequences of unlike lengths, in one structure, dtype and rank."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.train.numeric import beyond, flat, short


class Sequences:
    """N sequences, trees of one structure; each leaf has one dtype and rank in all rows.

    A row of no steps does not decide the dtype: NumPy makes an empty list float64.

    Args:
        name: of the argument, for errors.
        sequences: N arrays [T, ...], or N trees of them.

    Attributes:
        lengths: int [N].

    Raises:
        ValueError: naming the first row that differs.
    """

    def __init__(self, name: str, sequences: Sequence):
        self.name = name
        if isinstance(sequences, dict | str | bytes) or hasattr(sequences, "_fields"):
            raise ValueError(
                f"{name}: expected a list of arrays [T, ...] or of trees, one per "
                f"sequence, got {short(sequences)}."
            )
        if not hasattr(sequences, "__getitem__") or not hasattr(sequences, "__len__"):
            raise ValueError(
                f"{name}: expected a list, or something else with len() and [i], "
                f"got {short(sequences)}."
            )
        if not len(sequences):
            raise ValueError(f"{name}: expected at least one, got none.")
        if len(sequences) >= 2**30:
            raise ValueError(
                f"{name}: expected sequences that end, got {len(sequences)}."
            )
        first, structure = flat(f"{name}[0]", sequences[0])
        self.tree = jax.tree.unflatten(structure, range(len(first)))
        paths = [
            jax.tree_util.keystr(at) for at, _ in jax.tree.leaves_with_path(self.tree)
        ]
        forms, lengths, rows = [_Form(path) for path in paths], [], []
        for i in range(len(sequences)):
            leaves, other = flat(f"{name}[{i}]", sequences[i])
            if other != structure:
                raise ValueError(
                    f"{name}[{i}]: expected a tree like that of {name}[0], {structure}, "
                    f"got {other}."
                )
            lengths.append(_length(f"{name}[{i}]", leaves, paths))
            for form, leaf in zip(forms, leaves, strict=True):
                form.add(name, i, leaf)
            if isinstance(sequences, list | tuple):
                rows.append(jax.tree.unflatten(structure, leaves))
        self.lengths = np.array(lengths)
        # Other sequences may read from files: they are asked for rows batch by batch.
        self._sequences = rows or sequences
        column = lambda leaf: (self._row(i)[leaf] for i in range(len(lengths)))
        self.leaves = [form.settled(name, column(j)) for j, form in enumerate(forms)]

    def padded(self, numbers: Sequence, width: int, batch: int) -> Any:
        """Some rows beside each other: a tree of [width, batch, ...], zeros elsewhere."""
        out = [
            np.zeros((width, batch, *leaf.shape), leaf.dtype) for leaf in self.leaves
        ]
        for b, number in enumerate(numbers):
            length = self.lengths[number]
            for to, leaf in zip(out, self._row(number), strict=True):
                if length:
                    to[:length, b] = leaf
        return jax.tree.map(out.__getitem__, self.tree)

    def _row(self, number: Any) -> list:
        return flat(f"{self.name}[{number}]", self._sequences[int(number)])[0]


class _Leaf(NamedTuple):
    """What one leaf is in every row: [T, *shape]."""

    shape: tuple
    dtype: Any


class _Form:
    """What one leaf was in the rows so far."""

    def __init__(self, path: str):
        self.path, self.first, self.shape, self.dtypes = path, None, (), {}

    def add(self, name: str, number: int, leaf: Any) -> None:
        empty = not leaf.shape[0]
        if empty and len(leaf.shape) == 1:
            return  # no steps: it has the shape of the others
        if self.first is None:
            self.first, self.shape = number, tuple(leaf.shape[1:])
        if tuple(leaf.shape[1:]) != self.shape:
            raise ValueError(
                f"{name}[{number}]{self.path}: expected {_said(self.shape)} as "
                f"{name}[{self.first}], got {_said(leaf.shape[1:])}. A list is one array; "
                "a tree of arrays is a tuple or dict."
            )
        if not empty:
            self.dtypes.setdefault(leaf.dtype, number)

    def settled(self, name: str, column: Iterator) -> _Leaf:
        """What holds all rows. Reads them only where integers stand beside floats."""
        dtypes = list(self.dtypes)
        if not dtypes:
            return _Leaf(self.shape, next(column).dtype)
        for i in range(1, len(dtypes)):
            if _joined(dtypes[: i + 1]) is None:
                number = self.dtypes[dtypes[i]]
                raise ValueError(
                    f"{name}[{number}]{self.path}: expected {_said(self.shape)} "
                    f"{_joined(dtypes[:i])} as {name}[{self.dtypes[dtypes[0]]}], got "
                    f"{dtypes[i]}, and no dtype holds both. Cast some rows."
                )
        dtype = _joined(dtypes)
        if any(_may_lose(d, dtype) for d in dtypes):
            for i, leaf in enumerate(column):
                if _may_lose(leaf.dtype, dtype) and beyond(np.asarray(leaf), dtype):
                    raise ValueError(
                        f"{name}[{i}]{self.path}: expected integers that {dtype} holds, "
                        "the dtype of all rows together, got larger ones. Cast some rows."
                    )
        return _Leaf(self.shape, dtype)


def _length(name: str, leaves: list, paths: list) -> int:
    sizes = set()
    for path, leaf in zip(paths, leaves, strict=True):
        if not leaf.shape:
            raise ValueError(
                f"{name}{path}: expected an array [T, ...], got a scalar. A list is an "
                "array; a tuple is a tree of arrays."
            )
        sizes.add(leaf.shape[0])
    if len(sizes) != 1:
        raise ValueError(
            f"{name}: expected arrays [T, ...] of one T, got {sorted(sizes)}."
        )
    return sizes.pop()


def _joined(dtypes: list) -> Any:
    """The dtype that holds all, or None. Integers alone never become floats."""
    try:
        dtype = np.result_type(*dtypes)
    except TypeError:
        return None
    whole = all(d == np.bool_ or jax.numpy.issubdtype(d, np.integer) for d in dtypes)
    return None if whole and jax.numpy.issubdtype(dtype, np.inexact) else dtype


def _may_lose(dtype: Any, to: Any) -> bool:
    """Whether integers `dtype` have values that floats `to` do not."""
    if not jax.numpy.issubdtype(dtype, np.integer) or dtype == to:
        return False
    if not jax.numpy.issubdtype(to, np.inexact):
        return False
    return jax.numpy.iinfo(dtype).max > 2 ** (jax.numpy.finfo(to).nmant + 1)


def _said(shape: Sequence) -> str:
    return "[" + ", ".join(["T", *map(str, shape)]) + "]"
