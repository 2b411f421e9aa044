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
from jaxrnn.cells.gru import GRUParams
from jaxrnn.cells.lstm import LSTMParams
from jaxrnn.cells.simple import SimpleRNNParams
from jaxrnn.compose import BidirectionalParams

OURS = (Cell, GRUParams, LSTMParams, SimpleRNNParams, BidirectionalParams)
# Where an optimizer keeps averages, which have the names and shapes of the weights.
AVERAGES = re.compile(r"\W(opt_state|mu|nu|trace|exp_avg\w*|optimizer\w*)\b")


@contextlib.contextmanager
def explained(name: str, given: Any, read: Callable) -> Iterator[None]:
    """Adds to a ValueError what `given` is, and the code that finds weights in it.

    Args:
        name: what errors call `given`.
        given: what the user gave.
        read: raises ValueError for a part of `given` that is no network's weights.
    """
    try:
        yield
    except ValueError as error:
        more = _ours(given) or inside(name, given, read)
        raise ValueError(f"{error}{more}") from error.__cause__


def _ours(given: Any) -> str:
    inside = given if isinstance(given, tuple | list) else [given]
    for part in [given, *inside]:
        if isinstance(part, OURS):
            return (
                f" {type(part).__name__} is jaxrnn's own: from_* functions read "
                "another library's weights, and to_*(cell, params) write them."
            )
    return ""


def inside(name: str, given: Any, read: Callable) -> str:
    """Where in `given` are parts that `read` takes; "" for nowhere."""
    found = list(places(given, read))
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


def places(tree: Any, read: Callable) -> dict[str, Any]:
    """The parts of a tree that `read` takes, by the code that gets them, ``["rnn"]``."""

    def taken(part):
        try:
            read(part)
        except Exception:  # a part may be anything
            return False
        return True

    try:
        parts = jax.tree_util.tree_leaves_with_path(tree, is_leaf=taken)
    except (TypeError, ValueError):  # names that do not sort
        items = tree.items() if isinstance(tree, Mapping) else ()
        return {f"[{name!r}]": part for name, part in items if taken(part)}
    return {
        jax.tree_util.keystr(path): part for path, part in parts if path and taken(part)
    }


# The names of a torch.nn RNN, whatever stands before them.
RNN = re.compile(r"((?:.*\.)?)(?:weight|bias)_(?:ih|hh|hr)(?:_l\d+(?:_reverse)?)?")
WRAPPERS = {
    "module.": " (DataParallel's and AveragedModel's)",
    "_orig_mod.": " (torch.compile's)",
}
# Names that are no weights' -> whose they are, and what makes weights of them.
TORCH = (
    (
        r"(?:(?P<owner>.*)\.)?parametrizations\.(?P<weight>[^.]+)\..*",
        "a parametrization (torch.nn.utils.parametrizations)",
        "torch.nn.utils.parametrize.remove_parametrizations({module}, {weight!r})",
    ),
    (
        r"(?:(?P<owner>.*)\.)?(?P<weight>[^.]+)_mask",
        "pruning (torch.nn.utils.prune)",
        "torch.nn.utils.prune.remove({module}, {weight!r})",
    ),
    (
        r"(?:(?P<owner>.*)\.)?(?P<weight>[^.]+)_u",
        "torch.nn.utils.spectral_norm",
        "torch.nn.utils.remove_spectral_norm({module}, {weight!r})",
    ),
    (
        r"(?:(?P<owner>.*)\.)?(?P<weight>[^.]+)_g",
        "torch.nn.utils.weight_norm",
        "torch.nn.utils.remove_weight_norm({module}, {weight!r})",
    ),
    (
        r"(?:(?P<owner>.*)\.)?(?:lora_|base_layer|.*\.(?:lora_|base_layer)).*",
        "LoRA, whose product is not added to the weights yet",
        "model = model.merge_and_unload()",
    ),
)
PACKED = re.compile(
    r".*(_packed_|_all_weight_values|zero_point|qweight|qzeros|absmax|\.SCB|layer_fw).*"
)
AGAIN = "then give the state_dict() of that module"


def of_torch(state: Any, prefix: str) -> str:
    """What a torch state dict is that `from_torch` refuses, and how to mend it."""
    if hasattr(state, "state_dict"):
        return " Give its .state_dict()."
    if not isinstance(state, Mapping):
        return _ours(state)
    if {"state", "param_groups"} <= set(state):
        return " This is the state of an optimizer: give module.state_dict()."
    every = [name for name in state if isinstance(name, str)]
    inner = [name for name in every if hasattr(state[name], "state_dict")]
    if inner:
        return f" It holds a whole module: give state_dict[{inner[0]!r}].state_dict()."
    nested = places(state, _is_state_dict)
    if nested:
        codes = []
        for place, part in nested.items():
            starts = _starts(part)
            option = "" if "" in starts else f", prefix={starts[0]!r}"
            codes.append(f"from_torch(state_dict{place}{option})")
        return f" This is a whole checkpoint: call {' or '.join(codes[:4])}."
    names = [name for name in every if name.startswith(prefix)]
    for pattern, what, code in TORCH:
        for name in names:
            match = re.fullmatch(pattern, name)
            if match:
                parts = match.groupdict()
                owner = parts.get("owner")
                module = f"module.get_submodule({owner!r})" if owner else "module"
                code = code.format(module=module, weight=parts.get("weight"))
                return f" {name!r} is of {what}: call {code}, {AGAIN}."
    for name in names:
        if PACKED.fullmatch(name):
            return (
                f" {name!r} is of a quantised module: convert the float module from "
                "which it was made."
            )
        if name.endswith("_raw"):
            return (
                f" {name!r} is of weight dropout: give {{k.removesuffix('_raw'): v for "
                "k, v in state_dict.items()} without the names that it repeats."
            )
    return _prefixes(every, prefix)


def _is_state_dict(part: Any) -> None:
    if not isinstance(part, Mapping) or not _starts(part):
        raise ValueError


def _starts(names: Iterable) -> list[str]:
    """What stands before the names of RNNs, in order."""
    matches = [RNN.fullmatch(name) for name in names if isinstance(name, str)]
    return sorted({match[1] for match in matches if match})


def _prefixes(names: list[str], prefix: str) -> str:
    found = _starts(names)
    others = [p for p in found if p != prefix]
    within = [name for name in names if name.startswith(prefix)]
    if prefix in found and _starts(within) == [prefix]:
        start = tuple(prefix + part for part in ("weight_ih", "weight_hh", "bias_"))
        return (
            f" Other names have the RNN's prefix {prefix!r} too: give {{k: v for k, v in "
            f"state_dict.items() if k.startswith({start})}}."
        )
    if not others:
        return ""
    code = " or ".join(f"prefix={p!r}{WRAPPERS.get(p, '')}" for p in others[:6])
    one = "" if len(others) == 1 else " for one of them"
    return f" The names of an RNN have a prefix here: give {code}{one}."
