"""unroll: a cell over time, with lengths, mask, resets, reverse; argument checks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import engine as engines
from jaxrnn.cell import Cell, Control, arrays, check_like, one_step, select

ENGINES = ("auto", "gated", "scan")


def unroll(
    cell: Cell | Callable,
    params: Any,
    carry: Any,
    xs: Any,
    *,
    lengths: Any = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    remat: int | str | None = None,
    engine: str = "auto",
) -> tuple[Any, Any]:
    """Runs a cell over time: ``h_t`` for every ``x_t``, and the carry after the last.

    Args:
        cell: a `Cell`, or a bare step ``(params, carry, x) -> (carry, h)``.
        params: what ``cell.init`` returned.
        carry: the carry that comes in, or None for ``cell.initial_carry``.
        xs: inputs ``[T, *batch, F]``, time first; for a cell of other inputs a pytree
            of ``[T, *batch, ...]``.
        lengths: int ``[*batch]``: row b has ``lengths[b]`` valid steps. A `jax.Array`
            acts as if clipped to 0..T; NumPy and Python lengths are checked.
        mask: bool ``[T, *batch]``: the valid steps. With lengths, both must hold.
        resets: bool ``[T, *batch]``: where a new sequence begins. The carry is replaced
            by the initial carry before ``xs[t]``, under `reverse` after it; also at
            masked steps, never beyond `lengths`.
        reverse: each row's valid steps from its last to its first; ``hs[t]`` still
            belongs to ``xs[t]``.
        remat: store the carry at every `remat`-th step only and recompute the rest in
            the backward pass. "auto" does so when more than 256 MiB would be stored.
        engine: "scan" is the plain scan of ``step``; "gated" the fast engine for cells
            made by `gated`; "auto" chooses. All mean the same. A cell whose functions
            have callbacks (`jax.debug.print`, `jax.experimental.io_callback`) runs by
            "scan", so they are called once per step with the whole batch.

    Returns:
        ``(carry, hs)``. An invalid step leaves the carry unchanged, unless it is reset,
        and its output is zero. Padding values affect no output, carry or gradient. With
        length 0 the final carry is the one that came in.

    Raises:
        ValueError: for wrong shapes, dtypes, lengths or options, before anything runs.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.gru(hidden=4)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
        >>> h, hs = jaxrnn.unroll(cell, params, None, xs, lengths=[6, 2])
        >>> bool((hs[2:, 1] == 0).all()), bool(jnp.allclose(h[1], hs[1, 1]))
        (True, True)
    """
    if not isinstance(cell, Cell):
        cell = _bare(cell, carry, resets)
    _check_options(reverse, remat, engine)
    params, xs = arrays("params", params), arrays("xs", xs)
    length = length_of("xs", xs)
    x = one_step(xs)
    start = _started(cell, params, carry, x)
    given = dict(lengths=lengths, mask=mask, resets=resets)
    batch = _batch(cell, params, start, x, length, **given)
    if carry is None:
        carry = cell.initial_carry(params, x)
    else:
        remedy = (
            "Time is axis 0 of xs and batch follows; None stands for the initial carry."
        )
        carry = arrays("carry", carry)
        check_like("carry", carry, start, remedy)
    valid = valid_steps(length, batch, lengths, mask)
    resets = _steps("resets", resets, length, batch)
    if resets is not None and lengths is not None:
        resets &= valid_steps(length, batch, lengths, None)
    fresh = None if resets is None else cell.initial_carry(params, x)
    xs = select(valid, xs, 0)
    control = Control(valid, resets, fresh, reverse, remat, engine)
    return engines.run(cell, params, carry, xs, control)


def _started(cell: Cell, params: Any, carry: Any, x: Any) -> Any:
    """The type of the initial carry; a ValueError for params that are something else."""
    try:
        return jax.eval_shape(cell.initial_carry, params, x)
    except (ValueError, TypeError, AttributeError) as error:
        pair = params if isinstance(params, tuple) and len(params) == 2 else (None,)
        if _fits(cell, carry, x):
            remedy = "params and carry are swapped: unroll(cell, params, carry, xs)."
        elif _fits(cell, pair[0], x):
            remedy = (
                "params: expected the params alone, got a pair whose first entry they "
                "are. Take that: unroll(cell, params, carry, xs)."
            )
        else:
            raise
        raise ValueError(remedy) from error


def _fits(cell: Cell, params: Any, x: Any) -> bool:
    """Whether the cell takes these params."""
    if params is None:
        return False
    try:
        jax.eval_shape(cell.initial_carry, params, x)
    except Exception:
        return False
    return True


def valid_steps(length: Any, batch: tuple, lengths: Any, mask: Any) -> Any:
    """Lengths and mask, checked, in one: bool ``[T, *batch]``, or None for all steps."""
    valid = _steps("mask", mask, length, batch)
    if lengths is None:
        return valid
    lengths = _lengths(lengths, length, batch)
    steps = jnp.arange(length)
    ends = lengths.astype(steps.dtype)[None]
    inside = jnp.expand_dims(steps, range(1, ends.ndim)) < ends
    return inside if valid is None else valid & inside


def _bare(step: Any, carry: Any, resets: Any) -> Cell:
    if not callable(step):
        raise ValueError(
            "cell: expected a Cell or a step (params, carry, x) -> (carry, h), "
            f"got {step!r}."
        )
    if carry is None:
        raise ValueError(
            "carry: a bare step has no initial carry. Give one, or make a jaxrnn.Cell."
        )
    if resets is not None:
        raise ValueError(
            "resets: a bare step has no initial carry. Make a jaxrnn.Cell of it."
        )
    carry = arrays("carry", carry)
    return Cell(init=step, initial_carry=lambda params, x: carry, step=step)


def _check_options(reverse: Any, remat: Any, engine: Any) -> None:
    check_flag("reverse", reverse)
    whole = isinstance(remat, int | np.integer) and not isinstance(remat, bool)
    if not (remat is None or remat == "auto" or (whole and remat >= 1)):
        raise ValueError(
            f"remat: expected None, 'auto' or a number of steps from 1, got {remat!r}."
        )
    if engine not in ENGINES:
        raise ValueError(f"engine: expected one of {ENGINES}, got {engine!r}.")


def check_flag(name: str, value: Any) -> None:
    """Raises ValueError unless `value` is a bool."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}: expected True or False, got {value!r}.")


def length_of(argument: str, xs: Any) -> Any:
    """T of a pytree of ``[T, ...]``."""
    leaves = jax.tree.leaves_with_path(xs)
    if not leaves:
        raise ValueError(
            f"{argument}: expected arrays [T, *batch, F], got none. For dynamics without "
            "inputs give xs without features: jnp.zeros((T, batch, 0))."
        )
    length = leaves[0][1].shape[:1]
    for path, a in leaves:
        name = f"{argument}{jax.tree_util.keystr(path)}"
        if a.ndim == 0:
            raise ValueError(f"{name}: expected [T, *batch, F], got a scalar.")
        if a.shape[:1] != length:
            raise ValueError(
                f"{name}: expected {length[0]} steps, as in the first leaf, got "
                f" {list(a.shape)}. Time is axis 0."
            )
    return length[0]


def _batch(cell, params, carry, x, length, **given) -> tuple:
    """The batch shape that lengths, mask and resets must have.

    For a cell of vectors that of x; for any other the shape that they have themselves,
    which every leaf of x and of the carry must begin with.
    """
    leaves = jax.tree.leaves(x)
    vector = len(leaves) == 1 and jnp.issubdtype(leaves[0].dtype, jnp.floating)
    batch = leaves[0].shape[:-1] if vector else None
    for name, value in given.items():
        if value is None:
            continue
        shape = np.shape(value) if name == "lengths" else np.shape(value)[1:]
        if batch is not None and shape != batch and _takes_rows(cell, params, carry, x):
            time = () if name == "lengths" else (length,)
            raise ValueError(
                f"{name}: expected {[*time, *batch]} for xs [{length}, "
                f"{str(list(leaves[0].shape))[1:]}, got {list(np.shape(value))}. "
                "Time is axis 0 of xs, mask and resets."
            )
        batch = shape
        for leaf in jax.tree.leaves((x, carry)):
            if leaf.shape[: len(shape)] != shape:
                raise ValueError(
                    f"{name}: expected a batch shape that xs[0] and the carry begin "
                    f"with, got {list(shape)} beside {list(leaf.shape)}."
                )
    return () if batch is None else batch


def _takes_rows(cell, params, carry, x) -> bool:
    """Whether the cell is one of vectors: ``x [F]`` is a row of it."""
    n = x.ndim - 1
    try:
        c = one_step(carry, n)
        row, _ = jax.eval_shape(cell.step, params, c, one_step(x, n))
    except (TypeError, ValueError, IndexError):
        return False
    return [a.shape for a in jax.tree.leaves(row)] == [
        a.shape for a in jax.tree.leaves(c)
    ]


def _steps(name: str, value: Any, length: Any, batch: tuple) -> jax.Array | None:
    """A mask or resets, checked."""
    if value is None:
        return None
    value = value if hasattr(value, "dtype") else np.asarray(value)
    if value.dtype != bool:
        raise ValueError(
            f"{name}: expected bool, got {value.dtype}. Use .astype(bool)."
        )
    if value.shape != (length, *batch):
        raise ValueError(
            f"{name}: expected {[length, *batch]}, got {list(value.shape)}. "
            "Time is axis 0."
        )
    return jnp.asarray(value)


def _lengths(value: Any, length: Any, batch: tuple) -> jax.Array:
    """Lengths, checked; the values of a `jax.Array` are not looked at."""
    known = not isinstance(value, jax.Array)
    value = np.asarray(value) if known else value
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise ValueError(
            f"lengths: expected integers, got {value.dtype}. Use "
            "np.asarray(lengths).astype(int)."
        )
    if value.shape != batch:
        raise ValueError(
            f"lengths: expected the batch shape {list(batch)}, got {list(value.shape)}."
        )
    if known and isinstance(length, int) and value.size:
        if value.min() < 0 or value.max() > length:
            raise ValueError(
                f"lengths: expected 0 to {length}, the steps in xs, "
                f"got {value.min()} to {value.max()}."
            )
    return jnp.asarray(value)
