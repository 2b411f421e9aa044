"""Hooks: what a run calls between its updates, and what the user's own get to see."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn._functions import check_function
from jaxrnn.train.checks import check_count
from jaxrnn.train.state import State


class Snapshot(NamedTuple):
    """What a hook sees of a run. All of it is a copy, which may be kept.

    Fields:
        step: the updates made so far.
        state: a `State`, after the last of them; in a sweep of [members, ...].
        history: the rows so far, perhaps none; see `Fitted`.
        members: in a sweep the range of members, its end excluded; else None.
    """

    step: int
    state: State
    history: list[dict]
    members: tuple[int, int] | None = None


@dataclass(frozen=True)
class Hook:
    """A function, and when a run calls it.

    Fields:
        call: the function.
        every: updates between calls of it; it is also called after the last update. None:
            after each compiled call, wherever that ends.
        at_end: whether it is also called where a run ends early.
    """

    call: Callable
    every: int | None = None
    at_end: bool = False

    def due(self, step: int, steps: int) -> bool:
        """Whether it is time for it after update `step` of `steps`."""
        return self.every is None or step % self.every == 0 or step == steps


def every(updates: int, call: Callable) -> Hook:
    """A hook for `fit` and `sweep`: calls `call` every `updates` updates.

    It is also called after the last of `steps`. At one step come first the row of the
    updates, then validation and early stopping, then the hooks in their order, and last the
    checkpoint. Compiled calls end where a hook is due, so a small `updates` makes calls
    short. No hook changes the bits of a run.

    **Stopping.** If `call` returns True, the run ends there as it ends by `patience`: it is
    saved, and `fit` returns. In a sweep this ends the slice of members that `call` was
    given, and the next slice begins. Where a folder's run was ended so, calling it again
    asks the hooks of that step once more. It goes on if none of them returns True.

    **Resuming.** A checkpoint is written when all hooks of its step have returned. A run
    that was killed therefore repeats the calls that came after its newest checkpoint, each
    with the same snapshot to the bit, and no other. An exception from `call` ends the run
    in the same way: what was saved stays. What a hook writes should have the step in its
    name.

    **Processes.** Every process calls the hooks, as each may hold a part of the state. A
    computation with the state must run in all of them. Files should be written by the first
    alone, ``jax.process_index() == 0``. True in one process stops all.

    Args:
        updates: from 1.
        call: ``(snapshot) -> None or bool``; see `Snapshot`.

    Returns:
        A hook, for the list ``hooks=``.

    Raises:
        ValueError: unless `updates` is a whole number and `call` takes one argument. The
            run raises it if `call` returns something else than None or a bool.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from jaxrnn import train
        >>> def loss(params, carry, batch, key):
        ...     return None, {"loss": train.mean((params - batch) ** 2)}
        >>> seen = []
        >>> def look(snapshot):  # sample, draw a picture, log
        ...     seen.append((snapshot.step, float(snapshot.state.params)))
        >>> def enough(snapshot):
        ...     return snapshot.history[-1]["loss"] < 0.1
        >>> optimizer = optax.sgd(0.1)
        >>> state = train.init(jnp.zeros(()), optimizer, jax.random.key(0))
        >>> hooks = [train.every(3, look), train.every(2, enough)]
        >>> options = dict(log_every=1, hooks=hooks, progress=False)
        >>> fitted = train.fit(loss, optimizer, state, [jnp.ones(4)], steps=50, **options)
        >>> [(step, round(value, 2)) for step, value in seen], int(fitted.state.step)
        ([(3, 0.49), (6, 0.74)], 8)
    """
    check_count("updates", updates)
    check_function("call", call, "snapshot")
    return Hook(call, updates)


def check_hooks(hooks: Any) -> None:
    """Raises ValueError unless `hooks` are some that `every` made."""
    wanted = "hooks: expected a list of train.every(updates, call), got"
    if not isinstance(hooks, Iterable) or hasattr(hooks, "__next__"):
        raise ValueError(f"{wanted} {type(hooks).__name__}.")
    for hook in hooks:
        if not isinstance(hook, Hook):
            raise ValueError(f"{wanted} {type(hook).__name__} in it.")


def asks_to_stop(answer: Any) -> bool:
    """Whether a hook that returned `answer` wants its run to end.

    Raises:
        ValueError: unless it is None or a bool. What a function happens to return, such as
            the count of ``path.write_text``, must not end a run.
    """
    if answer is None:
        return False
    is_array = isinstance(answer, np.ndarray | np.generic | jax.Array)
    if isinstance(answer, bool) or (
        is_array and answer.dtype == bool and not answer.shape
    ):
        return bool(answer)
    raise ValueError(
        "hooks: expected a hook to return None, or True to stop the run, got "
        f"{type(answer).__name__}: {answer!r:.60}."
    )
