"""One cell's params from another library's arrays, once its kind is found."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrnn.convert import _kinds
from jaxrnn.convert._arrays import array, held, total
from jaxrnn.convert._kind import Kind, Layout

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
    among: Sequence[Kind],
    **fields: Any,
) -> Any:
    """One cell's params in NumPy, from another library's arrays.

    Args:
        name: what errors call the cell.
        wx, wh: ``[F, G H]`` and ``[H, G H]``, gates in jaxrnn's order.
        biases: ``[G H]`` each; they are added. None at all is zeros.
        dtype: of the params, from `floating`; None is the arrays' own.
        titles: what errors call wx, wh and the sum of `biases`, and then the fields.
        among: the kinds that it may be: those that the library has.
        fields: what else the params have, such as the GRU's ``bn [H]``.

    Raises:
        ValueError: for arrays that are no floats, whose shapes do not agree, or whose
            numbers overflow `dtype`.
    """
    fields = {field: a for field, a in fields.items() if a is not None}
    names = [f"{name}: {title}" for title in (*titles, *fields)[: 3 + len(fields)]]
    terms = [[wx], [wh], list(biases), *([a] for a in fields.values())]
    terms = [[array(n, a) for a in some] for n, some in zip(names, terms, strict=True)]
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
    name: str, wx: Any, wh: Any, b: Any = None, *, among: Sequence[Kind], **fields: Any
) -> Any:
    """One cell's params in NumPy; the number of gates and the fields tell its kind.

    Args:
        name: what errors call the cell.
        wx, wh, b: ``[F, G H]``, ``[H, G H]`` and ``[G H]``; None is zeros.
        among: the kinds that it may be.
        fields: what else there is, by the name that it has in the params.

    Raises:
        ValueError: for shapes or dtypes that do not agree, or fields that no kind has.
    """
    fields = {field: a for field, a in fields.items() if a is not None}
    kind = _found(name, wh, fields, among)
    weights = {"wx": wx, "wh": wh, **fields}
    width = kind.width(weights)
    if wx.ndim != wh.ndim or wx.shape[-1] != width or 0 in wx.shape:
        space = "*kernel, " * kind.images
        raise ValueError(
            f"{name}: expected an input kernel, here [{space}F, {width}], as the "
            f"recurrent one is {list(wh.shape)}, got {list(wx.shape)}."
        )
    made = [wx, wh]
    for field, shape in kind.shapes(weights).items():
        a = b if field == "b" else fields.get(field)
        a = np.zeros(shape, wh.dtype) if a is None else a
        if a.shape != shape:
            title = "bias" if field == "b" else kind.fields[field].title
            title = "bias" if title.startswith("bias") else title
            raise ValueError(
                f"{name}: expected a {title} {list(shape)}, got {list(a.shape)}."
            )
        made.append(a)
    dtypes = {a.dtype for a in made}
    if len(dtypes) != 1:
        raise ValueError(
            f"{name}: expected weights of one dtype, got "
            f"{sorted(map(str, dtypes))}. Cast them first."
        )
    return kind.params(*made)


def only_one(name: str, kinds: Sequence[Kind]) -> Kind:
    """The one kind that weights fit, or a ValueError that names them all."""
    if len(kinds) > 1:
        raise ValueError(
            f"{name}: expected weights of one kind of cell, got what fits "
            f"{' and '.join(kind.name for kind in kinds)}."
        )
    return kinds[0]


def matched(
    name: str,
    wh: np.ndarray,
    tensors: Mapping[str, np.ndarray],
    candidates: Sequence[tuple[Kind, Layout]],
) -> tuple[Kind, Layout, dict] | None:
    """The one kind that has a recurrent kernel and other arrays of these names.

    Args:
        name: what errors call the cell.
        wh: ``[H, G H]``.
        tensors: the library's name -> array, beyond kernels and biases.
        candidates: from `kinds_of`.

    Returns:
        The kind, its layout and its fields, or None for no kind.

    Raises:
        ValueError: for several kinds.
    """
    found = []
    for kind, layout in candidates:
        fields = {f: tensors[n] for f, n in layout.tensors.items() if n in tensors}
        if len(fields) == len(tensors) and kind.fits(wh, fields):
            found.append((kind, layout, fields))
    kinds = _narrowed([(kind, fields) for kind, _, fields in found], wh)
    if not kinds:
        return None
    kind = only_one(name, kinds)
    return next(match for match in found if match[0] is kind)


def refuse(
    name: str,
    wx: Any,
    wh: Any,
    biases: Sequence,
    tensors: Mapping[str, np.ndarray],
    candidates: Sequence[tuple[Kind, Layout]],
    otherwise: str | None = None,
    **options: Any,
) -> ValueError:
    """The error for arrays for which `matched` finds no kind.

    `assemble` says what is wrong with their shapes; where nothing is, `otherwise` is said.
    """
    owned = {n: f for _, one in candidates for f, n in one.tensors.items()}
    fields: dict[str, Any] = {owned[n]: a for n, a in tensors.items()}
    options["titles"] = (*options["titles"][:3], *tensors)
    kinds = [kind for kind, _ in candidates]
    try:
        assemble(name, wx, wh, biases, among=kinds, **options, **fields)
    except ValueError as error:
        return error
    more = f"{name}: expected the arrays of one kind of cell, got {sorted(tensors)}."
    return ValueError(otherwise or more)


def _narrowed(found: list[tuple[Kind, Mapping]], wh: np.ndarray) -> list[Kind]:
    """Of the kinds that fit, those whose fields have the right shapes too, if any."""
    exact = []
    for kind, fields in found:
        shapes = kind.shapes({"wx": wh, "wh": wh, **fields})
        if all(a.shape == shapes[field] for field, a in fields.items()):
            exact.append(kind)
    return exact or [kind for kind, _ in found]


def _found(name: str, wh: np.ndarray, fields: Mapping, kinds: Sequence[Kind]) -> Kind:
    """The one kind that has this recurrent kernel and these fields."""
    found = [(kind, fields) for kind in kinds if kind.fits(wh, fields)]
    if found:
        return only_one(name, _narrowed(found, wh))
    if any(kind.fits(wh, {}) for kind in kinds):
        table = _kinds.KINDS
        titles = {f.title for k in table for n, f in k.fields.items() if n in fields}
        owners = [f"a {k.title}" for k in table if set(fields) <= set(k.fields)]
        raise ValueError(
            f"{name}: expected no {' and '.join(sorted(titles) or sorted(fields))} "
            f"except for {' or '.join(owners) or 'another cell'}, got one."
        )
    several = (
        " If axis 0 counts networks, take one of them: "
        "jax.tree.map(lambda a: a[0], ...)."
    )
    raise ValueError(
        f"{name}: expected a recurrent kernel for {_gates()}, here [H, gates * H], got "
        f"{list(wh.shape)}.{several * (wh.ndim == 3)}"
    )


def _gates() -> str:
    """How many gates there are in the table, and whose: "1 or 3 gates (A, B)"."""
    kinds = sorted(_kinds.KINDS, key=lambda kind: len(kind.gates))
    *most, last = dict.fromkeys(str(len(kind.gates)) for kind in kinds)
    counts = " or ".join([", ".join(most)] * bool(most) + [last])
    return f"{counts} gates ({', '.join(kind.title for kind in kinds)})"
