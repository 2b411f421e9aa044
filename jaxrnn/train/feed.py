"""What feeds `fit`: groups of batches of one shape, each with the position after it."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

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

    seekable, position = True, None

    def __init__(self, draw: Callable):
        self.draw = draw

    def seek(self, position: Any) -> None:
        pass

    def take(self, most: int) -> Group:
        return Group(most, None, [], None)

    def batch(self, group: Group, number: int, state: State) -> Any:
        """Batch `number` of `group`, which is the one that `state` would read."""
        return jax.jit(drawn, static_argnums=0)(self.draw, state.key, state.step)


class Fed:
    """Data that are an iterable of batches, begun anew when it ends."""

    draw = None

    def __init__(self, data: Iterable, size: int, batch_axis: Any, mesh: Any):
        if isinstance(data, Sequence):
            data = _Counted(data)
        self.data, self.size, self.batch_axis, self.mesh = data, size, batch_axis, mesh
        self.iterator, self.round = self._begin(), 0
        self.seekable = hasattr(self.iterator, "set_state")
        self.ahead = None  # a batch of another shape, and the position after it
        self.position = self._where()

    def seek(self, position: Any) -> None:
        """Goes to where a group ended."""
        if position is None:
            raise ValueError(
                "data: the folder's run drew its data on the device, from a function of a "
                "key. Give the same, or use another folder."
            )
        self.round = position["round"]
        self.iterator.set_state(position["state"])
        self.ahead, self.position = None, position

    def take(self, most: int) -> Group:
        """Up to `most` batches of one shape."""
        batches = []
        while len(batches) < most:
            batch, position = self.ahead or self._next()
            self.ahead = None
            if batches and _kind(batch) != _kind(batches[0]):
                self.ahead = batch, position
                break
            batches.append(batch)
            self.position = position
        return Group(len(batches), self._stack(batches), batches, self.position)

    def batch(self, group: Group, number: int, state: State) -> Any:
        return group.batches[number]

    def _begin(self) -> Any:
        return iter(self.data)

    def _next(self) -> tuple[Any, Any]:
        for _ in range(2):
            try:
                return next(self.iterator), self._where()
            except StopIteration:
                self.iterator, self.round = self._begin(), self.round + 1
        raise ValueError(
            "data: expected batches for all steps, but they ended and cannot be begun "
            "anew. Give a list, a grain dataset, or something whose iter() starts over."
        )

    def _where(self) -> Any:
        if not self.seekable:
            return None
        return {"round": self.round, "state": copy.deepcopy(self.iterator.get_state())}

    def _stack(self, batches: list) -> Any:
        def one(*leaves):
            leaf = np.asarray(leaves[0])
            dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
            out = np.zeros((self.size, *leaf.shape), dtype)  # of one size: one program
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
