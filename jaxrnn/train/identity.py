"""What a run is, kept in its folder as ``run.json``, so that no other run goes on there.

A run is told by its data and their settings, its key, the structure of its params,
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

from jaxrnn.train import parallel
from jaxrnn.train.checkpoint import Folder, first
from jaxrnn.train.step import State

FIELDS = ("data", "loss", "key", "params", "opt_state", "carry", "shared", "hypers")


def about(loss: Any, state: State, data: Any, **more: Any) -> dict:
    """A description of the run, of JSON values.

    Args:
        loss: the loss function.
        state: the first state.
        data: what the data are, of JSON values.
        more: further entries, such as "optimizer" or "hypers".
    """
    parts = {name: structure(getattr(state, name)) for name in FIELDS[3:7]}
    key = np.asarray(parallel.to_host(state.key)).tolist()
    told = {"data": data, "loss": name_of(loss), "key": key, **parts, **more}
    return json.loads(json.dumps(told))  # as it will be read


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
    given = state.params, state.opt_state, state.params, state.shared, value
    traced = jax.make_jaxpr(update)(*given)
    said = hashlib.sha256(str(traced).encode())
    for constant in traced.consts:
        said.update(np.asarray(parallel.to_host(constant)).tobytes())
    versions = {name: version(name) for name in ("jax", "optax")}
    return {**versions, "update": said.hexdigest()[:16]}


def claim(home: Folder, told: dict) -> list[str]:
    """Makes the folder that of the run `told`, or goes on if it already is.

    Returns:
        Lines that a person should read.

    Raises:
        ValueError: if it holds another run that has made updates.
    """
    path, lines = home.path / "run.json", []
    with parallel.together():
        if first():
            before = json.loads(path.read_text()) if path.exists() else None
            differs = [] if before is None else differences(before, told)
            if differs and home.steps() not in ([], [0]):
                raise ValueError(
                    f"folder: {home.path} holds another run: {'; '.join(differs)}. Use "
                    f"another folder for another run. If going on is meant, delete {path}."
                )
            if differs and home.steps():
                lines.append(f"{home.path} held another run, of no updates: begun anew")
                home.forget(0)
            if before is not None and not differs:
                _remark(home, before, told)
            staged = path.with_name("run.json.new")
            staged.write_text(json.dumps(told, indent=1) + "\n")
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
            where = " (that of train.init)" if name == "key" else ""
            found.append(f"{name}{where} was {old}, now {new}")
    return found


def _remark(home: Folder, before: dict, now: dict) -> None:
    """Warns where going on is meaningful and perhaps not meant."""
    old, new = before.get("optimizer"), now.get("optimizer")
    comparable = old and new and all(old[k] == new[k] for k in ("jax", "optax"))
    if comparable and old != new:
        warnings.warn(
            f"{home.path}: the optimizer computes something else than that of the "
            "folder's run, such as another learning rate. What was trained before stays "
            "as it is.",
            UserWarning,
            stacklevel=2,
        )
