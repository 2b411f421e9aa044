"""What happens when a loss or a gradient stops being a number.

`make_step` skips such an update and counts it; after some in a row `fit` stops with
`NonFinite`, which names the first value that is at fault and holds all that it takes to
run that update again.
"""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.train.checkpoint import Folder
from jaxrnn.train.feed import Drawn, Fed, Group
from jaxrnn.train.orbax import read_tree, write_tree
from jaxrnn.train.processes import to_host, with_keys
from jaxrnn.train.record import quotient, totals
from jaxrnn.train.state import State


class NonFinite(ArithmeticError):
    """Training stopped: too many updates in a row were not finite.

    Attributes:
        step: the number of the update that failed, counted from 1.
        leaf: the first value that is not finite, such as ``batch.xs`` or ``grads['wh']``.
        state: before that update; shared state as `update_shared` left it after.
        batch: of that update.
        path: where both lie, for `load_bundle`; None without a folder, or if it could not
            be written.
    """

    def __init__(self, step: int, leaf: str, state: State, batch: Any, path: Any):
        self.step, self.leaf, self.state, self.batch = step, leaf, state, batch
        self.path = path
        kept = (
            "this error holds"
            if path is None
            else f"train.load_bundle({str(path)!r}) loads"
        )
        super().__init__(
            f"update {step} is not finite, nor were {int(state.in_a_row)} just before it: "
            f"first in {leaf}. Nothing of it was applied; {kept} its state and its batch. "
            "A smaller learning rate, clipping, or a look at the data may help."
        )


def load_bundle(path: str | os.PathLike, state: State, batch: Any) -> tuple[State, Any]:
    """The state and the batch of an update that was not finite, to run it again.

    Args:
        path: `NonFinite.path`.
        state: one of the same structure, such as the run's first.
        batch: one of the same structure and shapes.

    Raises:
        ValueError: if the files are damaged or hold other shapes.

    Example:
        ``step(*train.load_bundle(error.path, state, batch))`` skips once more.
    """
    return read_tree(path, (state, batch))


def first_bad(gradient: Callable, state: State, batch: Any) -> str:
    """The name of the first value that is not finite, in the order of the computation.

    batch, params, carry, shared, loss, grads, new carry, new shared; beyond them what
    the update makes of params or optimizer state. `gradient` is from `make_gradient`.
    """
    found = jax.jit(gradient)(state, batch)
    carry, shared, grads, means = to_host(found)
    value = quotient(totals(means)["loss"])
    order = {
        "batch": batch,
        "params": state.params,
        "carry": state.carry,
        "shared": state.shared,
        "loss": value,
        "grads": grads,
        "new carry": carry,
        "new shared": shared,
    }
    for name, tree in order.items():
        for path, leaf in jax.tree.leaves_with_path(tree):
            leaf = np.asarray(to_host(leaf))
            if jnp.issubdtype(leaf.dtype, jnp.inexact):
                if not np.isfinite(leaf.astype(np.float64)).all():
                    return name + jax.tree_util.keystr(path)
    return "the updated params or optimizer state"


def explain(
    gradient: Callable,
    source: Drawn | Fed,
    state: State,
    group: Group,
    start: int,
    folder: Folder | None,
) -> NonFinite:
    """The error for the update that `state` has just skipped; its bundle is written.

    Args:
        gradient: from `make_gradient`.
        source: of the data, of which `group` was read from update `start` on.
        state: after the update.
        folder: for the bundle; None: the error alone holds it.
    """
    number = int(state.step)
    state = with_keys(to_host(state), state)
    state = state._replace(
        step=state.step - 1, skipped=state.skipped - 1, in_a_row=state.in_a_row - 1
    )
    batch = source.batch(group, number - 1 - start, state)
    path = None
    if folder is not None:
        path = folder.path / f"nonfinite-{number}"
        while path.exists():
            path = path.with_name(path.name + ".again")
        try:
            write_tree(path, (state, batch))
        except Exception:  # no room for it: the error holds them all the same
            path = None
    return NonFinite(number, first_bad(gradient, state, batch), state, batch, path)
