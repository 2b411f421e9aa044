"""Ragged sequences in batches of similar length."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.train.checks import check_count, check_seed
from jaxrnn.train.dataset import Kept, dataset
from jaxrnn.train.numeric import flat
from jaxrnn.train.sequences import Sequences


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
    check_seed(seed)
    rows = Sequences("sequences", sequences)
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

    @Kept
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
    axes = Bucket(xs=1, lengths=0, labels=0)
    data = dataset(
        at, count, epochs, batch_axis=axes, batch_sizes={batch}, settings=settings
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


def _runs(batches: list, most: int) -> list[list]:
    """`batches` in the fewest runs of at most `most`, of about equal length."""
    count = -(-len(batches) // most)
    return [
        batches[i * len(batches) // count : (i + 1) * len(batches) // count]
        for i in range(count)
    ]
