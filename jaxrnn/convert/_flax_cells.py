"""One cell's tree in Flax: a Dense for each gate, or one for x and one for h.

Linen's names are used here: ``ii if ig io hi hf hg ho`` or ``i h``, beside those of a
kind's other arrays.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrnn.convert._arrays import array, names_of, total
from jaxrnn.convert._assemble import TITLES, assemble, matched, only_one, refuse
from jaxrnn.convert._kind import Kind, Layout
from jaxrnn.convert._kinds import kinds_of, layout_for
from jaxrnn.convert._packing import added, pack, reordered, split

CONVOLUTIONS = ("ih", "hh")  # of x and of h
SIMPLE = "h"  # the gates of a SimpleCell, which alone has the option ``residual``
Pairs = list[tuple[Kind, Layout]]


def read_cell(name: str, tree: Any, dtype: Any, residual: bool = False) -> Any:
    """The params of one cell, of Linen or NNX, or of an ``RNN`` around it.

    Args:
        name: what errors call it.
        tree: its tree.
        dtype: of the params, from `floating`.
        residual: whether SimpleCells add h to their pre-activations, as if 1 stood in
            the diagonal of their recurrent kernels.
    """
    while isinstance(tree, Mapping) and "cell" in tree:  # of an RNN
        tree = tree["cell"]
    if not isinstance(tree, Mapping):
        raise ValueError(
            f"{name}: expected a cell's mapping of names, got {type(tree).__name__}. "
            "Of an NNX module give nnx.state(module), of several layers a list."
        )
    entries = {"if" if n == "if_" else n: a for n, a in tree.items() if n != "rngs"}
    if set(entries) == set(CONVOLUTIONS):
        return _from_convolutions(name, entries, dtype)
    for sides in (("i", "h"), ("dense_i", "dense_h")):
        if set(sides) <= set(entries) <= {*sides, *_tensors("sides")}:
            return _from_sides(name, entries, sides, dtype, residual)
    if kinds := [pair for pair in _of_form("gates") if _names(*pair) == set(entries)]:
        return _from_gates(name, entries, kinds, dtype)
    raise ValueError(
        f"{name}: expected the names of a SimpleCell, LSTMCell, GRUCell, MGUCell or "
        f"ConvLSTMCell, got "
        f"{sorted(entries)}. Give that part of the tree alone, a list for several layers "
        "and a pair (forward, backward) for two directions."
    )


def _of_form(form: str) -> Pairs:
    """The kinds that Linen or NNX has in this form, each once."""
    kinds = kinds_of("Linen", "NNX", "NNX optimized")
    return list(
        {kind.name: (kind, one) for kind, one in kinds if one.form == form}.values()
    )


def _tensors(form: str) -> set[str]:
    return {name for _, layout in _of_form(form) for name in layout.tensors.values()}


def _names(kind: Kind, layout: Layout) -> set[str]:
    """The names of a cell with a Dense for each gate."""
    dense = {side + letter for side in "ih" for letter in _letters(kind, layout)}
    return dense | {*layout.tensors.values()}


def _letters(kind: Kind, layout: Layout) -> list[str]:
    """What Flax calls the gates, in our order."""
    return [layout.letters.get(gate, gate) for gate in kind.gates]


def _from_sides(
    name: str, entries: Mapping, sides: tuple, dtype: Any, residual: bool
) -> Any:
    """One Dense each for x and for h; one of the two has the bias."""
    from_x = names_of(f"{name} of x", entries[sides[0]], ("kernel",), ("bias",))
    from_h = names_of(f"{name} of h", entries[sides[1]], ("kernel",), ("bias",))
    biases = [dense["bias"] for dense in (from_x, from_h) if "bias" in dense]
    if len(biases) > 1:
        raise ValueError(f"{name}: expected a bias on x or on h, got two.")
    biases = [array(f"{name}: {TITLES[2]}", b) for b in biases]
    wx, wh = (
        array(f"{name}: {title}", dense["kernel"])
        for title, dense in zip(TITLES, (from_x, from_h), strict=False)
    )
    tensors = {n: array(f"{name}: {n}", entries[n]) for n in entries if n not in sides}
    kinds = _of_form("sides")
    match = matched(name, wh, tensors, kinds)
    options: dict[str, Any] = dict(dtype=dtype, titles=(*TITLES, *tensors))
    if match is None:
        raise refuse(name, wx, wh, biases, tensors, kinds, **options)
    kind, layout, fields = match
    if residual and kind.gates == SIMPLE:
        wh = total(f"{name}: {TITLES[1]} + 1", [wh, np.eye(len(wh))], dtype or wh.dtype)
    turn = lambda a: reordered(a, layout.gates, kind.gates)
    options |= dict(among=[kind], **fields)
    return assemble(name, turn(wx), turn(wh), [*map(turn, biases)], **options)


def _from_convolutions(name: str, entries: Mapping, dtype: Any) -> Any:
    """One convolution each for x and for h, with biases both or neither."""
    kinds = _of_form("convolutions")
    kind, layout = kinds[0]
    turn = lambda what, a: reordered(
        array(f"{name}: {what}", a), layout.gates, kind.gates
    )
    both = [
        names_of(f"{name}[{n!r}]", entries[n], ("kernel",), ("bias",))
        for n in CONVOLUTIONS
    ]
    wx, wh = (
        turn(title, one["kernel"]) for title, one in zip(TITLES, both, strict=False)
    )
    biases = [turn(TITLES[2], one["bias"]) for one in both if "bias" in one]
    if wh.ndim and wh.shape[-1] % len(kind.gates) == 0:
        biases.append(added(kind, layout, wh.shape[-1] // len(kind.gates), wh.dtype))
    return assemble(name, wx, wh, biases, dtype=dtype, among=[kind])


def _biased(kind: Kind, layout: Layout) -> set[str]:
    """The Dense layers that have a bias: of one side, and of h for second biases."""
    firsts = {layout.bias_on + letter for letter in _letters(kind, layout)}
    return firsts | {"h" + gate for gate in kind.second_biases(layout)}


def _from_gates(name: str, entries: Mapping, kinds: Pairs, dtype: Any) -> Any:
    """A Dense for each gate and side; where the biases are may tell the kind."""
    have = {n for n, a in entries.items() if isinstance(a, Mapping) and "bias" in a}
    kinds = [pair for pair in kinds if _biased(*pair) == have] or kinds
    kind = only_one(name, [kind for kind, _ in kinds])
    layout = kinds[0][1]
    biased, loose = _biased(kind, layout), {*layout.tensors.values()}
    found: dict[tuple, np.ndarray] = {}
    for gate in (n for n in entries if n not in loose):
        needed = ("kernel", "bias") if gate in biased else ("kernel",)
        for what, value in names_of(f"{name}[{gate!r}]", entries[gate], needed).items():
            found[gate, what] = array(f"{name}[{gate!r}].{what}", value)

    def packed(side, what):
        gates = [found[side + letter, what] for letter in _letters(kind, layout)]
        if len({a.shape for a in gates}) != 1:
            shapes = [list(a.shape) for a in gates]
            raise ValueError(
                f"{name}: expected {what}s of one shape on {side}, got {shapes}."
            )
        return pack(*gates)

    fields = {field: entries[n] for field, n in layout.tensors.items()}
    seconds = kind.second_biases(layout)
    fields |= {field: found["h" + gate, "bias"] for gate, field in seconds.items()}
    wx, wh = packed("i", "kernel"), packed("h", "kernel")
    options: dict[str, Any] = dict(dtype=dtype, among=[kind], **fields)
    return assemble(name, wx, wh, [packed(layout.bias_on, "bias")], **options)


def write_cell(library: str, p: Any, residual: bool = False) -> dict:
    """One cell's tree under Linen's names.

    Args:
        library: "Linen", "NNX" or "NNX optimized".
        p: one cell's params.
        residual: see `read_cell`.
    """
    kind, layout = layout_for(library, p)
    tree: dict = {name: getattr(p, field) for field, name in layout.tensors.items()}
    if layout.form == "convolutions":
        turn = lambda a: reordered(a, kind.gates, layout.gates)
        b = p.b - added(kind, layout, len(p.b) // len(kind.gates), p.b.dtype)
        sides = ((p.wx, b), (p.wh, np.zeros_like(b)))
        return {
            name: {"kernel": turn(w), "bias": turn(bias)}
            for name, (w, bias) in zip(CONVOLUTIONS, sides, strict=True)
        }
    if layout.form == "sides":
        turn = lambda a: reordered(a, kind.gates, layout.gates)
        wh = p.wh
        if residual and kind.gates == SIMPLE:
            wh = total("params.wh - 1", [wh, -np.eye(len(wh))], wh.dtype)
        tree |= {"i": {"kernel": turn(p.wx)}, "h": {"kernel": turn(wh)}}
        tree[layout.bias_on]["bias"] = turn(p.b)
        return tree
    letters = _letters(kind, layout)
    for side, kernel in (("i", p.wx), ("h", p.wh)):
        for letter, k in zip(letters, split(kernel, len(letters)), strict=True):
            tree[side + letter] = {"kernel": np.array(k, order="C")}
    for letter, b in zip(letters, split(p.b, len(letters)), strict=True):
        tree[layout.bias_on + letter]["bias"] = np.array(b)
    for gate, field in kind.second_biases(layout).items():
        tree["h" + gate]["bias"] = getattr(p, field)
    return tree
