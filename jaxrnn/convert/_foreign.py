"""What was given in place of weights, and the code that makes weights of it.

Every ``from_*`` refuses what it cannot read. This file adds to its error where in the
given tree the weights are, or what the names in a torch state dict stand for.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax

from jaxrnn.cell import Cell
from jaxrnn.compose import BidirectionalParams
from jaxrnn.convert._kinds import KINDS

OURS = (Cell, BidirectionalParams, *(kind.params for kind in KINDS))
# Where an optimizer keeps averages, which have the names and shapes of the weights.
AVERAGES = re.compile(r"\W(opt_state|mu|nu|trace|exp_avg\w*|optimizer\w*)\b")


@contextlib.contextmanager
def explained(name: str, given: Any, takes: Callable) -> Iterator[None]:
    """Adds to a ValueError what `given` is, and the code that finds weights in it.

    Args:
        name: what errors call `given`.
        given: what the user gave.
        takes: whether a part of `given` is a network's weights; it may raise for no.
    """
    try:
        yield
    except ValueError as error:
        more = ours(given) or inside(name, given, takes)
        raise ValueError(f"{error}{more}") from error.__cause__


def ours(given: Any) -> str:
    """What to say where a ``from_*`` got jaxrnn's own params or cell; else ""."""
    for part in [given, *(given if isinstance(given, tuple | list) else ())]:
        if isinstance(part, OURS):
            return (
                f" {type(part).__name__} is jaxrnn's own: from_* functions read "
                "another library's weights, and to_*(cell, params) write them."
            )
    return ""


def inside(name: str, given: Any, takes: Callable) -> str:
    """Where in `given` are parts that `takes` accepts; "" for nowhere."""
    found = list(places(given, takes))
    weights = [place for place in found if not AVERAGES.search(place)]
    if weights:
        code = " or ".join(f"{name}{place}" for place in weights[:4])
        each = "; for several layers give a list of them" if len(weights) > 1 else ""
        return f" Weights are inside of it: give {code}{each}."
    if found:
        return (
            f" This is the state of an optimizer: {name}{found[0]} holds its averages. "
            "Give the params."
        )
    return ""


def places(tree: Any, takes: Callable) -> dict[str, Any]:
    """The parts of a tree that `takes` accepts, by their code, such as ``["rnn"]``."""

    def taken(part):
        try:
            return bool(takes(part))
        except Exception:  # a part may be anything
            return False

    params = getattr(tree, "params", None)
    if params is not None and taken(params):
        return {".params": params}
    try:
        parts = jax.tree_util.tree_leaves_with_path(tree, is_leaf=taken)
    except (TypeError, ValueError):  # names that do not sort
        if not isinstance(tree, Mapping):
            return {}
        inner = [("", part, name) for name, part in tree.items() if taken(part)]
        inner += [
            (place, part, name)
            for name, branch in tree.items()
            if not taken(branch)
            for place, part in places(branch, takes).items()
        ]
        return {f"[{name!r}]{place}": part for place, part, name in inner}
    return {
        jax.tree_util.keystr(path): part for path, part in parts if path and taken(part)
    }


# The names of a torch.nn RNN, whatever stands before them.
NAME = r"(?:weight|bias)_(?:ih|hh|hr)(?:_l\d+(?:_reverse)?)?"
RNN = re.compile(rf"((?:.*\.)?){NAME}")
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


def of_torch(state: Any, prefix: str) -> str:
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
            for start in _starts(part)
        ]
        return f" This is a whole checkpoint: call {' or '.join(calls[:4])}."
    for pattern, (what, code) in REPLACED.items():
        for name in every:
            match = re.fullmatch(pattern.replace("NAME", NAME), name)
            if match and name.startswith(prefix):
                module = f"module.get_submodule({match[1]!r})" if match[1] else "module"
                return (
                    f" {name!r} comes from {what}: call {code}({module}, {match[2]!r}), "
                    "then give the state_dict() of that module."
                )
    begun = [re.match(rf"((?:.*\.)?){NAME}", name) for name in every]
    starts = tuple({match[1] for match in begun if match}) or prefix
    for pattern, what in BESIDE.items():
        for name in every:
            if name.startswith(starts) and re.fullmatch(pattern, name):
                return f" {name!r} comes from {what}"
    return _prefixes(every, prefix)


def _is_state_dict(part: Any) -> bool:
    return isinstance(part, Mapping) and bool(_starts(part))


def _starts(names: Iterable) -> list[str]:
    """What stands before the names of RNNs, in order."""
    matches = [RNN.fullmatch(name) for name in names if isinstance(name, str)]
    return sorted({match[1] for match in matches if match})


def _call(place: str, prefix: str) -> str:
    option = f", prefix={prefix!r}" if prefix else ""
    return f"from_torch(state_dict{place}{option})"


def _prefixes(names: list[str], prefix: str) -> str:
    within = [name for name in names if name.startswith(prefix)]
    own = [name for name in within if _starts([name]) == [prefix]]
    if own and len(own) == len(within):
        return ""
    if own and _starts(within) == [prefix]:
        start = tuple(prefix + part for part in ("weight_ih", "weight_hh", "bias_"))
        return (
            f" Other names stand beside the RNN's, with its prefix {prefix!r}: give "
            "{k: v for k, v in "
            f"state_dict.items() if k.startswith({start})}}."
        )
    others = [start for start in _starts(names) if start != prefix]
    if not others:
        return ""
    whose = "".join(WRAPPERS.get(start, "") for start in others)
    calls = " or ".join(_call("", start) for start in others[:6])
    return f" The names of the RNN have a prefix{whose}: call {calls}."
