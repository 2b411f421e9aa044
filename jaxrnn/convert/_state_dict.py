"""A torch state dict: which layers and directions there are, and what else it may be.

`explain` adds to the error of `from_torch` what the names stand for.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from jaxrnn.convert._foreign import ours, places
from jaxrnn.convert._kinds import kinds_of

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
WRAPPERS = {
    "module.": " (DataParallel's and AveragedModel's)",
    "_orig_mod.": " (torch.compile's)",
}
# What replaces a weight by others -> its name, and the code that puts the weight back.
REPLACED = {
    r"(?:(.*)\.)?parametrizations\.(NAME)\..*": (
        "a parametrization (torch.nn.utils.parametrizations)",
        "torch.nn.utils.parametrize.remove_parametrizations",
    ),
    r"(?:(.*)\.)?(NAME)_mask": (
        "pruning (torch.nn.utils.prune)",
        "torch.nn.utils.prune.remove",
    ),
    r"(?:(.*)\.)?(NAME)_u": (
        "torch.nn.utils.spectral_norm",
        "torch.nn.utils.remove_spectral_norm",
    ),
    r"(?:(.*)\.)?(NAME)_g": (
        "torch.nn.utils.weight_norm",
        "torch.nn.utils.remove_weight_norm",
    ),
}
# Other names beside those of an RNN -> what they come from, and what to do.
BESIDE = {
    r".*(lora_[AB]|base_layer).*": (
        "LoRA, whose product is not added to the weights yet: call "
        "model = model.merge_and_unload(), then give its state_dict()."
    ),
    r".*(_packed_|_all_weight_values|zero_point|qweight|qzeros|absmax|\.SCB|layer_fw).*": (
        "a quantised module: convert the float module from which it was made."
    ),
    r".*_raw": (
        "weight dropout, which repeats some names under 'module.': give "
        "{k.split('.')[-1].removesuffix('_raw'): v for k, v in "
        "sorted(state_dict.items(), key=lambda item: 'raw' in item[0])}."
    ),
}


def grouped(state_dict: Mapping[str, Any], prefix: str) -> list[list[tuple]]:
    """The tensors of each layer: ``(place, name -> tensor)`` of its directions.

    Raises:
        ValueError: for names that are no RNN's, or layers that are not alike.
    """
    found = _by_place(state_dict, prefix)
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
                f"{prefix + name + suffix_of(*place)!r} is missing."
            )
    return [[((n, way), found[n, way]) for way in ways] for n in layers]


def suffix_of(layer: int | None, reverse: bool) -> str:
    """What stands behind the names of a place, such as ``_l0_reverse``."""
    return "" if layer is None else f"_l{layer}{'_reverse' * reverse}"


def _by_place(state_dict: Mapping[str, Any], prefix: str) -> dict[tuple, dict]:
    """(layer or None, whether it is the reverse one) -> name -> tensor."""
    if not isinstance(state_dict, Mapping):
        raise ValueError(
            "state_dict: expected names and tensors, such as module.state_dict(), got "
            f"{type(state_dict).__name__}."
        )
    known = {*PARTS, *_tensors()}
    names = "|".join(map(re.escape, known))
    placed = re.compile(rf"({names})(?:_l(\d+)(_reverse)?)?")
    found: dict[tuple, dict] = {}
    for name, value in state_dict.items():
        if not isinstance(name, str):
            raise ValueError(f"state_dict: expected names, got {name!r}.")
        if not name.startswith(prefix):
            continue
        match = placed.fullmatch(name.removeprefix(prefix))
        if match is None:
            raise ValueError(
                f"state_dict: expected {prefix}weight_ih_l0 and so on, got {name!r}."
            )
        what, layer, reverse = match.groups()
        place = (None if layer is None else int(layer), reverse is not None)
        found.setdefault(place, {})[what] = value
    if not found:
        raise ValueError(
            f"state_dict: expected names that begin with {prefix + 'weight_ih'!r}, got "
            f"{sorted(state_dict)}."
        )
    return found


def _tensors() -> set[str]:
    """The names of tensors beyond kernels and biases, of all kinds."""
    return {name for _, layout in kinds_of("torch") for name in layout.tensors.values()}


def _name() -> str:
    """A pattern for the names of a torch.nn RNN, whatever stands before them."""
    more = "".join(f"|{re.escape(name)}" for name in sorted(_tensors()))
    return rf"(?:(?:weight|bias)_(?:ih|hh|hr){more})(?:_l\d+(?:_reverse)?)?"


def explain(state: Any, prefix: str) -> str:
    """What a torch state dict is that `from_torch` refuses, and how to mend it."""
    if hasattr(state, "state_dict"):
        return " Give its .state_dict()."
    if not isinstance(state, Mapping):
        return ours(state)
    if {"state", "param_groups"} <= set(state):
        return " This is the state of an optimizer: give module.state_dict()."
    every = [name for name in state if isinstance(name, str)]
    inner = [name for name in every if hasattr(state[name], "state_dict")]
    if inner:
        return f" It holds a whole module: give state_dict[{inner[0]!r}].state_dict()."
    nested = places(state, _is_state_dict)
    if nested:
        calls = [
            _call(place, start)
            for place, part in nested.items()
            for start in starts_of(part)
        ]
        return f" This is a whole checkpoint: call {' or '.join(calls[:4])}."
    return (
        _replaced(every, prefix) or _beside(every, prefix) or _prefixes(every, prefix)
    )


def _replaced(names: list[str], prefix: str) -> str:
    """How to put back a weight that is replaced by others."""
    for pattern, (what, code) in REPLACED.items():
        for name in names:
            match = re.fullmatch(pattern.replace("NAME", _name()), name)
            if match and name.startswith(prefix):
                module = f"module.get_submodule({match[1]!r})" if match[1] else "module"
                return (
                    f" {name!r} comes from {what}: call {code}({module}, {match[2]!r}), "
                    "then give the state_dict() of that module."
                )
    return ""


def _beside(names: list[str], prefix: str) -> str:
    """What names beside those of an RNN come from."""
    begun = [re.match(rf"((?:.*\.)?){_name()}", name) for name in names]
    starts = tuple({match[1] for match in begun if match}) or prefix
    for pattern, what in BESIDE.items():
        for name in names:
            if name.startswith(starts) and re.fullmatch(pattern, name):
                return f" {name!r} comes from {what}"
    return ""


def _is_state_dict(part: Any) -> bool:
    return isinstance(part, Mapping) and bool(starts_of(part))


def starts_of(names: Iterable) -> list[str]:
    """What stands before the names of RNNs, in order."""
    rnn = re.compile(rf"((?:.*\.)?){_name()}")
    matches = [rnn.fullmatch(name) for name in names if isinstance(name, str)]
    return sorted({match[1] for match in matches if match})


def _call(place: str, prefix: str) -> str:
    option = f", prefix={prefix!r}" if prefix else ""
    return f"from_torch(state_dict{place}{option})"


def _prefixes(names: list[str], prefix: str) -> str:
    within = [name for name in names if name.startswith(prefix)]
    own = [name for name in within if starts_of([name]) == [prefix]]
    if own and len(own) == len(within):
        return ""
    if own and starts_of(within) == [prefix]:
        begins = ("weight_ih", "weight_hh", "bias_", *sorted(_tensors()))
        start = tuple(prefix + begin for begin in begins)
        return (
            f" Other names stand beside the RNN's, with its prefix {prefix!r}: give "
            "{k: v for k, v in "
            f"state_dict.items() if k.startswith({start})}}."
        )
    others = [start for start in starts_of(names) if start != prefix]
    if not others:
        return ""
    whose = "".join(WRAPPERS.get(start, "") for start in others)
    calls = " or ".join(_call("", start) for start in others[:6])
    return f" The names of the RNN have a prefix{whose}: call {calls}."
