"""A corpus as contiguous streams, for truncated backpropagation through time."""

from typing import Any, NamedTuple

import numpy as np

from jaxrnn.train.checks import check_count
from jaxrnn.train.dataset import dataset
from jaxrnn.train.numeric import array


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
    axes = Window(1, 1, 1)
    return dataset(
        at, count, epochs, batch_axis=axes, batch_sizes={batch}, settings=settings
    )
