"""The data of `fit`: groups of batches of one shape, each with the position after it."""

import base64
import copy
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn._functions import check_function
from jaxrnn.train import parallel
from jaxrnn.train.axes import batch_axes
from jaxrnn.train.batches import check_batches, checked, iterator_of
from jaxrnn.train.buckets import Bucket, longest_run
from jaxrnn.train.dataset import settings_of
from jaxrnn.train.state import State
from jaxrnn.train.streams import Window

# The key of drawn data is folded from the run's key with this number; no step has it.
DATA = np.uint32(2**32 - 1)


class Group(NamedTuple):
    """Batches for one compiled call.

    Fields:
        count: how many.
        stacked: a tree of [room, ...] on the device; entries from `count` on are not set.
            None if the data are drawn on the device.
        batches: the same batches as a list, on the host.
        position: of the data after these batches; None if unknown.
    """

    count: int
    stacked: Any
    batches: list
    position: Any

    @property
    def tokens(self) -> int | None:
        """How many tokens the batches hold; None where they are not known to hold any."""
        if not self.batches or not isinstance(self.batches[0], Window | Bucket):
            return None
        count = lambda b: (
            b.inputs.size if isinstance(b, Window) else int(b.lengths.sum())
        )
        return sum(map(count, self.batches))


def drawn(draw: Callable, key: jax.Array, step: Any) -> Any:
    """The batch of the update after `step`. No loss gets its key."""
    return draw(jax.random.fold_in(jax.random.fold_in(key, DATA), step))


class Drawn:
    """Data that are a function of a key, drawn on the device: they have no position."""

    seekable, position, kind = True, None, {"kind": "drawn"}

    def __init__(self, draw: Callable):
        check_function("data", draw, "key")
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
    """Data that are an iterable of batches, which is iterated again when it ends.

    Args:
        data: the iterable.
        size: how many batches are taken at once, at most.
        batch_axis, mesh: see `make_step`.

    Attributes:
        kind: what the data are, a dict for JSON: "kind" is "list", "grain" or "iterator",
            the rest are settings.
        seekable: whether the iterator has a position, which checkpoints keep.

    Raises:
        ValueError: for one batch, or something that gives none.
    """

    draw = None
    kind: dict

    def __init__(self, data: Iterable, size: int, batch_axis: Any, mesh: Any):
        check_batches("data", data)
        self.data, self.size, self.batch_axis, self.mesh = data, size, batch_axis, mesh
        self.kind = _kind_of(data)
        # For each form of batch, how many go into one call. One number is one program.
        self.rooms = {}
        if isinstance(data, Sequence):
            self.data = _Counted(data)
            forms = [_form(checked("data", batch)) for batch in data]
            for form, run in itertools.groupby(forms):
                longest = max(self.rooms.get(form, 0), len(list(run)))
                self.rooms[form] = min(longest, size)
            if len(self.rooms) == 1:  # then the run goes on when the list starts again
                self.rooms = {}
        self.iterator = iterator_of(self.data)
        self.seekable = hasattr(self.iterator, "set_state")
        # Batches that were read but not taken, and the positions after them.
        self.ahead = deque()
        self.position = self._position_now()

    def seek(self, position: Any) -> None:
        """Goes to where a group ended."""
        if position is None:
            raise ValueError(
                "data: the folder's run drew its data on the device, from a function of a "
                "key. Give the same, or use another folder."
            )
        was, now = position.get("kind"), self.kind["kind"]
        if was not in (None, now):
            raise ValueError(
                f"data: the folder's run was given {_KINDS[was]}, this one is given "
                f"{_KINDS[now]}. Give the same, or use another folder."
            )
        state = position["state"]
        state = base64.b64decode(state) if position["bytes"] else state
        try:
            self.iterator.set_state(state)
        except Exception as error:
            raise ValueError(
                "data: expected an iterator that can go to where the folder's run stood, "
                f"got {type(error).__name__}: {error} Give the same data, or use another "
                "folder."
            ) from error
        self.ahead.clear()
        self.position = position

    def take(self, most: int) -> Group:
        """Up to `most` batches of one form.

        Each form has one room, the most batches of it that follow each other, and so one
        program. A shorter run leaves the rest of the room unset.
        """
        found = [self._next()]
        form = _form(found[0][0])
        room = self.rooms.get(form) or longest_run(self.data, found[0][0])
        while len(found) < min(most, room or self.size):
            new = self._next()
            if _form(new[0]) != form:
                self.ahead.appendleft(new)
                # Where nothing is known: as the first run, which may be cut short by
                # a call's end or a resume. A room of one alone has other bits.
                room = room or max(len(found), 2)
                break
            found.append(new)
        room = self.rooms.setdefault(form, min(room or self.size, self.size))
        return self._group(found, room)

    def batch(self, group: Group, number: int, state: State) -> Any:
        return group.batches[number]

    def _group(self, found: list, room: int) -> Group:
        batches = [batch for batch, _ in found]
        self.position = found[-1][1]
        return Group(len(batches), self._stack(batches, room), batches, self.position)

    def _next(self) -> tuple[Any, Any]:
        if self.ahead:
            return self.ahead.popleft()
        for _ in range(2):
            try:
                batch = next(self.iterator)
            except StopIteration:
                self.iterator = iterator_of(self.data)
            else:
                return copied("data", batch), self._position_now()
        raise ValueError(
            "data: expected batches for all steps, but they ended and cannot be begun "
            "anew. Give a list, a grain dataset, or something whose iter() starts over."
        )

    def _position_now(self) -> Any:
        if not self.seekable:
            return None
        state = self.iterator.get_state()
        encoded = isinstance(state, bytes)
        state = base64.b64encode(state).decode() if encoded else copy.deepcopy(state)
        return {"state": state, "bytes": encoded, "kind": self.kind["kind"]}

    def _stack(self, batches: list, room: int) -> Any:
        def one(*leaves):
            dtype = jax.dtypes.canonicalize_dtype(leaves[0].dtype)
            out = np.empty((room, *leaves[0].shape), dtype)
            for i, leaf in enumerate(leaves):
                out[i] = leaf
                if (
                    dtype != leaf.dtype
                    and dtype.kind in "iu"
                    and (out[i] != leaf).any()
                ):
                    raise ValueError(
                        f"data: expected integers that {dtype} holds, got {leaf.dtype} "
                        "with larger ones. Make them smaller, or set jax_enable_x64."
                    )
            return out

        stacked = jax.tree.map(one, *batches)
        if self.mesh is None:
            return jax.tree.map(jax.numpy.asarray, stacked)
        devices = parallel.size(self.mesh)
        axes = batch_axes(batches[0], self.batch_axis, devices)
        (name,) = self.mesh.axis_names
        return parallel.place(stacked, self.mesh, parallel.specs(axes, name, ahead=1))


def source_of(data: Any, size: int, batch_axis: Any, mesh: Any) -> Drawn | Fed:
    """The source of a run: of a function's data, or of an iterable's."""
    return Drawn(data) if callable(data) else Fed(data, size, batch_axis, mesh)


def copied(name: str, batch: Any) -> Any:
    """`batch` in arrays of its own, for an iterator may fill the same ones again."""
    return jax.tree.map(np.array, checked(name, batch))


class _Counted:
    """A sequence of batches whose iterator knows how many it gave."""

    def __init__(self, batches: Sequence):
        self.batches = batches

    def __iter__(self):
        return _Counting(self.batches)


class _Counting:
    def __init__(self, batches):
        self.batches, self.count = batches, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.count >= len(self.batches):
            raise StopIteration
        self.count += 1
        return self.batches[self.count - 1]

    def get_state(self):
        return self.count

    def set_state(self, count):
        self.count = count


def _form(batch: Any) -> Any:
    """Structure, shapes and dtypes: batches of one form have one program."""
    leaves, tree = jax.tree.flatten(batch)
    dtype = lambda a: a.dtype if hasattr(a, "dtype") else np.result_type(a)
    return tree, tuple((np.shape(a), dtype(a)) for a in leaves)


_KINDS = {
    "list": "a list of batches",
    "grain": "a grain data set",
    "iterator": "an iterable of its own kind",
}


def _kind_of(data: Any) -> dict:
    if isinstance(data, Sequence):
        return {"kind": "list", "batches": len(data)}
    if type(data).__module__.partition(".")[0] == "grain":
        return {"kind": "grain", **settings_of(data)}
    return {"kind": "iterator", "name": type(data).__qualname__}
