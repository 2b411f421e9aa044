"""Haiku's params: one matrix on ``[x, h]``, i g f o, and 1 added to f at run time.

Here that 1 is part of the forget bias: `from_haiku` adds it and `to_haiku` subtracts it.
Haiku's VanillaRNN uses relu and has two biases, which are added.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from jaxrnn.cell import Cell
from jaxrnn.convert._arrays import array, floating, names_of, pack, reordered, split
from jaxrnn.convert._foreign import explained
from jaxrnn.convert._kinds import assemble, kind_of
from jaxrnn.convert._walk import put_together, take_apart

# Haiku's name of a module, by the kind's name in `jaxrnn.convert._kinds.KINDS`.
STEMS = {"lstm": "lstm", "simple_rnn": "vanilla_rnn"}
BEFORE = (
    "Haiku's GRU resets the memory before the recurrent matmul, and the GRU here resets "
    "it after the matmul. No weights make them equal"
)


def from_haiku(
    params: Mapping[str, Mapping],
    *,
    names: Sequence[str] | None = None,
    bidirectional: bool = False,
    merge: str | Callable = "concat",
    dtype: Any = None,
) -> tuple[Cell, Any]:
    """The cell and the params of Haiku's LSTM or VanillaRNN modules.

    Args:
        params: module name -> name -> array, as ``init`` returns them.
        names: the modules' names in the order of the layers, such as
            ``("lstm", "lstm_1")``. None is all modules, in the order of their numbers,
            if they are called lstm or vanilla_rnn. Another kind of network with these
            names and shapes would be read as an LSTM or a VanillaRNN.
        bidirectional: whether forward and backward modules alternate.
        merge: of bidirectional layers.
        dtype: of the params; None is the weights' own. ``"float32"`` reads half
            precision without loss.

    Returns:
        ``(cell, params)``: a bare cell for one layer, else a `stack`; params are copies.
        Sums (Haiku's 1 on the forget bias, a VanillaRNN's two biases) are made in
        float64 and rounded once. A VanillaRNN is ``simple_rnn(..., activation="relu")``.

    Raises:
        ValueError: for a GRU, which resets before the matmul, for modules that are
            neither, for shapes that do not agree, and for numbers that overflow the
            dtype. For a training state the error says where the params are.

    Example:
        >>> import numpy as np
        >>> from jaxrnn import convert
        >>> random = np.random.RandomState(0)
        >>> linear = {"w": random.randn(3 + 4, 16), "b": np.zeros(16)}
        >>> cell, params = convert.from_haiku({"lstm/linear": linear})
        >>> cell, params.b[4:8].tolist()  # Haiku's +1
        (lstm(hidden=4), [1.0, 1.0, 1.0, 1.0])
    """
    read = partial(
        _layers, names=names, bidirectional=bidirectional, dtype=floating(dtype)
    )
    with explained("params", params, _network):
        layers = read(params)
    return put_together(layers, activation="relu", merge=merge)


def _modules(params: Any) -> dict[str, dict]:
    """Module name -> part -> its weights."""
    if not isinstance(params, Mapping) or not all(isinstance(n, str) for n in params):
        raise ValueError(
            "params: expected module names and their params, got "
            f"{type(params).__name__}."
        )
    modules: dict[str, dict] = {}
    for name, weights in params.items():
        module, _, part = name.rpartition("/")
        if not module or (isinstance(weights, Mapping) and "w_i" in weights):
            module, part = name, ""  # a GRU, or a module that is not recurrent
        modules.setdefault(module, {})[part] = weights
    return modules


def _layers(params: Any, *, names: Any, bidirectional: bool, dtype: Any) -> list:
    modules = _modules(params)
    if names is None:
        stems = {_stem(module) for module in modules}
        known = {stem.rpartition("/")[2] for stem in stems} <= {*STEMS.values(), "gru"}
        if len(stems) != 1 or not known:
            ours = tuple(sorted(filter(_is_recurrent, modules), key=_number))
            such = f", such as names={ours}" if ours else ""
            raise ValueError(
                f"params: expected modules of one name, lstm or vanilla_rnn, got "
                f"{sorted(modules)}. Give names= in the order of the layers{such}."
            )
        names = sorted(modules, key=_number)
    if len(set(names)) != len(names):
        raise ValueError(f"names: expected each once, got {list(names)}.")
    for name in names:
        if name not in modules:
            raise ValueError(
                f"names: expected some of {sorted(modules)}, got {name!r}."
            )
    made = [_read(name, modules[name], dtype) for name in names]
    if bidirectional and len(made) % 2:
        raise ValueError(
            "bidirectional: expected an even number of modules, forward and backward "
            f"alternating, got {list(names)}."
        )
    ways = 2 if bidirectional else 1
    return [tuple(made[n : n + ways]) for n in range(0, len(made), ways)]


def _network(part: Any) -> bool:
    return any(map(_is_recurrent, _modules(part)))


def _is_recurrent(module: str) -> bool:
    return _stem(module).rpartition("/")[2] in STEMS.values()


def _stem(module: str) -> str:
    return re.sub(r"_\d+$", "", module)


def _number(module: str) -> int:
    match = re.search(r"_(\d+)$", module)
    return int(match[1]) if match else 0


def _read(name: str, parts: Mapping, dtype: Any) -> Any:
    where = f"params[{name!r}]"
    if "" in parts and isinstance(parts[""], Mapping) and "w_i" in parts[""]:
        raise ValueError(f"{where}: {BEFORE}.")
    if set(parts) == {"linear"}:
        linear = names_of(where, parts["linear"], ("w", "b"))
        w, b = (array(f"{where}.{k}", linear[k]) for k in "wb")
        hidden = b.size // 4
        if b.ndim != 1 or w.ndim != 2 or w.shape[1] != 4 * hidden or len(w) <= hidden:
            raise ValueError(
                f"{where}: expected w [F + H, 4 H] and b [4 H], "
                f"got {list(w.shape)} and {list(b.shape)}."
            )
        one = np.repeat(np.array([0, 1, 0, 0], b.dtype), hidden)
        wx, wh = _swap(w[:-hidden]), _swap(w[-hidden:])
        names = ("w", "w", "b, with Haiku's 1 on the forget gate")
        biases = [_swap(b), one]
        options = dict(dtype=dtype, titles=names, among=("lstm",))
        return assemble(where, wx, wh, biases, **options)
    if set(parts) == {"linear", "linear_1"}:
        from_x = names_of(where, parts["linear"], ("w", "b"))
        from_h = names_of(where, parts["linear_1"], ("w",), ("b",))
        biases = [p["b"] for p in (from_x, from_h) if "b" in p]
        names = ("linear.w", "linear_1.w", "linear.b + linear_1.b")
        w = from_x["w"], from_h["w"]
        options = dict(dtype=dtype, titles=names, among=("simple_rnn",))
        return assemble(where, *w, biases, **options)
    raise ValueError(
        f"{where}: expected the linear layers of an LSTM or a VanillaRNN, got "
        f"{sorted(parts)}."
    )


def _swap(a: Any) -> np.ndarray:
    """Haiku's i g f o to i f g o, and back."""
    return reordered(a, "igfo", "ifgo")


def to_haiku(
    cell: Cell,
    params: Any,
    *,
    names: Sequence[str] | None = None,
    double_bias: bool = True,
) -> dict[str, dict]:
    """The params of the Haiku modules that compute what the cell does.

    Args:
        cell: `lstm`, a `simple_rnn` with relu, a `bidirectional` of two such, or a
            `stack` of either.
        params: the cell's.
        names: the modules' names in the order of the layers, forward and backward
            alternating. None is Haiku's own names: ``lstm``, ``lstm_1`` and so on.
        double_bias: a VanillaRNN's option of that name.

    Returns:
        module name -> name -> NumPy array of the params' dtype, bfloat16 too.

    Raises:
        ValueError: for a cell that Haiku does not have, with the reason.

    Example:
        >>> import jax, jaxrnn
        >>> from jaxrnn import convert
        >>> cell = jaxrnn.stack(jaxrnn.lstm(4), jaxrnn.lstm(5))
        >>> tree = convert.to_haiku(cell, cell.init(jax.random.key(0), 3))
        >>> {name: linear["w"].shape for name, linear in tree.items()}
        {'lstm/linear': (7, 16), 'lstm_1/linear': (9, 20)}
    """
    apart = take_apart(cell, params)
    if any(activation != "relu" for activation in apart.activations):
        raise ValueError(f"cell: Haiku's VanillaRNN is relu alone, got {cell!r}.")
    flat = [p for layer in apart.params for p in layer]
    if names is None:
        stems = [_stem_of(p) for p in flat]
        count = [stems[:n].count(stem) for n, stem in enumerate(stems)]
        names = [f"{s}_{n}" if n else s for s, n in zip(stems, count, strict=True)]
    if len(names) != len(flat) or len(set(names)) != len(flat):
        raise ValueError(
            f"names: expected {len(flat)} different ones, got {list(names)}."
        )
    tree = {}
    for name, p in zip(names, flat, strict=True):
        for part, weights in _write(p, double_bias).items():
            tree[f"{name}/{part}"] = weights
    return tree


def _stem_of(p: Any) -> str:
    kind = kind_of(p).name
    if kind == "gru":
        raise ValueError(f"cell: {BEFORE}.")
    if kind not in STEMS:
        raise ValueError(f"cell: Haiku has no {kind}.")
    return STEMS[kind]


def _write(p: Any, double_bias: bool) -> dict:
    if _stem_of(p) == "lstm":
        i, f, g, o = split(p.b, 4)
        b = pack(i, f - np.ones((), f.dtype), g, o)
        w = np.concatenate([_swap(p.wx), _swap(p.wh)])
        return {"linear": {"w": w, "b": _swap(b)}}
    from_h = {"w": p.wh} | ({"b": np.zeros_like(p.b)} if double_bias else {})
    return {"linear": {"w": p.wx, "b": p.b}, "linear_1": from_h}
