"""Data sets: each batch is a pure function of its number, so that a run can resume.

`arrays`, `streams` and `buckets` return a ``grain.MapDataset``. ``data[n]`` is batch n. The
iterator reads ahead in threads; its position is saved in checkpoints. Grain
(https://google-grain.readthedocs.io) can also shuffle, map and mix data sets. Arrays may be
memory-mapped: a batch reads only its own part.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.extra import need
from jaxrnn.train.parallel import batch_axes
from jaxrnn.train.rows import Rows, array, flat
from jaxrnn.train.step import check_count

FOREVER = 2**40  # the length in batches of a data set without end: grain needs a number


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
    _check_seed(seed)
    for part in jax.tree.leaves(tree, is_leaf=lambda a: isinstance(a, list)):
        if isinstance(part, list) and any(getattr(a, "shape", ()) for a in part):
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

    @_kept
    def order(epoch: int) -> Any:
        return np.random.default_rng((seed or 0, epoch)).permutation(rows)

    def at(epoch: int, n: int) -> Any:
        chosen: Any = slice(n * batch, (n + 1) * batch)
        chosen = chosen if seed is None else order(epoch)[chosen]
        cut = lambda a, axis: np.asarray(a[(slice(None),) * axis + (chosen,)])
        return jax.tree.map(cut, tree, axes)

    kept = {batch} if rows % batch == 0 or drop_last else {batch, rows % batch}
    return _dataset(
        at,
        count,
        epochs,
        batch_axis=axes,
        batch_sizes=kept if rows >= batch else {rows},
        settings=dict(
            name="arrays", batch=batch, seed=seed, drop_last=drop_last, rows=rows
        ),
    )


class Window(NamedTuple):
    """A window of a stream of tokens, time first; all [T, B].

    Fields:
        inputs: tokens, in the dtype of the corpus.
        targets: the next token for each input.
        resets: bool, True where a document or the corpus begins; pass them to `unroll`.
    """

    inputs: Any
    targets: Any
    resets: Any

    @property
    def batch_axis(self) -> "Window":
        """The axis of the rows in each leaf, as `make_step` takes it."""
        return Window(1, 1, 1)


def streams(
    tokens: Any,
    batch: int,
    length: int,
    *,
    separator: int | None = None,
    epochs: int | None = None,
) -> Any:
    """A corpus as contiguous streams, for truncated backpropagation through time.

    The corpus is cut into `batch` pieces of equal length. Each piece is one row of every
    batch. A window continues the one before it, so the carry flows from batch to batch.

    Args:
        tokens: integers [N]: an array, which may be memory-mapped, or a list.
        batch: B, rows per batch.
        length: T, steps per window.
        separator: the token before or between documents. It resets the carry and is then
            read as the first token of its document. None: no separator.
        epochs: how often the corpus is read; None: no end. Each epoch begins with a reset.

    Returns:
        A ``grain.MapDataset`` of `Window`. Tokens at the end of a row that do not fill a
        window (fewer than T) are left out.

    Raises:
        ValueError: if the tokens are not integers [N] or too few for one window, or if
            their dtype cannot hold the separator.

    Example:
        >>> import numpy as np
        >>> from jaxrnn import train
        >>> data = train.streams(np.arange(21), batch=2, length=5)
        >>> data[0].inputs[:, 0].tolist(), data[1].inputs[:, 0].tolist()
        ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
        >>> data[1].targets[:, 1].tolist(), data[2].resets[:, 1].tolist()
        ([16, 17, 18, 19, 20], [True, False, False, False, False])
    """
    check_count("batch", batch)
    check_count("length", length)
    tokens = array("tokens", tokens, "integers [N]")
    if len(tokens.shape) != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(
            f"tokens: expected integers [N], got {tokens.dtype} {list(tokens.shape)}."
        )
    if separator is not None:
        check_count("separator", separator, least=np.iinfo(tokens.dtype).min)
        if separator > np.iinfo(tokens.dtype).max:
            raise ValueError(
                f"separator: expected one of the tokens, which are {tokens.dtype}, "
                f"got {separator}."
            )
    row = (len(tokens) - 1) // batch
    count = row // length
    if count == 0:
        raise ValueError(
            f"tokens: expected at least {batch * length + 1} for one window of "
            f"{length} steps and {batch} rows, got {len(tokens)}."
        )

    def at(epoch: int, n: int) -> Window:
        starts = n * length + row * np.arange(batch)
        cut = np.stack([tokens[s : s + length + 1] for s in starts], axis=1)
        inputs, targets = cut[:-1], cut[1:]
        resets = (
            np.zeros(inputs.shape, bool) if separator is None else inputs == separator
        )
        resets[0] |= n == 0
        return Window(inputs, targets, resets)

    settings = dict(name="streams", batch=batch, length=length, separator=separator)
    settings["tokens"] = len(tokens)
    where = Window(1, 1, 1)
    return _dataset(
        at, count, epochs, batch_axis=where, batch_sizes={batch}, settings=settings
    )


class Bucket(NamedTuple):
    """A batch of sequences of similar length, padded to one width W; time first.

    Fields:
        xs: an array or a tree of arrays [W, B, ...], zero beyond each row's length.
        lengths: int32 [B]. It is 0 in rows that only fill the batch.
        labels: an array or a tree of arrays [B, ...], zero in rows that only fill the
            batch, or None. A loss per sequence is weighted by ``lengths > 0``.
    """

    xs: Any
    lengths: Any
    labels: Any

    @property
    def batch_axis(self) -> "Bucket":
        """The axis of the rows in each leaf, as `make_step` takes it."""
        return Bucket(xs=1, lengths=0, labels=0)


def buckets(
    sequences: Sequence[Any],
    batch: int,
    *,
    labels: Any = None,
    widths: Sequence[int] | None = None,
    seed: int | None = None,
    epochs: int | None = None,
    run: int = 16,
) -> Any:
    """Ragged sequences, batched with others of similar length to save padding.

    A sequence goes into the narrowest bucket that it fits in. `fit` compiles one program
    per width. If the sequences of a bucket do not fill its last batch, rows of length 0
    do. Pass `lengths` to `unroll` and weight losses by token (`mean`): these rows then
    have weight 0. Such a batch is still a whole update, on a mean over fewer sequences:
    choose `widths` that many sequences share.

    Args:
        sequences: N arrays [T, ...], or N trees of them with the same structure. A list,
            such as the token ids of a sentence, is one array; trees are tuples,
            NamedTuples and dicts. All rows get one dtype, which holds each of them.
        batch: B, rows per batch.
        labels: an array or a list [N, ...], a tree of them, or None.
        widths: of the buckets; None: the powers of two, and the longest length.
        seed: for the order, which differs in each epoch; None: from short to long.
        epochs: how often each sequence is seen; None: no end. Validation data need an end.
        run: with a seed, how many batches of one width follow each other, at most. The
            runs come in random order. One compiled call takes a whole run; 1 mixes widths
            best and makes a call per update.

    Returns:
        A ``grain.MapDataset`` of `Bucket`.

    Raises:
        ValueError: if there are no sequences, if one differs from the first in rank,
            trailing shape or structure, if no dtype holds all of them, if they are not
            numbers or bools, if one is longer than every width, or if the number of
            labels is not N.

    Example:
        >>> import numpy as np
        >>> from jaxrnn import train
        >>> words = [np.arange(n) for n in (3, 9, 4, 2)]
        >>> data = train.buckets(words, 2, labels=np.arange(4), epochs=1)
        >>> [(b.xs.shape, b.lengths.tolist(), b.labels.tolist()) for b in data]
        [((2, 2), [2, 0], [3, 0]), ((4, 2), [3, 4], [0, 2]), ((9, 2), [9, 0], [1, 0])]
    """
    check_count("batch", batch)
    check_count("run", run)
    _check_seed(seed)
    rows = Rows("sequences", sequences)
    lengths, longest = rows.lengths, int(rows.lengths.max())
    if widths is None:
        doubling = [2**n for n in range(longest.bit_length()) if 2**n < longest]
        widths = [*doubling, max(longest, 1)]
    for width in np.atleast_1d(widths):
        check_count("widths", width, least=0)
    width_of = sorted(map(int, np.atleast_1d(widths)))
    if longest > max(width_of, default=0):
        raise ValueError(
            f"widths: expected one of at least {longest}, the longest sequence, "
            f"got {width_of}."
        )
    if labels is not None:
        leaves, structure = flat("labels", labels)
        for leaf in leaves:
            if not leaf.shape or len(leaf) != len(lengths):
                raise ValueError(
                    f"labels: expected {len(lengths)}, one per sequence, got "
                    f"{len(leaf) if leaf.shape else 'a scalar'}. A list is one array."
                )
        labels = jax.tree.unflatten(structure, map(np.asarray, leaves))
    bucket = np.searchsorted(width_of, lengths)
    members = [np.flatnonzero(bucket == i) for i in range(len(width_of))]
    counts = [-(-len(some) // batch) for some in members]
    count = sum(counts)

    @_kept
    def plan(epoch: int) -> list:
        draws = np.random.default_rng((seed or 0, epoch))
        made = []
        for width, some in zip(width_of, members, strict=True):
            some = some if seed is None else draws.permutation(some)
            cut = [(width, some[i : i + batch]) for i in range(0, len(some), batch)]
            made += [cut] if seed is None else _runs(cut, run)
        order = range(len(made)) if seed is None else draws.permutation(len(made))
        return [batch for i in order for batch in made[i]]

    def at(epoch: int, n: int) -> Bucket:
        width, some = plan(epoch)[n]

        def chosen(leaf):
            out = np.zeros((batch, *leaf.shape[1:]), leaf.dtype)
            out[: len(some)] = leaf[some]
            return out

        filled = np.zeros(batch, np.int32)
        filled[: len(some)] = lengths[some]
        xs = rows.padded(some, width, batch)
        return Bucket(xs, filled, jax.tree.map(chosen, labels))

    settings = dict(name="buckets", batch=batch, seed=seed, widths=width_of, run=run)
    settings["rows"] = len(lengths)
    where = Bucket(xs=1, lengths=0, labels=0)
    data = _dataset(
        at, count, epochs, batch_axis=where, batch_sizes={batch}, settings=settings
    )
    longest = lambda n: n if seed is None else -(-n // -(-n // run))
    data.runs = {w: longest(n) for w, n in zip(width_of, counts, strict=True) if n}
    return data


def longest_run(data: Any, batch: Any) -> int | None:
    """How many batches of the width of `batch` follow each other, at most.

    None where that is unknown: for data sets other than `buckets`.
    """
    runs = getattr(data, "runs", {})
    return runs.get(len(jax.tree.leaves(batch.xs)[0])) if runs else None


# Grain's transformations that do not change batches.
_SAME = "Slice Repeat Shuffle Prefetch Limit Filter WithOptions WithSeed".split()


def told(data: Any, name: str) -> Any:
    """An attribute of a data set from `arrays`, `streams` or `buckets`, or None.

    It is found through grain's transformations that do not change batches.
    """
    while not hasattr(data, name):
        parents = getattr(data, "_parents", ())
        same = any(word in type(data).__name__ for word in _SAME)
        if len(parents) != 1 or not same:
            return None
        (data,) = parents
    return getattr(data, name)


def about(data: Any) -> dict:
    """Settings of a grain data set for JSON, and the transformations after its source."""
    then = []
    while not hasattr(data, "settings") and len(getattr(data, "_parents", ())) == 1:
        then.append(type(data).__name__)
        (data,) = data._parents
    settings = getattr(data, "settings", {"name": type(data).__name__})
    return settings | ({"then": then[::-1]} if then else {})


def _runs(batches: list, most: int) -> list[list]:
    """`batches` in the fewest runs of at most `most`, of about equal length."""
    parts = -(-len(batches) // most)
    return [
        batches[i * len(batches) // parts : (i + 1) * len(batches) // parts]
        for i in range(parts)
    ]


class _kept:
    """`make(epoch)`, kept for the last two epochs. `functools.lru_cache` has no pickle."""

    def __init__(self, make: Callable):
        self.make, self.made = make, {}

    def __call__(self, epoch: int) -> Any:
        made = self.made  # never changed, only replaced: grain reads in threads
        if epoch not in made:
            made = dict([*made.items(), (epoch, self.make(epoch))][-2:])
            self.made = made
        return made[epoch]

    def __reduce__(self):
        return _kept, (self.make,)


def _check_seed(seed: Any) -> None:
    if seed is not None:
        check_count("seed", seed, least=0)


class _Batches:
    """Batch i over all epochs: the source that grain reads."""

    def __init__(self, at: Callable, count: int, epochs: int | None):
        self.at, self.count = at, count
        self.size = FOREVER if epochs is None else count * epochs

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        return self.at(*divmod(int(i), self.count))


def _dataset(
    at: Callable,
    count: int,
    epochs: int | None,
    *,
    batch_axis: Any,
    batch_sizes: set[int],
    settings: dict,
) -> Any:
    """A data set whose batch n of epoch e is ``at(e, n)``; `fit` reads the attributes."""
    if epochs is not None:
        check_count("epochs", epochs)
    data: Any = need("grain").MapDataset.source(_Batches(at, count, epochs))
    data.batch_axis, data.batch_sizes = batch_axis, frozenset(batch_sizes)
    whole = lambda a: int(a) if isinstance(a, np.integer) else a
    data.settings = jax.tree.map(whole, settings | dict(epochs=epochs))
    return data
