"""Where the rows of a batch are: told by its type, inferred from shapes, or asked for."""

from typing import NamedTuple

import numpy as np
import pytest

from jaxrnn import train
from jaxrnn.train.axes import batch_axes


class Pair(NamedTuple):
    xs: np.ndarray
    labels: np.ndarray


def a(*shape):
    return np.zeros(shape)


INFERRED = {
    "time first": (a(5, 4, 3), 1),
    "and a mask": ((a(5, 4, 3), a(5, 4)), (1, 1)),
    "labels": ((a(5, 4, 3), a(4)), (1, 0)),
    "named labels": (Pair(a(5, 4, 3), a(4)), Pair(1, 0)),
    "labels of many": ({"xs": a(5, 4, 3), "ys": a(4, 7)}, {"xs": 1, "ys": 0}),
    "vectors": (a(4), 0),
    "no time": ((a(4, 3), a(4)), (0, 0)),
    "as long as wide": ((a(4, 4, 3), a(4, 4)), (1, 1)),
    "a window": (train.Window(a(5, 4), a(5, 4), a(5, 4)), train.Window(1, 1, 1)),
    "a bucket": (train.Bucket(a(4, 4, 3), a(4), None), train.Bucket(1, 0, None)),
    "a bucket with labels": (
        train.Bucket({"a": a(4, 4)}, a(4), (a(4, 2), a(4))),
        train.Bucket({"a": 1}, 0, (0, 0)),
    ),
}


@pytest.mark.parametrize("name", INFERRED)
def test_inferred(name):
    batch, axes = INFERRED[name]
    assert batch_axes(batch) == axes


REFUSED = {
    "as long as wide": ((a(4, 4, 3), a(4)), "batch_axis=(1, 0) or batch_axis=(0, 0)"),
    "no common size": ({"x": a(5, 4), "y": a(3)}, "batch_axis={'x': 1, 'y': 0}"),
    "a number": ([a(5, 4), a()], "batch_axis=[1, 0]"),
    "named": (Pair(a(4, 4, 3), a(4)), "batch_axis=Pair(xs=1, labels=0)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_what_to_write(name):
    batch, said = REFUSED[name]
    with pytest.raises(ValueError, match="cannot tell which axis") as raised:
        batch_axes(batch)
    assert said in str(raised.value)
