"""One cell's module in Haiku: a linear layer on ``[x, h]``, one on each, or bare arrays."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrnn.convert._arrays import array, names_of
from jaxrnn.convert._assemble import assemble, only_one
from jaxrnn.convert._kind import Kind, Layout
from jaxrnn.convert._kinds import kinds_of, layout_for
from jaxrnn.convert._packing import added, pack, reordered, split

CONVOLUTIONS = ("input_to_hidden", "hidden_to_hidden")
GATES = {"f": "forget"}  # in errors


def read_module(name: str, module: Mapping, dtype: Any) -> Any:
    """The params of one cell.

    Args:
        name: the module's.
        module: part -> its weights.
        dtype: of the params, from `floating`.
    """
    where = f"params[{name!r}]"
    if set(module) == {""} and isinstance(module[""], Mapping) and "w_i" in module[""]:
        kind, layout = _of_form("apart", where, name)
        return _apart(where, module[""], kind, layout, dtype)
    if set(module) == set(CONVOLUTIONS):
        kind, layout = _of_form("convolutions", where, name)
        return _convolutions(where, module, kind, layout, dtype)
    if set(module) == {"linear"}:
        kind, layout = _of_form("joint", where, name)
        return _joint(where, module["linear"], kind, layout, dtype)
    if set(module) == {"linear", "linear_1"}:
        kind, layout = _of_form("sides", where, name)
        return _sides(where, module, kind, layout, dtype)
    raise ValueError(
        f"{where}: expected the linear layers of an LSTM or a VanillaRNN, or a GRU's "
        f"w_i, w_h and b, got {sorted(module)}."
    )


def _of_form(form: str, where: str, name: str) -> tuple[Kind, Layout]:
    """The kind of this form; where there are several, that of the module's name."""
    kinds = [pair for pair in kinds_of("Haiku") if pair[1].form == form]
    stem = stem_of(name).rpartition("/")[2]
    kinds = [pair for pair in kinds if pair[1].cell == stem] or kinds
    only_one(where, [kind for kind, _ in kinds])
    return kinds[0]


def _sides(where: str, module: Mapping, kind: Kind, layout: Layout, dtype: Any) -> Any:
    """From a linear layer on x and one on h."""
    from_x = names_of(where, module["linear"], ("w", "b"))
    from_h = names_of(where, module["linear_1"], ("w",), ("b",))
    titles = ("linear.w", "linear_1.w", "linear.b + linear_1.b")
    found = [(titles[0], from_x["w"]), (titles[1], from_h["w"])]
    found += [(titles[2], linear["b"]) for linear in (from_x, from_h) if "b" in linear]
    wx, wh, *biases = (
        reordered(array(f"{where}: {title}", a), layout.gates, kind.gates)
        for title, a in found
    )
    options: dict[str, Any] = dict(dtype=dtype, titles=titles, among=[kind])
    return assemble(where, wx, wh, biases, **options)


def _apart(where: str, weights: Any, kind: Kind, layout: Layout, dtype: Any) -> Any:
    """From a kernel each for x and h, and one bias."""
    titles = ("w_i", "w_h", "b")
    weights = names_of(where, weights, titles)
    wx, wh, b = (
        _turned(array(f"{where}.{title}", weights[title]), layout, kind, layout.gates)
        for title in titles
    )
    options: dict[str, Any] = dict(dtype=dtype, titles=titles, among=[kind])
    return assemble(where, wx, wh, [b], **options)


def _convolutions(
    where: str, module: Mapping, kind: Kind, layout: Layout, dtype: Any
) -> Any:
    """From a convolution on x and one on h."""
    both = [names_of(f"{where}: {n}", module[n], ("w",), ("b",)) for n in CONVOLUTIONS]
    titles = [f"{n}.w" for n in CONVOLUTIONS]
    turn = lambda a: reordered(a, layout.gates, kind.gates)
    wx, wh = (
        turn(array(f"{where}: {title}", one["w"]))
        for title, one in zip(titles, both, strict=True)
    )
    biases = [turn(array(f"{where}: b", one["b"])) for one in both if "b" in one]
    if wh.ndim and wh.shape[-1] % len(kind.gates) == 0:
        biases.append(added(kind, layout, wh.shape[-1] // len(kind.gates), wh.dtype))
    options: dict[str, Any] = dict(dtype=dtype, titles=(*titles, "b"), among=[kind])
    return assemble(where, wx, wh, biases, **options)


def _turned(a: np.ndarray, layout: Layout, kind: Kind, order: str) -> np.ndarray:
    """Gates from this order to the other one, Haiku's or ours.

    Of 1 - σ(a) = σ(-a) the weights are the negated ones.
    """
    if not a.ndim or a.shape[-1] % len(order):
        return a  # its shape is refused later
    gates = dict(zip(order, split(a, len(order)), strict=True))
    target = kind.gates if order == layout.gates else layout.gates
    return pack(*(-gates[g] if g in layout.negated else gates[g] for g in target))


def _joint(where: str, linear: Any, kind: Kind, layout: Layout, dtype: Any) -> Any:
    """From one matrix on ``[x, h]``; what Haiku adds at run time is in the bias here."""
    linear = names_of(where, linear, ("w", "b"))
    w, b = (array(f"{where}.{k}", linear[k]) for k in "wb")
    gates = len(kind.gates)
    hidden = b.size // gates
    width = gates * hidden
    if b.shape != (width,) or w.shape[1:] != b.shape or len(w) <= hidden:
        raise ValueError(
            f"{where}: expected w [F + H, {gates} H] and b [{gates} H], "
            f"got {list(w.shape)} and {list(b.shape)}."
        )
    turn = lambda a: reordered(a, layout.gates, kind.gates)
    biases, titles = [turn(b)], ["w", "w", "b"]
    if layout.added:
        biases.append(added(kind, layout, hidden, b.dtype))
        titles[2] = "b, with " + " and ".join(
            f"Haiku's {number:g} on the {GATES.get(gate, gate)} gate"
            for gate, number in layout.added.items()
        )
    options: dict[str, Any] = dict(dtype=dtype, titles=titles, among=[kind])
    return assemble(where, turn(w[:-hidden]), turn(w[-hidden:]), biases, **options)


def stem_of(module: str) -> str:
    """A module's name without its number, and that of its dimensions."""
    return re.sub(
        r"(^|/)conv[123]_dlstm$", r"\1conv_dlstm", re.sub(r"_\d+$", "", module)
    )


def named(p: Any) -> str:
    """What Haiku calls the module of one cell's params."""
    stem = layout_for("Haiku", p)[1].cell
    return stem.replace("conv", f"conv{p.wx.ndim - 2}")


def write_module(p: Any, double_bias: bool) -> dict:
    """The parts of one cell's module and their weights.

    Args:
        p: one cell's params.
        double_bias: whether a linear layer on h has a bias of its own.
    """
    kind, layout = layout_for("Haiku", p)
    turn = lambda a: reordered(a, kind.gates, layout.gates)
    wx, wh = turn(p.wx), turn(p.wh)
    hidden = len(p.b) // len(kind.gates)
    if layout.form == "convolutions":
        b = turn(p.b - added(kind, layout, hidden, p.b.dtype))
        sides = ((wx, b), (wh, np.zeros_like(b)))
        return {
            name: {"w": w, "b": bias}
            for name, (w, bias) in zip(CONVOLUTIONS, sides, strict=True)
        }
    if layout.form == "apart":
        turn = lambda a: _turned(a, layout, kind, kind.gates)
        return {"": {"w_i": turn(p.wx), "w_h": turn(p.wh), "b": turn(p.b)}}
    if layout.form == "sides":
        from_h = {"w": wh} | ({"b": np.zeros_like(p.b)} if double_bias else {})
        return {"linear": {"w": wx, "b": turn(p.b)}, "linear_1": from_h}
    b = p.b - added(kind, layout, hidden, p.b.dtype)
    return {"linear": {"w": np.concatenate([wx, wh]), "b": turn(b)}}
