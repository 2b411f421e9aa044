"""The batch split over devices: by `shard_map`, with one sum of the gradients.

XLA's own partitioning of the same split was 1.5 to 1.7 times slower on two host devices
(geometric means over sizes in docs/benchmarks.md), because of collectives inside the loop.
Here every device runs its own loop over its own rows, and the devices meet once, after the
backward pass.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


def data_mesh(devices: int | None = None) -> Mesh:
    """A mesh of one axis, "data", over which `fit` splits each batch.

    Args:
        devices: how many; None: all, those of other processes included.

    Raises:
        ValueError: for more devices than there are.

    Example:
        >>> from jaxrnn import train
        >>> train.data_mesh(1).shape["data"]
        1
    """
    found = jax.devices()
    count = len(found) if devices is None else devices
    if not 1 <= count <= len(found):
        raise ValueError(
            f"devices: expected 1 to {len(found)}, got {devices}. On a CPU, "
            'jax.config.update("jax_num_cpu_devices", n) before first use makes more.'
        )
    return jax.make_mesh((count,), ("data",), (AxisType.Auto,), devices=found[:count])


def check_mesh(mesh: Any) -> None:
    """Raises ValueError unless `mesh` is None or a mesh of one axis."""
    if mesh is not None and (not isinstance(mesh, Mesh) or len(mesh.axis_names) != 1):
        raise ValueError(
            f"mesh: expected a mesh of one axis, got {mesh}. Write "
            "mesh=train.data_mesh() for all devices, or data_mesh(2) for two."
        )


def batch_axes(batch: Any, batch_axis: Any = None, parts: int = 1) -> Any:
    """The batch axis of each leaf of `batch`, checked.

    Args:
        batch: a tree of arrays.
        batch_axis: an int, or a tree of ints that `batch`'s structure begins with; None:
            what the batch's own ``batch_axis`` says, else inferred from the shapes.
        parts: into how many equal parts the rows must divide.

    Raises:
        ValueError: where a leaf has no such axis, leaves differ in their number of rows,
            that number does not divide, or shapes leave more than one choice.
    """
    if batch_axis is None:
        batch_axis = getattr(batch, "batch_axis", None)
    if batch_axis is None:
        axes = _inferred(batch)
    else:
        try:
            spread = lambda axis, part: jax.tree.map(lambda _: axis, part)
            axes = jax.tree.map(spread, batch_axis, batch)
        except ValueError as error:
            raise ValueError(
                f"batch_axis: expected an int or ints in a tree like the batch, "
                f"got {batch_axis}. {error}"
            ) from None
    rows = None
    leaves = jax.tree.leaves_with_path(batch)
    for (path, leaf), axis in zip(leaves, jax.tree.leaves(axes), strict=True):
        name = f"batch{jax.tree_util.keystr(path)}"
        shape = np.shape(leaf)
        if not 0 <= axis < len(shape):
            raise ValueError(
                f"{name}: expected the batch on axis {axis}, got shape {list(shape)}. "
                "Say where it is by batch_axis, an int or a tree of them like the batch."
            )
        rows = shape[axis] if rows is None else rows
        if shape[axis] != rows:
            raise ValueError(
                f"{name}: expected {rows} rows on axis {axis}, as in the first leaf, "
                f"got shape {list(shape)}. Say where the batch is by batch_axis."
            )
    if rows is not None and rows % parts:
        raise ValueError(
            f"batch: expected a number of rows that {parts} divides "
            f"(accumulate times devices), got {rows}."
        )
    return axes


def _inferred(batch: Any) -> Any:
    """Where the rows are, from shapes alone: axis 1 where all agree, as time is first.

    Otherwise the one choice of axis 0 or 1 for each leaf that gives all as many rows.
    """
    leaves, tree = jax.tree.flatten(batch)
    shapes = [np.shape(leaf) for leaf in leaves]
    if all(len(shape) > 1 for shape in shapes) and len({s[1] for s in shapes}) < 2:
        return tree.unflatten([1] * len(leaves))
    choices = []
    for rows in set.intersection(*(set(shape[:2]) for shape in shapes)):
        fits = [[n for n in (1, 0) if s[n : n + 1] == (rows,)] for s in shapes]
        choices += itertools.islice(itertools.product(*fits), 2)
    if len(choices) == 1:
        return tree.unflatten(choices[0])
    listed = ", ".join(
        f"batch{jax.tree_util.keystr(path)} {list(np.shape(leaf))}"
        for path, leaf in jax.tree.leaves_with_path(batch)
    )
    # Time first and labels [B], where no choice fits.
    choices = choices or [[int(len(shape) > 1) for shape in shapes]]
    texts = [f"batch_axis={_text(tree.unflatten(choice))}" for choice in choices]
    raise ValueError(
        f"batch: cannot tell which axis holds the rows of {listed}. Write the axis of "
        f"each, such as {' or '.join(texts)}."
    )


def _text(axes: Any) -> str:
    """A tree of ints as it is written in a program."""
    names = getattr(axes, "_fields", None)
    if isinstance(axes, tuple) and names is not None:
        fields = [(name, _text(getattr(axes, name))) for name in names]
        inner = ", ".join(f"{name}={value}" for name, value in fields)
        return f"{type(axes).__name__}({inner})"
    if isinstance(axes, tuple):
        return f"({', '.join(map(_text, axes))}{',' * (len(axes) == 1)})"
    if isinstance(axes, list):
        return f"[{', '.join(map(_text, axes))}]"
    if isinstance(axes, dict):
        return "{" + ", ".join(f"{k!r}: {_text(v)}" for k, v in axes.items()) + "}"
    return repr(axes)


def specs(axes: Any, axis_name: str, ahead: int = 0) -> Any:
    """A `PartitionSpec` for each leaf that has its batch on that axis."""
    return jax.tree.map(lambda axis: P(*[None] * (ahead + axis), axis_name), axes)


def vary(tree: Any, axis_name: str | None) -> Any:
    """`tree` varying over a manual mesh axis; unchanged outside of one."""

    def one(a):
        if jax.typeof(a).manual_axis_type.varying:  # over the mesh's only axis
            return a
        return jax.lax.pcast(a, axis_name, to="varying")

    return tree if axis_name is None else jax.tree.map(one, tree)


def split_rows(call: Callable, mesh: Mesh, axes: Any) -> Callable:
    """``call(params, carry, shared, batch, key)`` on each device's own rows.

    What `call` returns is ``(carry, sums)``: carry by rows, on axis 0 of every leaf, and
    `sums` added up over the devices. Each device gets a key of its own.
    """
    (name,) = mesh.axis_names

    def local(params, carry, shared, batch, key):
        # Params that vary keep their gradients on the device until the one psum below.
        params, shared = vary((params, shared), name)
        if key is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(name))
        carry, sums = call(params, carry, shared, batch, key)
        return vary(carry, name), jax.lax.psum(vary(sums, name), name)

    given = (P(), P(name), P(), specs(axes, name), P())
    split = jax.shard_map(local, mesh=mesh, in_specs=given, out_specs=(P(name), P()))
    if mesh.axis_types[0] != AxisType.Explicit:
        return split
    # Explicit axes are not moved unasked.
    moved = lambda arg, spec: jax.reshard(arg, full_sharding(arg, mesh, spec))
    return lambda *args: split(*map(moved, args, given))


def place(tree: Any, mesh: Mesh, spec: Any) -> Any:
    """`tree` on the mesh: by `spec`, one for all leaves or a tree of them.

    Every process holds the whole `tree`; each device takes its own part.
    """

    def one(leaf, sharding):
        if jax.process_count() == 1:
            return jax.device_put(leaf, sharding)
        if is_key(leaf):
            data = one(jax.random.key_data(leaf), sharding)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        whole = to_host(leaf)
        return jax.make_array_from_callback(whole.shape, sharding, whole.__getitem__)

    return jax.tree.map(one, tree, full_sharding(tree, mesh, spec))


def full_sharding(tree: Any, mesh: Mesh, spec: Any) -> Any:
    """A `NamedSharding` for each leaf of `tree`; `spec` may be a prefix of it."""
    whole = lambda s, part: jax.tree.map(lambda _: NamedSharding(mesh, s), part)
    return jax.tree.map(whole, spec, tree, is_leaf=lambda s: isinstance(s, P))


def to_host(tree: Any) -> Any:
    """`tree` as NumPy arrays, whole in every process; keys as their data."""

    def one(leaf):
        leaf = jax.random.key_data(leaf) if is_key(leaf) else leaf
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            if leaf.is_fully_replicated:
                return np.asarray(leaf.addressable_data(0))
            from jax.experimental import multihost_utils

            return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        return np.asarray(leaf)

    return jax.tree.map(one, tree)


def with_keys(values: Any, like: Any) -> Any:
    """`values` from `to_host`, with keys again where `like` has them."""

    def one(value, leaf):
        if is_key(leaf):
            return jax.random.wrap_key_data(value, impl=jax.random.key_impl(leaf))
        return value

    return jax.tree.map(one, values, like)


def agree(flag: bool) -> bool:
    """Whether `flag` holds in any process; the same answer in all."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


@contextmanager
def together() -> Iterator[None]:
    """Work that some processes do alone: what fails in one is raised in all."""
    failure = None
    try:
        yield
    except Exception as error:
        failure = error
    if agree(failure is not None):
        raise failure or RuntimeError("another process of this run failed; see there.")


def from_first(value: np.ndarray) -> np.ndarray:
    """The first process's `value`, in all."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.broadcast_one_to_all(value))


def rows_divide(batch: Any, axes: Any, parts: int) -> bool:
    """Whether the rows of `batch` divide into that many equal parts."""
    sizes = jax.tree.leaves(
        jax.tree.map(lambda a, axis: np.shape(a)[axis], batch, axes)
    )
    return all(size % parts == 0 for size in sizes)


def in_parts(tree: Any, axes: Any, parts: int) -> Any:
    """Each leaf's rows in that many parts: ``[parts, ..., rows / parts, ...]``."""

    def one(a, axis):
        rows = a.shape[axis] // parts
        shape = (*a.shape[:axis], parts, rows, *a.shape[axis + 1 :])
        return jnp.moveaxis(a.reshape(shape), axis, 0)

    return jax.tree.map(one, tree, axes)


def size(mesh: Mesh | None) -> int:
    """How many devices a batch is split over."""
    return 1 if mesh is None else math.prod(mesh.shape.values())


def is_key(leaf: Any) -> bool:
    """Whether `leaf` is an array of typed PRNG keys."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    )
