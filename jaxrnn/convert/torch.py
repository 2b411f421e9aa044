"""torch's state dicts: ``weight_ih_l0 [G H, F]``, i f g o and r z n, two biases.

torch adds its two biases, except for the GRU's n, where r scales the second one.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxrnn.cell import Cell
from jaxrnn.convert._arrays import array, floating, numpys, pack
from jaxrnn.convert._foreign import of_torch
from jaxrnn.convert._kinds import assemble, kind_of, named
from jaxrnn.convert._walk import check_options, no_bias, put_together, take_apart

NAME = re.compile(r"((?:weight|bias)_[a-z]+)(?:_l(\d+)(_reverse)?)?")
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Module(NamedTuple):
    """What torch's module of one kind of cell has.

    Fields:
        kind: its name in `jaxrnn.convert._kinds.KINDS`.
        tensors: field of the params -> torch's name, beyond the kernels and biases;
            matrices are transposed.
        kept: the field that is the recurrent bias of the last gate, which torch does not
            add to the other bias.
    """

    kind: str
    tensors: Mapping[str, str] = {}
    kept: str | None = None


MODULES = (Module("simple_rnn"), Module("gru", kept="bn"), Module("lstm"))


def from_torch(
    state_dict: Mapping[str, Any],
    *,
    prefix: str = "",
    activation: str | Callable = "tanh",
    dtype: Any = None,
) -> tuple[Cell, Any]:
    """The cell and the params of a ``torch.nn`` RNN, LSTM, GRU or one of their cells.

    Names and shapes say the kind, the widths, the layers, the directions and
    ``bias=False``.

    Args:
        state_dict: name -> tensor or array, from ``module.state_dict()`` or
            `read_safetensors`.
        prefix: of the names to read, such as ``"encoder.lstm."`` in a whole model.
        activation: of simple RNNs, torch's ``nonlinearity``. A state dict does not
            hold it.
        dtype: of the params; None is the weights' own. ``"float32"`` reads half
            precision without loss.

    Returns:
        ``(cell, params)``: a bare cell for one layer, else a `stack`; params are copies.
        ``b`` is the sum of torch's two biases, made in float64 and rounded once.

    Raises:
        ValueError: for names that belong to no such module, missing layers, shapes that
            do not agree, numbers that overflow the dtype, and ``proj_size``. For a
            checkpoint, a name's prefix, weight norm, pruning and the like the error
            gives the code that mends it.

    Example:
        >>> import numpy as np, jaxrnn
        >>> from jaxrnn import convert
        >>> state = {"weight_ih_l0": np.ones((12, 3)), "weight_hh_l0": np.ones((12, 4))}
        >>> cell, params = convert.from_torch(state)  # bias=False; three gates: a GRU
        >>> cell, params.wx.shape
        (gru(hidden=4), (3, 12))
    """
    dtype = floating(dtype)
    try:
        layers = _layers(state_dict, prefix, dtype)
    except ValueError as error:
        more = of_torch(state_dict, prefix)
        raise ValueError(f"{error}{more}") from error.__cause__
    return put_together(layers, activation=activation)


def _layers(state_dict: Mapping[str, Any], prefix: str, dtype: Any) -> list:
    if not isinstance(state_dict, Mapping):
        raise ValueError(
            "state_dict: expected names and tensors, such as module.state_dict(), got "
            f"{type(state_dict).__name__}."
        )
    known = {*PARTS, *(name for module in MODULES for name in module.tensors.values())}
    found: dict[tuple, dict] = {}
    for name, value in state_dict.items():
        if not isinstance(name, str):
            raise ValueError(f"state_dict: expected names, got {name!r}.")
        if not name.startswith(prefix):
            continue
        match = NAME.fullmatch(name.removeprefix(prefix))
        if match is None or not (match[1] in known or match[1].endswith("_hr")):
            raise ValueError(
                f"state_dict: expected {prefix}weight_ih_l0 and so on, got {name!r}."
            )
        what, layer, reverse = match.groups()
        if what.endswith("_hr") and what not in known:
            raise ValueError(
                f"state_dict: {name!r} is the projection of an LSTM with proj_size, "
                "and no cell here has one. Train an LSTM without proj_size, or write "
                "the cell with jaxrnn.gated."
            )
        place = (None if layer is None else int(layer), reverse is not None)
        found.setdefault(place, {})[what] = value
    if not found:
        raise ValueError(
            f"state_dict: expected names that begin with {prefix + 'weight_ih'!r}, got "
            f"{sorted(state_dict)}."
        )
    numbers = {layer for layer, _ in found}
    layers = [None] if numbers == {None} else list(range(len(numbers)))
    ways = (False, True) if any(reverse for _, reverse in found) else (False,)
    expected = {(layer, way) for layer in layers for way in ways}
    if set(found) != expected:
        raise ValueError(
            f"state_dict: expected {len(numbers)} layers of {len(ways)} directions "
            f"each, got {sorted(state_dict)}."
        )
    every = {name for weights in found.values() for name in weights}
    for place, weights in found.items():
        for name in sorted(every - set(weights)):
            raise ValueError(
                f"state_dict: expected the same names in all layers, but "
                f"{prefix + name + _suffix(*place)!r} is missing."
            )
    return [
        tuple(_read(found[n, way], prefix, _suffix(n, way), dtype) for way in ways)
        for n in layers
    ]


def _suffix(layer: int | None, reverse: bool) -> str:
    return "" if layer is None else f"_l{layer}{'_reverse' * reverse}"


def _read(weights: Mapping, prefix: str, suffix: str, dtype: Any) -> Any:
    called = {name: prefix + name + suffix for name in PARTS}
    biases = [name for name in PARTS[2:] if name in weights]
    expected = PARTS if biases else PARTS[:2]
    missing = [called[name] for name in expected if name not in weights]
    if missing:
        zeros = ""
        if len(biases) == 1 and len(missing) == 1:
            other = f"np.zeros_like(state_dict[{called[biases[0]]!r}])"
            zeros = (
                f" If there was none, give state_dict | {{{missing[0]!r}: {other}}}."
            )
        raise ValueError(
            f"state_dict: expected weight_ih, weight_hh and both biases or none, but "
            f"{missing} is missing.{zeros}"
        )
    found = {
        n: array(f"state_dict: {prefix}{n}{suffix}", a) for n, a in weights.items()
    }
    matches = _matches(found)
    module, kind = matches[0], named(matches[0].kind)
    fields: dict[str, Any] = {f: found[n].T for f, n in module.tensors.items()}
    titles = [
        called["weight_ih"],
        called["weight_hh"],
        f"{called['bias_ih']} + {called['bias_hh']}",
    ]
    terms = [found[name] for name in biases]
    if biases and module.kept is not None:
        first, second = terms
        assert kind is not None
        hidden = len(second) // len(kind.gates)
        zero = second.dtype.type(0)
        last = np.arange(len(second)) >= len(second) - hidden
        terms = [first, np.where(last, zero, second)]
        fields[module.kept] = second[-hidden:]
    kernels = found["weight_ih"].T, found["weight_hh"].T
    titles += [prefix + module.tensors.get(f, "bias_hh") + suffix for f in fields]
    options: dict[str, Any] = dict(
        dtype=dtype, titles=titles, among=[m.kind for m in matches]
    )
    return assemble("state_dict", *kernels, terms, **options, **fields)


def _matches(found: Mapping[str, np.ndarray]) -> list[Module]:
    """The modules that have these tensors: one, unless the tensors are nobody's.

    Then all that have tensors of these names, so that the shapes are complained about.
    """
    more = set(found) - set(PARTS)
    names = [m for m in MODULES if set(m.tensors.values()) == more]
    fits = []
    for module in names:
        kind, fields = (
            named(module.kind),
            {f: found[n].T for f, n in module.tensors.items()},
        )
        if kind is not None and kind.fits(found["weight_hh"].T, fields):
            fits.append(module)
    return fits or [m._replace(kept=None) for m in names] or [*MODULES]


def to_torch(
    cell: Cell, params: Any, *, prefix: str = "", bias: bool = True
) -> dict[str, np.ndarray]:
    """The state dict of the ``torch.nn`` module that computes what the cell does.

    Args:
        cell: `simple_rnn` (tanh or relu), `lstm` or `gru`, a `bidirectional` of two
            alike that are concatenated, or a `stack` of either, all of one width.
        params: the cell's.
        prefix: put before every name.
        bias: False for a module with ``bias=False``; biases must then be zero.

    Returns:
        name -> NumPy array. The first of torch's two biases is ``b`` and the second is
        zero, except that the GRU's second bias of n is ``bn``. Load them with
        ``{name: torch.from_numpy(a) for name, a in ...}``. The dtype is the params',
        but float32 for bfloat16, which torch cannot read from NumPy.
        ``load_state_dict`` casts to the module's dtype, and no number changes.

    Raises:
        ValueError: for a cell that torch does not have, with the reason.

    Example:
        >>> import jax, jaxrnn
        >>> from jaxrnn import convert
        >>> cell = jaxrnn.bidirectional(jaxrnn.lstm(4))
        >>> state = convert.to_torch(cell, cell.init(jax.random.key(0), 3))
        >>> state["weight_ih_l0_reverse"].shape
        (16, 3)
    """
    apart = take_apart(cell, params)
    check_options("torch", apart, ("tanh", "relu"), ("concat",))
    alike = {(type(p), len(p.wh)) for layer in apart.params for p in layer}
    ways = {len(layer) for layer in apart.params}
    if len(alike) > 1 or len(ways) > 1 or len(set(apart.activations)) > 1:
        raise ValueError(
            "cell: torch has one kind of cell, one width, one activation and one number "
            f"of directions for all layers, got {cell!r}."
        )
    state = {}
    for number, layer in enumerate(apart.params):
        for p, way in zip(layer, ("", "_reverse"), strict=False):
            if not bias:
                no_bias("torch", p)
            for name, a in _write(p, bias).items():
                state[f"{prefix}{name}_l{number}{way}"] = np.array(numpys(a), order="C")
    return state


def _write(p: Any, bias: bool) -> dict:
    kind = kind_of(p)
    module = next((m for m in MODULES if m.kind == kind.name), None)
    if module is None:
        raise ValueError(f"cell: torch has no {kind.name}.")
    weights = {"weight_ih": p.wx.T, "weight_hh": p.wh.T}
    weights |= {name: getattr(p, field).T for field, name in module.tensors.items()}
    if not bias:
        return weights
    second = np.zeros_like(p.b)
    if module.kept is not None:
        last = getattr(p, module.kept)
        second = pack(np.zeros_like(p.b[: -len(last)]), last)
    return weights | {"bias_ih": p.b, "bias_hh": second}
