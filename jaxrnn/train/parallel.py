"""The batch split over devices: by `shard_map`, with one sum of the gradients.

XLA's own partitioning of the same split was 1.5 to 1.7 times slower on two host devices
(geometric means over sizes in docs/benchmarks.md), because of collectives inside the loop.
Here every device runs its own loop over its own rows, and the devices meet once, after the
backward pass.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxrnn.train.processes import is_key, to_host


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

    in_specs, out_specs = (P(), P(name), P(), specs(axes, name), P()), (P(name), P())
    split = jax.shard_map(local, mesh=mesh, in_specs=in_specs, out_specs=out_specs)
    if mesh.axis_types[0] != AxisType.Explicit:
        return split
    # Explicit axes are not moved unasked.
    moved = lambda arg, spec: jax.reshard(arg, full_sharding(arg, mesh, spec))
    return lambda *args: split(*map(moved, args, in_specs))


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


def size(mesh: Mesh | None) -> int:
    """How many devices a batch is split over."""
    return 1 if mesh is None else math.prod(mesh.shape.values())
