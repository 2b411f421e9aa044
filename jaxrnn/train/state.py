"""The state of a training run, and how it begins."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrnn.train.checks import check_optimizer


class Carry(NamedTuple):
    """What the loss of a run with shared state gets and returns as its carry.

    Fields:
        rows: what flows from batch to batch, a row of it for each row of the batch; None
            where each batch starts anew, and in the first batch of an evaluation.
        shared: what belongs to no row and is not trained; see `init`.
    """

    rows: Any
    shared: Any


class State(NamedTuple):
    """The complete state of a training run: a pytree, to be saved, split and vmapped.

    Fields:
        step: int32, the number of batches consumed so far.
        params, opt_state: the model's and the Optax optimizer's.
        carry: what flows from batch to batch, or None where each starts anew.
        shared: what is neither trained nor a row of the batch, or None.
        key: the run's PRNG key; update n uses ``fold_in(key, n)``.
        skipped: int32, updates that were left out because something was not finite.
        in_a_row: int32, how many of them came last, one after the other.
        empty: int32, batches of weight 0, which made no update.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    carry: Any
    shared: Any
    key: jax.Array
    skipped: jax.Array
    in_a_row: jax.Array
    empty: jax.Array


def init(
    params: Any,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    *,
    carry: Any = None,
    shared: Any = None,
) -> State:
    """The state before the first update.

    Args:
        params: what is trained, any pytree of floating arrays.
        optimizer: from Optax; clipping and schedules are parts of it.
        key: a PRNG key for what is random in data and loss.
        carry: the carry of the first batch, such as ``cell.initial_carry(params, x)``,
            for truncated backpropagation through a stream; None: every batch starts from
            the initial carry.
        shared: a pytree of arrays that is neither trained nor a row of the batch: running
            statistics, an average of the params, a loss scale, the level of a curriculum.
            The loss then gets and returns ``Carry(rows, shared)`` in place of the carry.
            Validation sees it, checkpoints hold it, `make_step` says how it is updated.

    Raises:
        ValueError: where `params` holds something that is not a floating array, or `key` is
            no PRNG key.

    Example:
        >>> import jax, jaxrnn, optax
        >>> from jaxrnn import train
        >>> params = jaxrnn.gru(4).init(jax.random.key(0), features=3)
        >>> state = train.init(params, optax.adam(1e-3), jax.random.key(1))
        >>> int(state.step), state.carry is None
        (0, True)
    """
    params = _floating(params)
    check_optimizer(optimizer)
    _check_key(key)
    zero = jnp.zeros((), jnp.int32)
    carry, shared = jax.tree.map(jnp.asarray, (carry, shared))
    memory = optimizer.init(params)
    return State(zero, params, memory, carry, shared, key, zero, zero, zero)


def check_state(state: Any) -> None:
    """Raises ValueError unless `state` is a `State`."""
    if not isinstance(state, State):
        raise ValueError(
            f"state: expected a train.State, got {type(state).__name__}. "
            "train.init(params, optimizer, key) makes one."
        )


def _floating(params: Any) -> Any:
    """`params` as arrays, all of them floating."""

    def one(path, leaf):
        name = f"params{jax.tree_util.keystr(path)}"
        try:
            array = jnp.asarray(leaf)
        except TypeError:
            raise ValueError(f"{name}: expected an array, got {leaf!r}.") from None
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(
                f"{name}: expected a floating array, got {array.dtype}. What is not "
                "trained belongs in init(..., shared=)."
            )
        return array

    return jax.tree.map_with_path(one, params)


def _check_key(key: Any) -> None:
    """Raises ValueError unless `key` is one PRNG key, typed or of uint32."""
    dtype, shape = getattr(key, "dtype", None), np.shape(key)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    legacy = dtype == np.uint32 and len(shape) == 1
    if not ((typed and shape == ()) or legacy):
        got = type(key).__name__ if dtype is None else f"{dtype} {list(shape)}"
        raise ValueError(
            f"key: expected one PRNG key, such as jax.random.key(0), got {got}."
        )
