"""What was given in place of weights, and the code that makes weights of it.

Every ``from_*`` refuses what it cannot read. This file adds to its error where in the
given tree the weights are.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from jaxrnn.cell import Cell
from jaxrnn.compose import BidirectionalParams
from jaxrnn.convert import _kinds

# Where an optimizer keeps averages, which have the names and shapes of the weights.
AVERAGES = re.compile(r"\W(opt_state|mu|nu|trace|exp_avg\w*|optimizer\w*)\b")


@contextlib.contextmanager
def explained(name: str, value: Any, takes: Callable) -> Iterator[None]:
    """Adds to a ValueError what `value` is, and the code that finds weights in it.

    Args:
        name: what errors call `value`.
        value: what the user gave.
        takes: whether a part of `value` is a network's weights; it may raise for no.
    """
    try:
        yield
    except ValueError as error:
        more = ours(value) or inside(name, value, takes)
        raise ValueError(f"{error}{more}") from error.__cause__


def ours(value: Any) -> str:
    """What to say where a ``from_*`` got jaxrnn's own params or cell; else ""."""
    own = (Cell, BidirectionalParams, *(kind.params for kind in _kinds.KINDS))
    for part in [value, *(value if isinstance(value, tuple | list) else ())]:
        if isinstance(part, own):
            return (
                f" {type(part).__name__} is jaxrnn's own: from_* functions read "
                "another library's weights, and to_*(cell, params) write them."
            )
    return ""


def inside(name: str, value: Any, takes: Callable) -> str:
    """Where in `value` are parts that `takes` accepts; "" for nowhere."""
    found = list(places(value, takes))
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
        nodes = jax.tree_util.tree_leaves_with_path(tree, is_leaf=taken)
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
        jax.tree_util.keystr(path): node for path, node in nodes if path and taken(node)
    }
