"""The table of the kinds of cells that other libraries have too.

A new kind is one entry in `KINDS`, and one in the table of each library that has it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrnn.cell import Cell
from jaxrnn.cells.gru import GRUParams, gru
from jaxrnn.cells.lstm import LSTMParams, lstm
from jaxrnn.cells.simple import SimpleRNNParams, simple_rnn
from jaxrnn.convert._arrays import array, held, total


class Field(NamedTuple):
    """A field of params beyond ``wx [F, G H]``, ``wh [H, G H]`` and ``b [G H]``.

    Fields:
        shape: ``(hidden) -> shape``.
        required: whether it tells the kind from others; else it is zeros where a library
            has none.
        title: what errors call it.
    """

    shape: Callable
    required: bool
    title: str


class Kind(NamedTuple):
    """A kind of cell.

    Fields:
        name: of its factory, and in `jaxrnn.Cell.spec`.
        params: the type of its params: wx, wh, b and the `fields`, in this order.
        gates: their letters, as they are packed.
        make: ``(hidden, activation) -> cell``.
        fields: name -> `Field` of the params beyond wx, wh and b.
        hidden: ``(wh, fields) -> H``, which says how many gates there are.
    """

    name: str
    params: type
    gates: str
    make: Callable[[int, Any], Cell]
    fields: Mapping[str, Field] = {}
    hidden: Callable[[np.ndarray, Mapping], int] = lambda wh, fields: len(wh)

    def fits(self, wh: np.ndarray, fields: Mapping) -> bool:
        """Whether a recurrent kernel and these fields are those of this kind."""
        required = {name for name, field in self.fields.items() if field.required}
        if not required <= set(fields) <= set(self.fields):
            return False
        width = len(self.gates) * self.hidden(wh, fields)
        return wh.ndim == 2 and 0 < width == wh.shape[1]


KINDS = (
    Kind(
        "simple_rnn",
        SimpleRNNParams,
        "h",
        lambda hidden, activation: simple_rnn(hidden, activation=activation),
    ),
    Kind(
        "gru",
        GRUParams,
        "rzn",
        lambda hidden, activation: gru(hidden),
        {"bn": Field(lambda hidden: (hidden,), False, "bias of n")},
    ),
    Kind("lstm", LSTMParams, "ifgo", lambda hidden, activation: lstm(hidden)),
)


def kind_of(params: Any) -> Kind:
    """The kind of one cell's params."""
    return next(kind for kind in KINDS if kind.params is type(params))


def named(name: str) -> Kind | None:
    """The kind of this name, or None."""
    return next((kind for kind in KINDS if kind.name == name), None)


# What errors call the arrays of one cell: wx, wh and b.
TITLES = ("input kernel", "recurrent kernel", "bias")


def assemble(
    name: str,
    wx: Any,
    wh: Any,
    biases: Sequence = (),
    *,
    dtype: np.dtype | None = None,
    titles: Sequence[str] = TITLES,
    among: Collection[str],
    **fields: Any,
) -> Any:
    """One cell's params in NumPy, from another library's arrays.

    Args:
        name: what errors call the cell.
        wx, wh: ``[F, G H]`` and ``[H, G H]``, gates in jaxrnn's order.
        biases: ``[G H]`` each; they are added. None at all is zeros.
        dtype: of the params, from `floating`; None is the arrays' own.
        titles: what errors call wx, wh and the sum of `biases`, and then the fields.
        among: the kinds that it may be, by name: those that the library has.
        fields: what else the params have, such as the GRU's ``bn [H]``.

    Raises:
        ValueError: for arrays that are no floats, whose shapes do not agree, or whose
            numbers overflow `dtype`.
    """
    fields = {field: a for field, a in fields.items() if a is not None}
    names = [f"{name}: {title}" for title in (*titles, *fields)[: 3 + len(fields)]]
    terms = [[wx], [wh], list(biases), *([a] for a in fields.values())]
    terms = [[array(n, a) for a in g] for n, g in zip(names, terms, strict=True)]
    if dtype is None:
        dtypes = {a.dtype for some in terms for a in some}
        if len(dtypes) > 1:
            raise ValueError(
                f"{name}: expected weights of one dtype, got "
                f"{sorted(map(str, dtypes))}. Give dtype='float32', or another one."
            )
        dtype = held(dtypes.pop())
    sums = [
        total(n, some, dtype) if some else None
        for n, some in zip(names, terms, strict=True)
    ]
    rest = dict(zip(fields, sums[3:], strict=True))
    return checked(name, *sums[:3], among=among, **rest)


def checked(
    name: str, wx: Any, wh: Any, b: Any = None, *, among: Collection[str], **fields: Any
) -> Any:
    """One cell's params in NumPy; the number of gates and the fields tell its kind.

    Args:
        name: what errors call the cell.
        wx, wh, b: ``[F, G H]``, ``[H, G H]`` and ``[G H]``; None is zeros.
        among: the kinds that it may be, by name.
        fields: what else there is, by the name that it has in the params.

    Raises:
        ValueError: for shapes or dtypes that do not agree, or fields that no kind has.
    """
    fields = {field: a for field, a in fields.items() if a is not None}
    kinds = [kind for kind in KINDS if kind.name in among]
    kind = _found(name, wh, fields, kinds)
    hidden = kind.hidden(wh, fields)
    width = len(kind.gates) * hidden
    if wx.ndim != 2 or wx.shape[1] != width or not len(wx):
        raise ValueError(
            f"{name}: expected an input kernel, here [F, {width}], as the "
            f"recurrent one is {list(wh.shape)}, got {list(wx.shape)}."
        )
    shapes = {"b": (width,)} | {n: f.shape(hidden) for n, f in kind.fields.items()}
    arrays = [wx, wh]
    for field, shape in shapes.items():
        part = b if field == "b" else fields.get(field)
        part = np.zeros(shape, wh.dtype) if part is None else part
        if part.shape != shape:
            title = "bias" if field == "b" else kind.fields[field].title
            title = "bias" if title.startswith("bias") else title
            raise ValueError(
                f"{name}: expected a {title} {list(shape)}, got {list(part.shape)}."
            )
        arrays.append(part)
    dtypes = {a.dtype for a in arrays}
    if len(dtypes) != 1:
        raise ValueError(
            f"{name}: expected weights of one dtype, got "
            f"{sorted(map(str, dtypes))}. Cast them first."
        )
    return kind.params(*arrays)


def _found(name: str, wh: np.ndarray, fields: Mapping, kinds: list[Kind]) -> Kind:
    """The one kind that has this recurrent kernel and these fields."""
    found = [kind for kind in kinds if kind.fits(wh, fields)]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise ValueError(
            f"{name}: expected weights of one kind of cell, got what fits "
            f"{' and '.join(kind.name for kind in found)}."
        )
    if any(kind.fits(wh, {}) for kind in kinds):
        titles = {f.title for k in KINDS for n, f in k.fields.items() if n in fields}
        owners = [f"a {k.name.upper()}" for k in KINDS if set(fields) <= set(k.fields)]
        raise ValueError(
            f"{name}: expected no {' and '.join(sorted(titles) or sorted(fields))} "
            f"except for {' or '.join(owners) or 'another cell'}, got one."
        )
    several = (
        " If axis 0 counts networks, take one of them: "
        "jax.tree.map(lambda a: a[0], ...)."
    )
    raise ValueError(
        f"{name}: expected a recurrent kernel for 1, 3 or 4 gates (simple RNN, GRU, "
        f"LSTM), here [H, gates * H], got {list(wh.shape)}.{several * (wh.ndim == 3)}"
    )
