"""The data of `fit`: groups of batches of one shape, each with the position after it."""

import base64
import copy
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.extra import need
from jaxrnn.train import parallel
from jaxrnn.train.data import about, longest_run, told
from jaxrnn.train.rows import array, is_data
from jaxrnn.train.step import State, check_function

# The key of drawn data is folded from the run's key with this number; no step has it.
DATA = np.uint32(2**32 - 1)
MANY = 2**30  # batches: nobody waits for the end of so many


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
        self.iterator = begun(self.data)
        self.seekable = hasattr(self.iterator, "set_state")
        # Batches that were read but not taken, and the positions after them.
        self.ahead = deque()
        self.position = self._where()

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
                room = room or len(found)  # where nothing is known: as the first run
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
                self.iterator = begun(self.data)
            else:
                return copied("data", batch), self._where()
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
        parts = parallel.size(self.mesh)
        axes = parallel.batch_axes(batches[0], self.batch_axis, parts)
        (name,) = self.mesh.axis_names
        return parallel.place(stacked, self.mesh, parallel.specs(axes, name, ahead=1))


def check_batches(name: str, data: Any) -> None:
    """Raises ValueError unless `data` can be an iterable of batches.

    A list holds batches, and so does a tuple of trees of one structure. An array, a dict, a
    NamedTuple, a tuple of arrays, and a list of arrays of different rank are one batch.
    """
    if callable(data) and not hasattr(data, "__iter__"):
        raise ValueError(
            f"{name}: expected an iterable of batches, got a function. Call it for each: "
            "[draw(key) for key in jax.random.split(key, 10)]."
        )
    if _is_one_batch(data):
        raise ValueError(
            f"{name}: expected an iterable of batches, got one batch, a "
            f"{type(data).__name__}. Write [batch] to use it again and again, or let "
            "train.arrays(batch, rows, batch_axis=...) cut batches from it."
        )
    iterates = any(hasattr(data, name) for name in ("__iter__", "__getitem__"))
    if isinstance(data, str | bytes) or not iterates:
        raise ValueError(
            f"{name}: expected an iterable of batches, got {type(data).__name__}."
        )
    if isinstance(data, Sequence) and not len(data):
        raise ValueError(f"{name}: expected at least one batch, got none.")


def check_ends(name: str, batches: Any) -> None:
    """`check_batches`, and a ValueError if `batches` are known to have no end."""
    check_batches(name, batches)
    if _endless(batches):
        raise ValueError(
            f"{name}: expected batches that end, got a data set without end. Write "
            "epochs=1 in train.arrays, train.buckets or train.streams, and a number in "
            "grain's repeat()."
        )


def check_valid(valid: Any) -> None:
    """`check_ends`, and a ValueError unless every validation can begin anew."""
    check_ends("valid", valid)
    if hasattr(valid, "__next__"):
        raise ValueError(
            "valid: expected batches that every validation can go through anew, got a "
            f"{type(valid).__name__}, which gives them once. Give a data set or a list, "
            "such as list(itertools.islice(valid, 10))."
        )


def each(name: str, batches: Iterable) -> Iterator:
    """The batches of an iterable that ends, each checked.

    Raises:
        ValueError: for one that has no end, for one batch, or batches without arrays.
    """
    check_ends(name, batches)
    for batch in begun(batches):
        yield checked(name, batch)


def checked(name: str, batch: Any) -> Any:
    """`batch`, after a ValueError unless it is a tree of numbers."""
    leaves = jax.tree.leaves_with_path(batch)
    if not leaves:
        raise ValueError(f"{name}: expected batches, trees of arrays, got {batch!r}.")
    for path, leaf in leaves:
        dtype = getattr(leaf, "dtype", None)
        if not isinstance(dtype, np.dtype) or not is_data(dtype):
            array(
                f"{name}: batch{jax.tree_util.keystr(path)}", leaf
            )  # says what is wrong
    return batch


def copied(name: str, batch: Any) -> Any:
    """`batch` in arrays of its own, for an iterator may fill the same ones again."""
    return jax.tree.map(np.array, checked(name, batch))


def batch_axis_of(data: Any, given: Any) -> Any:
    """`given`, or where `data` says that the rows of its batches are; None: unknown."""
    return told(data, "batch_axis") if given is None else given


def check_rows(data: Any, batch_axis: Any, parts: int) -> None:
    """Raises ValueError if a batch of `data` is known to have rows that do not divide.

    Known are lists, and the library's own data sets, also after grain's transformations
    that leave batches as they are.
    """
    if parts == 1 or callable(data):
        return
    if isinstance(data, Sequence):
        for batch in data:
            parallel.batch_axes(batch, batch_axis, parts)
    wrong = [n for n in told(data, "batch_sizes") or () if n % parts]
    if wrong:
        raise ValueError(
            f"data: expected batches of rows that {parts} divides (accumulate times "
            f"devices), got some of {', '.join(map(str, wrong))}. Choose another batch, "
            "or drop_last=True where only the last one is short."
        )


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


def _form(batch: Any) -> Any:
    """Structure, shapes and dtypes: batches of one form have one program."""
    leaves, tree = jax.tree.flatten(batch)
    return tree, tuple((np.shape(a), np.result_type(a)) for a in leaves)


_KINDS = {
    "list": "a list of batches",
    "grain": "a grain data set",
    "iterator": "an iterable of its own kind",
}


def _kind_of(data: Any) -> dict:
    if isinstance(data, Sequence):
        return {"kind": "list", "batches": len(data)}
    if type(data).__module__.partition(".")[0] == "grain":
        return {"kind": "grain", **about(data)}
    return {"kind": "iterator", "name": type(data).__qualname__}


def _is_one_batch(data: Any) -> bool:
    is_array = lambda a: hasattr(a, "shape") and hasattr(a, "dtype")
    if isinstance(data, Mapping) or is_array(data) or hasattr(data, "_fields"):
        return True
    if isinstance(data, tuple):
        return any(map(is_array, data)) or len(set(map(jax.tree.structure, data))) > 1
    if isinstance(data, list):  # (xs, labels), but in brackets
        return all(map(is_array, data)) and len({len(a.shape) for a in data}) > 1
    return False


def _endless(data: Any) -> bool:
    if isinstance(data, itertools.count | itertools.cycle):
        return True
    if isinstance(data, itertools.repeat):
        try:
            return data.__length_hint__() >= MANY
        except TypeError:  # it has no length
            return True
    if hasattr(data, "__len__"):
        return len(data) >= MANY
    # Grain's data sets and iterators that do not know their length.
    if "Limit" in type(data).__name__:
        return False
    if getattr(data, "_num_epochs", 1) is None:
        return True
    before = [getattr(data, name, None) for name in ("_map_parent", "_sampler")]
    before = [*getattr(data, "_parents", ()), *(a for a in before if a is not None)]
    return bool(before) and all(map(_endless, before))
