"""An iterable of batches: what is one, which axis holds its rows, and whether it ends."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxrnn._extra import need
from jaxrnn.train.axes import batch_axes
from jaxrnn.train.dataset import attribute_of
from jaxrnn.train.numeric import array, is_data

MANY = 2**30  # batches: nobody waits for the end of so many


def check_batches(name: str, data: Any) -> None:
    """Raises ValueError unless `data` can be an iterable of batches.

    A list holds batches, and so does a tuple of trees of one structure. An array, a dict, a
    NamedTuple, a tuple of arrays, and a list of arrays of different rank are one batch.
    """
    if callable(data) and not hasattr(data, "__iter__"):
        raise ValueError(
            f"{name}: expected an iterable of batches, got a function. Call it for each: "
            "[draw(key) for key in jax.random.split(key, 10)]."
        )
    if _is_one_batch(data):
        raise ValueError(
            f"{name}: expected an iterable of batches, got one batch, a "
            f"{type(data).__name__}. Write [batch] to use it again and again, or let "
            "train.arrays(batch, rows, batch_axis=...) cut batches from it."
        )
    iterates = any(hasattr(data, name) for name in ("__iter__", "__getitem__"))
    if isinstance(data, str | bytes) or not iterates:
        raise ValueError(
            f"{name}: expected an iterable of batches, got {type(data).__name__}."
        )
    if isinstance(data, Sequence) and not len(data):
        raise ValueError(f"{name}: expected at least one batch, got none.")


def check_ends(name: str, batches: Any) -> None:
    """`check_batches`, and a ValueError if `batches` are known to have no end."""
    check_batches(name, batches)
    if _endless(batches):
        raise ValueError(
            f"{name}: expected batches that end, got a data set without end. Write "
            "epochs=1 in train.arrays, train.buckets or train.streams, and a number in "
            "grain's repeat()."
        )


def check_valid(valid: Any) -> None:
    """`check_ends`, and a ValueError unless every validation can begin anew."""
    check_ends("valid", valid)
    if hasattr(valid, "__next__"):
        raise ValueError(
            "valid: expected batches that every validation can go through anew, got a "
            f"{type(valid).__name__}, which gives them once. Give a data set or a list, "
            "such as list(itertools.islice(valid, 10))."
        )


def check_rows(data: Any, batch_axis: Any, parts: int) -> None:
    """Raises ValueError if a batch of `data` is known to have rows that do not divide.

    Known are lists, and the library's own data sets, also after grain's transformations
    that leave batches as they are.
    """
    if parts == 1 or callable(data):
        return
    if isinstance(data, Sequence):
        for batch in data:
            batch_axes(batch, batch_axis, parts)
    wrong = [n for n in attribute_of(data, "batch_sizes") or () if n % parts]
    if wrong:
        raise ValueError(
            f"data: expected batches of rows that {parts} divides (accumulate times "
            f"devices), got some of {', '.join(map(str, wrong))}. Choose another batch, "
            "or drop_last=True where only the last one is short."
        )


def batch_axis_of(data: Any, batch_axis: Any) -> Any:
    """`batch_axis`; if it is None, what `data` says of itself; None: unknown."""
    return attribute_of(data, "batch_axis") if batch_axis is None else batch_axis


def each(name: str, batches: Iterable) -> Iterator:
    """The batches of an iterable that ends, each checked.

    Raises:
        ValueError: for one that has no end, for one batch, or batches without arrays.
    """
    check_ends(name, batches)
    for batch in iterator_of(batches):
        yield checked(name, batch)


def checked(name: str, batch: Any) -> Any:
    """`batch`, after a ValueError unless it is a tree of numbers."""
    leaves = jax.tree.leaves_with_path(batch)
    if not leaves:
        raise ValueError(f"{name}: expected batches, trees of arrays, got {batch!r}.")
    for path, leaf in leaves:
        dtype = getattr(leaf, "dtype", None)
        if not isinstance(dtype, np.dtype) or not is_data(dtype):
            array(
                f"{name}: batch{jax.tree_util.keystr(path)}", leaf
            )  # says what is wrong
    return batch


def iterator_of(data: Any) -> Any:
    """A new iterator; of a grain dataset one that reads a few batches ahead."""
    if hasattr(data, "to_iter_dataset"):
        ahead = need("grain").ReadOptions(num_threads=2, prefetch_buffer_size=8)
        data = data.to_iter_dataset(ahead)
    return iter(data)


def _is_one_batch(data: Any) -> bool:
    is_array = lambda a: hasattr(a, "shape") and hasattr(a, "dtype")
    if isinstance(data, Mapping) or is_array(data) or hasattr(data, "_fields"):
        return True
    if isinstance(data, tuple):
        return any(map(is_array, data)) or len(set(map(jax.tree.structure, data))) > 1
    if isinstance(data, list):  # (xs, labels), but in brackets
        return all(map(is_array, data)) and len({len(a.shape) for a in data}) > 1
    return False


def _endless(data: Any) -> bool:
    if isinstance(data, itertools.count | itertools.cycle):
        return True
    if isinstance(data, itertools.repeat):
        try:
            return data.__length_hint__() >= MANY
        except TypeError:  # it has no length
            return True
    if hasattr(data, "__len__"):
        return len(data) >= MANY
    # Grain's data sets and iterators that do not know their length.
    if "Limit" in type(data).__name__:
        return False
    if getattr(data, "_num_epochs", 1) is None:
        return True
    before = [getattr(data, name, None) for name in ("_map_parent", "_sampler")]
    before = [*getattr(data, "_parents", ()), *(a for a in before if a is not None)]
    return bool(before) and all(map(_endless, before))
