"""What a run is, kept in its folder as ``run.json``, so that no other run goes on there.

A run is known by its data and their settings, its key, the structure of its params,
optimizer state, carry and shared state, and the name of its loss. What it may change from
one call to the next is not part of it: steps, devices, logging, validation, patience.
"""

import hashlib
import json
import os
import warnings
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.train.checkpoint import Folder
from jaxrnn.train.processes import is_first_process, to_host, together
from jaxrnn.train.state import State

FIELDS = ("data", "loss", "key", "params", "opt_state", "carry", "shared", "hypers")


def describe(loss: Any, state: State, data: Any, **more: Any) -> dict:
    """A description of the run, of JSON values.

    Args:
        loss: the loss function.
        state: the first state.
        data: what the data are, of JSON values.
        more: further entries, such as "optimizer" or "hypers".
    """
    trees = {name: structure(getattr(state, name)) for name in FIELDS[3:7]}
    key = np.asarray(to_host(state.key)).tolist()
    description = {"data": data, "loss": name_of(loss), "key": key, **trees, **more}
    return json.loads(json.dumps(description))  # as it will be read


def structure(tree: Any) -> dict[str, str]:
    """The dtype and shape of each leaf by its name."""
    leaves = jax.tree.leaves_with_path(jax.tree.map(jnp.asarray, tree))
    kind = lambda leaf: f"{leaf.dtype} {list(leaf.shape)}"
    return {jax.tree_util.keystr(path) or "value": kind(leaf) for path, leaf in leaves}


def name_of(function: Any) -> str:
    """The name of a function, of a partial one that of what it calls."""
    function = getattr(function, "func", function)
    return getattr(function, "__qualname__", type(function).__qualname__)


def update_rule(optimizer: Any, state: State) -> dict[str, str]:
    """A fingerprint of what an optimizer does, learning rate and schedule included.

    It is comparable under one version of JAX and Optax alone.
    """
    value = jax.ShapeDtypeStruct((), np.float32)
    update = lambda grads, memory, params, shared, value: optimizer.update(
        grads, memory, params, value=value, grad=grads, shared=shared
    )
    traced = jax.make_jaxpr(update)(
        state.params, state.opt_state, state.params, state.shared, value
    )
    digest = hashlib.sha256(str(traced).encode())
    for constant in traced.consts:
        digest.update(np.asarray(to_host(constant)).tobytes())
    versions = {name: version(name) for name in ("jax", "optax")}
    return {**versions, "update": digest.hexdigest()[:16]}


def claim(folder: Folder, description: dict) -> list[str]:
    """Makes the folder that of the described run, or goes on if it already is.

    Returns:
        Lines that a person should read.

    Raises:
        ValueError: if it holds another run that has made updates.
    """
    path, lines = folder.path / "run.json", []
    with together():
        if is_first_process():
            before = json.loads(path.read_text()) if path.exists() else None
            differs = [] if before is None else differences(before, description)
            if differs and folder.steps() not in ([], [0]):
                raise ValueError(
                    f"folder: {folder.path} holds another run: {'; '.join(differs)}. Use "
                    f"another folder for another run. If going on is meant, delete {path}."
                )
            if differs and folder.steps():
                lines.append(
                    f"{folder.path} held another run, of no updates: begun anew"
                )
                folder.forget(0)
            if before is not None and not differs:
                _warn_of_optimizer(folder, before, description)
            staged = path.with_name("run.json.new")
            staged.write_text(json.dumps(description, indent=1) + "\n")
            os.replace(staged, path)
    return lines


def differences(before: dict, now: dict) -> list[str]:
    """What makes `now` another run than `before`, in words."""
    found = []
    for name in FIELDS:
        old, new = before.get(name), now.get(name)
        if json.dumps(old) == json.dumps(new):  # NaN is itself there
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            names = [k for k in {**old, **new} if old.get(k) != new.get(k)]
            for k in names[:3]:
                was = f"{k} was {old.get(k, 'absent')}, now {new.get(k, 'absent')}"
                found.append(f"{name}: {was}")
            if len(names) > 3:
                found.append(f"{name}: {len(names) - 3} more")
        else:
            origin = " (that of train.init)" if name == "key" else ""
            found.append(f"{name}{origin} was {old}, now {new}")
    return found


def _warn_of_optimizer(folder: Folder, before: dict, now: dict) -> None:
    """Warns where going on is meaningful and perhaps not meant."""
    old, new = before.get("optimizer"), now.get("optimizer")
    comparable = old and new and all(old[k] == new[k] for k in ("jax", "optax"))
    if comparable and old != new:
        warnings.warn(
            f"{folder.path}: the optimizer computes something else than that of the "
            "folder's run, such as another learning rate. What was trained before stays "
            "as it is.",
            UserWarning,
            stacklevel=2,
        )
