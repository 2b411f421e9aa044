"""unroll: a cell over time, with lengths, mask, resets, reverse; argument checks."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import engine as engines
from jaxrnn._functions import check_function
from jaxrnn._keys import noise_key
from jaxrnn._time import check_flag, check_steps, length_of, valid_steps
from jaxrnn._tree import as_arrays, check_like, one_step, select
from jaxrnn.cell import Cell, Control

__all__ = ["unroll"]


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
    key: Any = None,
    engine: str | tuple[engines.Engine, ...] = "auto",
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
        key: a PRNG key, or one a row ``[*batch]``, for the noise of `jaxrnn.noise`; None
            is the evaluation, without noise. What a row draws does not depend on the
            rows beside it. A cell without noise does not read it.
        engine: "scan" is the plain scan of ``step``; "gated" the fast engine for cells
            made by `gated`; "auto" chooses. All mean the same. A tuple of
            `jaxrnn.engine.Engine` stands for the first of them that supports the cell.
            A cell whose functions have callbacks (`jax.debug.print`,
            `jax.experimental.io_callback`) runs by "scan", so they are called once per
            step with the whole batch.

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
    if cell.unroll is not None:
        check_function("cell.unroll", cell.unroll, "params, carry, xs, control, run")
    _check_options(reverse, remat, engine)
    params, xs = as_arrays("params", params), as_arrays("xs", xs)
    length = length_of("xs", xs)
    x = one_step(xs)
    start = _started(cell, params, carry, x)
    batch = _batch(cell, start, x, length, lengths=lengths, mask=mask, resets=resets)
    if carry is None:
        carry = cell.initial_carry(params, x)
    else:
        remedy = (
            "Time is axis 0 of xs and batch follows; None stands for the initial carry."
        )
        carry = as_arrays("carry", carry)
        check_like("carry", carry, start, remedy)
    valid = valid_steps(length, batch or (), lengths, mask)
    resets = check_steps("resets", resets, length, batch or ())
    if resets is not None and lengths is not None:
        resets &= valid_steps(length, batch or (), lengths, None)
    fresh = None if resets is None else cell.initial_carry(params, x)
    xs = select(valid, xs, 0)
    control = Control(
        valid=valid,
        resets=resets,
        fresh=fresh,
        reverse=reverse,
        remat=remat,
        engine=engine,
        key=noise_key(key, batch, _explicit_axes(x)[: len(batch or ())]),
        batch_ndim=None if batch is None else len(batch),
    )
    return engines.run(cell, params, carry, xs, control)


def _explicit_axes(x: Any) -> tuple:
    """Over which explicit mesh axes the axes of one step's input are split."""
    return tuple(jax.typeof(jax.tree.leaves(x)[0]).sharding.spec)


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
    carry, run = as_arrays("carry", carry), cast(Any, step)
    start = lambda params, x: carry
    return Cell(init=run, initial_carry=start, step=run, event_ndim=None)


def _check_options(reverse: Any, remat: Any, engine: Any) -> None:
    check_flag("reverse", reverse)
    whole = isinstance(remat, int | np.integer) and not isinstance(remat, bool)
    if not (remat is None or remat == "auto" or (whole and remat >= 1)):
        raise ValueError(
            f"remat: expected None, 'auto' or a number of steps from 1, got {remat!r}."
        )
    own = isinstance(engine, tuple) and engine
    if not (own and all(isinstance(one, engines.Engine) for one in engine)):
        if engine not in engines.names():
            raise ValueError(
                f"engine: expected one of {engines.names()}, got {engine!r}."
            )


def _batch(cell: Cell, carry: Any, x: Any, length: Any, **arguments) -> tuple | None:
    """The batch shape, which lengths, mask and resets must have; None: unknown.

    `Cell.event_ndim` says which axes of x it is. Where that is None, it is the shape of
    the arguments, which every leaf of x and of the carry must begin with.
    """
    leaves = jax.tree.leaves(x)
    shape, events = leaves[0].shape, cell.event_ndim
    known = None if events is None else shape[: max(0, len(shape) - events)]
    batch = known
    for name, value in arguments.items():
        if value is None:
            continue
        came = np.shape(value)
        found = came if name == "lengths" else came[1:]
        if known is not None and found != known:
            time = () if name == "lengths" else (length,)
            raise ValueError(
                f"{name}: expected {[*time, *known]} for xs {[length, *shape]}, got "
                f"{list(came)}. Time is axis 0 of xs, mask and resets.{_axes(cell, x)}"
            )
        batch = found
        for leaf in jax.tree.leaves((x, carry)):
            if leaf.shape[: len(batch)] != batch:
                raise ValueError(
                    f"{name}: expected a batch shape that xs[0] and the carry begin "
                    f"with, got {list(batch)} beside {list(leaf.shape)}."
                )
    return batch


def _axes(cell: Cell, x: Any) -> str:
    """What to say of `Cell.event_ndim` where x is no vector."""
    leaves = jax.tree.leaves(x)
    if len(leaves) == 1 and jnp.issubdtype(leaves[0].dtype, jnp.floating):
        return ""
    return (
        f" The cell's event_ndim is {cell.event_ndim}: so many trailing axes of x are one "
        "row's. A cell of tokens has 0, one of any tree has None."
    )
