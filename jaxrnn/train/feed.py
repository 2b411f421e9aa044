"""What feeds `fit`: groups of batches of one shape, each with the position after it."""

import base64
import copy
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.extra import need
from jaxrnn.train import parallel
from jaxrnn.train.step import State

# The key that data are drawn from is folded from the run's with this, which no step is.
DATA = np.uint32(2**32 - 1)


class Group(NamedTuple):
    """Batches for one compiled call.

    Fields:
        count: how many.
        stacked: a tree of [steps_per_call, ...] on the device; None if drawn there.
        batches: the same as they came, a list.
        position: where the data stand after them; None if that cannot be told.
    """

    count: int
    stacked: Any
    batches: list
    position: Any


def drawn(draw: Callable, key: jax.Array, step: Any) -> Any:
    """The batch of the update after `step`, from a key that no loss gets."""
    return draw(jax.random.fold_in(jax.random.fold_in(key, DATA), step))


class Drawn:
    """Data that are a function of a key: nothing to fetch, nowhere to be."""

    seekable, position, kind = True, None, {"kind": "drawn"}

    def __init__(self, draw: Callable):
        self.draw = draw

    def seek(self, position: Any) -> None:
        if position is not None:
            raise ValueError(
                "data: the folder's run was given batches. Give the same, or use another "
                "folder for data that are drawn."
            )

    def take(self, most: int) -> Group:
        return Group(most, None, [], None)

    def batch(self, group: Group, number: int, state: State) -> Any:
        """Batch `number` of `group`, which is the one that `state` would read."""
        return jax.jit(lambda *at: drawn(self.draw, *at))(state.key, state.step)


class Fed:
    """Data that are an iterable of batches, begun anew when it ends."""

    draw, kind = None, None

    def __init__(self, data: Iterable, size: int, batch_axis: Any, mesh: Any):
        if isinstance(data, Sequence):
            data = _Counted(data)
        self.data, self.size, self.batch_axis, self.mesh = data, size, batch_axis, mesh
        self.iterator = begun(data)
        self.seekable = hasattr(self.iterator, "set_state")
        # Batches that were looked at, and the positions after them.
        self.ahead = deque()
        self.position = self._where()

    def seek(self, position: Any) -> None:
        """Goes to where a group ended."""
        if position is None:
            raise ValueError(
                "data: the folder's run drew its data on the device, from a function of a "
                "key. Give the same, or use another folder."
            )
        state = position["state"]
        state = base64.b64decode(state) if position["bytes"] else state
        self.iterator.set_state(state)
        self.ahead.clear()
        self.position = position

    def take(self, most: int) -> Group:
        """Up to `most` batches of one shape."""
        found = [self._next()]
        while len(found) < most:
            new = self._next()
            if _kind(new[0]) != _kind(found[0][0]):
                self.ahead.appendleft(new)
                if 4 * len(found) < self.size:  # a loop of its own costs less than room
                    self.ahead.extendleft(reversed(found[1:]))
                    del found[1:]
                    return self._group(found, 1)
                break
            found.append(new)
        return self._group(found, self.size)

    def batch(self, group: Group, number: int, state: State) -> Any:
        return group.batches[number]

    def _group(self, found: list, size: int) -> Group:
        batches = [batch for batch, _ in found]
        self.position = found[-1][1]
        return Group(len(batches), self._stack(batches, size), batches, self.position)

    def _next(self) -> tuple[Any, Any]:
        if self.ahead:
            return self.ahead.popleft()
        for _ in range(2):
            try:
                # A copy, for an iterator may fill the same arrays again.
                return jax.tree.map(np.array, next(self.iterator)), self._where()
            except StopIteration:
                self.iterator = begun(self.data)
        raise ValueError(
            "data: expected batches for all steps, but they ended and cannot be begun "
            "anew. Give a list, a grain dataset, or something whose iter() starts over."
        )

    def _where(self) -> Any:
        if not self.seekable:
            return None
        state = self.iterator.get_state()
        encoded = isinstance(state, bytes)
        state = base64.b64encode(state).decode() if encoded else copy.deepcopy(state)
        return {"state": state, "bytes": encoded}

    def _stack(self, batches: list, size: int) -> Any:
        def one(*leaves):
            dtype = jax.dtypes.canonicalize_dtype(leaves[0].dtype)
            out = np.zeros((size, *leaves[0].shape), dtype)  # of one size: one program
            for i, leaf in enumerate(leaves):
                out[i] = leaf
            return out

        stacked = jax.tree.map(one, *batches)
        if self.mesh is None:
            return jax.tree.map(jax.numpy.asarray, stacked)
        parts = parallel.size(self.mesh)
        axes = parallel.batch_axes(batches[0], self.batch_axis, parts)
        (name,) = self.mesh.axis_names
        return parallel.place(stacked, self.mesh, parallel.specs(axes, name, ahead=1))


def begun(data: Any) -> Any:
    """A new iterator; of a grain dataset one that reads a few batches ahead."""
    if hasattr(data, "to_iter_dataset"):
        ahead = need("grain").ReadOptions(num_threads=2, prefetch_buffer_size=8)
        data = data.to_iter_dataset(ahead)
    return iter(data)


class _Counted:
    """A sequence of batches whose iterator knows how many it gave."""

    def __init__(self, batches: Sequence):
        self.batches = batches

    def __iter__(self):
        return _Counting(self.batches)


class _Counting:
    def __init__(self, batches):
        self.batches, self.given = batches, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.given >= len(self.batches):
            raise StopIteration
        self.given += 1
        return self.batches[self.given - 1]

    def get_state(self):
        return self.given

    def set_state(self, given):
        self.given = given


def _kind(batch: Any) -> Any:
    leaves, tree = jax.tree.flatten(batch)
    return tree, [(np.shape(a), np.result_type(a)) for a in leaves]
