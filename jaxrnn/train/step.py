"""One update: a pure function of the state and a batch."""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxrnn._tree import check_like, structure_of, wide
from jaxrnn.train import parallel
from jaxrnn.train.mean import Mean, Sum, terms

RESERVED = ("step", "split", "grad_norm", "weight", "skipped", "empty")


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


def make_step(
    loss: Callable,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    batch_axis: Any = None,
    mesh: Any = None,
    max_nonfinite: int | None = None,
    update_shared: Callable | None = None,
) -> Callable:
    """``step(state, batch) -> (state, means)``, compiled; pure, to scan or vmap it.

    The objective is ``means["loss"]``. Its total and its weight are summed over all
    microbatches and devices, and the gradient is that of total / weight: a token counts
    the same however a batch is split. It may also be a sum of means with weights of their
    own, such as ``train.mean(per_token, valid) + 0.1 * train.mean(per_sequence)``. Weights
    are counts, which the gradient treats as constants.

    Args:
        loss: ``(params, carry, batch, key) -> (carry, means)``. `carry` is the state's:
            None starts anew at each batch, and is then returned as None; gradients do
            not flow into it. With shared state it is a `Carry`. `means` are named `Mean`,
            "loss" among them. `key` is None in evaluation.
        optimizer: from Optax; it is also told ``value``, ``grad`` and ``shared``.
        accumulate: the number of microbatches per update. They run one after another,
            which needs less memory and gives the same update. A carry has its rows on
            axis 0.
        batch_axis: where the rows are in each leaf of a batch: an int, or ints in a tree
            like the batch; None: as `arrays`, `streams` and `buckets` make them, else
            inferred from the shapes. Read by `accumulate` and `mesh`.
        mesh: of one axis, over which rows are split; see `data_mesh`.
        max_nonfinite: after so many skipped updates in a row the state stays as it is.
        update_shared: ``(state, means, finite) -> shared`` returns the new shared state.
            It is called after every update, skipped ones included. `finite` is a bool,
            False if the update was skipped. None keeps what the loss returned.

    Returns:
        `step`. An update is skipped if the loss or a gradient is not finite, or if it
        would make params, optimizer state, carry or shared state not finite. All of these
        then stay unchanged, the schedule included; ``skipped`` is incremented, and `means`
        have weight 0. A batch whose loss has weight 0 makes no update either, but carry
        and shared state become what the loss returned, and ``empty`` is incremented.
        `means` also holds "grad_norm", "skipped" and "empty"; the last two are 0 or 1.

        Shared state that the loss returns is averaged over microbatches and devices,
        which all start from the state's; leaves that are not floating must be the same
        in all.

    Raises:
        ValueError: when called, if the loss returns something else or rows do not divide.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn, optax
        >>> from jaxrnn import train
        >>> cell, optimizer = jaxrnn.gru(4), optax.adam(1e-2)
        >>> def loss(params, carry, batch, key):
        ...     _, hs = jaxrnn.unroll(cell, params, carry, batch)
        ...     return None, {"loss": train.mean((hs - 0.5) ** 2)}
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> state = train.init(params, optimizer, jax.random.key(1))
        >>> step = train.make_step(loss, optimizer)
        >>> xs = jax.random.normal(jax.random.key(2), (5, 2, 3))
        >>> state, before = step(state, xs)
        >>> state, after = step(state, xs)
        >>> bool(after["loss"].value < before["loss"].value)
        True
    """
    check_count("accumulate", accumulate)
    check_loss(loss)
    check_optimizer(optimizer)
    if update_shared is not None:
        check_function("update_shared", update_shared, "state, means, finite")
    parallel.check_mesh(mesh)
    optimizer = optax.with_extra_args_support(optimizer)
    gradient = make_gradient(
        loss, accumulate=accumulate, batch_axis=batch_axis, mesh=mesh
    )

    @jax.jit
    def step(state: State, batch: Any) -> tuple[State, dict[str, Mean | Sum]]:
        check_state(state)
        carry, shared, grads, means = gradient(state, batch)
        value, empty = _value(means["loss"])
        updates, opt_state = optimizer.update(
            grads,
            state.opt_state,
            state.params,
            value=value,
            grad=grads,
            shared=state.shared,
        )
        params = optax.apply_updates(state.params, updates)

        # A carry, shared state or an optimizer may hold an infinity of its own.
        updated = _finite(params) & _no_worse(opt_state, state.opt_state)
        flows = _no_worse((carry, shared), (state.carry, state.shared))
        good = _finite((value, grads)) & flows & (updated | empty)
        running = jnp.array(True)
        if max_nonfinite is not None:
            running = state.in_a_row < max_nonfinite
        flowed, failed = good & running, ~good & running
        taken = flowed & ~empty
        count = lambda flag: flag.astype(jnp.int32)

        means = means | {"grad_norm": Mean(optax.tree.norm(grads), count(~empty))}
        means = _select(flowed, means, jax.tree.map(jnp.zeros_like, means))
        flags = {"skipped": failed, "empty": flowed & empty}
        means |= {n: Mean(count(flag), count(running)) for n, flag in flags.items()}
        new = State(
            step=state.step + count(running),
            params=_select(taken, params, state.params),
            opt_state=_select(taken, opt_state, state.opt_state),
            carry=_select(flowed, carry, state.carry),
            shared=_select(flowed, shared, state.shared),
            key=state.key,
            skipped=state.skipped + count(failed),
            in_a_row=jnp.where(taken, 0, state.in_a_row + count(failed)),
            empty=state.empty + count(flowed & empty),
        )
        if update_shared is not None:
            reacted = update_shared(new, means, good)
            remedy = "update_shared must keep its structure, shapes and dtypes."
            check_like(
                "the shared state that update_shared returns",
                reacted,
                state.shared,
                remedy,
            )
            new = new._replace(shared=_select(running, reacted, state.shared))
        return new, means

    return step


def make_gradient(
    loss: Callable, *, accumulate: int = 1, batch_axis: Any = None, mesh: Any = None
) -> Callable:
    """``(state, batch) -> (carry, shared, grads, means)`` of one update."""

    def gradient(state: State, batch: Any):
        scale = _scale(batch)
        call = functools.partial(
            _accumulated, loss, accumulate, batch_axis, mesh, scale
        )
        if mesh is not None:
            parts = accumulate * parallel.size(mesh)
            axes = parallel.batch_axes(batch, batch_axis, parts)
            call = parallel.split_rows(call, mesh, axes)
        key = jax.random.fold_in(state.key, state.step)
        given = state.params, state.carry, state.shared, batch, key
        carry, (grads, means, moved) = call(*given)
        if mesh is not None or accumulate > 1:
            moved = jax.tree.map(_arrived, state.shared, moved)
        factor = 1.0
        if len(terms(means["loss"])) == 1:
            # Of the total, in parts of 1 / scale; the mean's is that over the weight.
            factor = scale / _divisor(terms(means["loss"])[0].weight)
        cast = lambda g, p: (g * factor).astype(p.dtype)
        return carry, moved, jax.tree.map(cast, grads, state.params), means

    return gradient


def _scale(batch: Any) -> float:
    """About what a batch's total is larger than its mean, a power of two.

    The gradient of a total overflows half precision, that of a mean does not.
    """
    size = max((math.prod(np.shape(a)) for a in jax.tree.leaves(batch)), default=1)
    return 2.0 ** max(size.bit_length() - 1, 0)


def make_forward(loss: Callable, *, batch_axis: Any = None, mesh: Any = None):
    """``(params, carry, shared, batch) -> (carry, means)``, key None; compiled.

    A batch whose rows do not divide over the mesh, or cannot be told from its shapes, is
    run whole on every device.
    """

    def call(params, carry, shared, batch, key):
        new, means = returned(loss, params, _flow(carry, shared), batch, key)
        return _unflow(new, shared)[0], means

    @jax.jit
    def forward(params, carry, shared, batch):
        run = call
        if mesh is not None:
            axes = _known_axes(batch, batch_axis)
            count = parallel.size(mesh)
            if axes is not None and parallel.rows_divide(batch, axes, count):
                run = parallel.split_rows(call, mesh, axes)
        return run(params, carry, shared, batch, None)

    return forward


def _known_axes(batch: Any, batch_axis: Any) -> Any:
    """`parallel.batch_axes`, or None where nothing says which they are."""
    try:
        return parallel.batch_axes(batch, batch_axis)
    except ValueError:
        if batch_axis is None:
            return None
        raise


def _accumulated(
    loss, accumulate, batch_axis, mesh, scale, params, carry, shared, batch, key
):
    """``(carry, (grads, means, moved))``, the latter summed over the microbatches."""
    name = None if mesh is None else mesh.axis_names[0]
    cut = mesh is not None or accumulate > 1

    def called(params, carry, batch, key):
        flow = _flow(carry, shared)
        new, means = returned(loss, params, flow, batch, key)
        remedy = (
            "Return the carry for the next batch and start it by init(..., carry=), or "
            "return None and let every batch start anew."
            if shared is None
            else "With shared state, return carry._replace(...) of the Carry given."
        )
        check_like("the carry that loss returns", new, flow, remedy)
        return _unflow(new, shared), means

    def objective(params, over, first, carry, batch, key):
        (carry, new), means = called(params, carry, batch, key)
        summed = terms(means["loss"])
        if len(summed) == 1:
            total = summed[0].total / scale
        else:
            own = [_divisor(lax.stop_gradient(term.weight)) for term in summed]
            pairs = zip(summed, over or own, strict=True)
            total = sum(term.total / weight for term, weight in pairs)
        if cut:
            move = functools.partial(_moved, accumulate * parallel.size(mesh), first)
            new = jax.tree.map(move, new, shared)
        return total, (carry, means, new)

    gradient = jax.value_and_grad(objective, has_aux=True)

    def one(over, first, carry, batch, key):
        (_, (carry, means, moved)), grads = gradient(
            params, over, first, carry, batch, key
        )
        # Half precision would lose small parts beside the sum of many.
        grads = jax.tree.map(lambda g: g.astype(wide(g.dtype)), grads)
        return carry, (grads, means, moved)

    def weights(first, carry, batch, key):
        """What the loss's means divide by: known without computing any of them."""
        means = called(params, carry, batch, key)[1]
        return [term.weight for term in terms(means["loss"])]

    for path, leaf in jax.tree.leaves_with_path(carry):
        if not np.shape(leaf) or np.shape(leaf)[0] % accumulate:
            raise ValueError(
                f"carry{jax.tree_util.keystr(path)}: expected rows on axis 0 that "
                f"{accumulate} microbatches divide, got {list(np.shape(leaf))}. What is "
                "no row of the batch belongs in init(..., shared=)."
            )
    first = jnp.array(True) if name is None else lax.axis_index(name) == 0
    whole = first, carry, batch, key
    if not cut:
        return one(None, *whole)
    several = len(jax.eval_shape(weights, *whole)) > 1
    over = None
    if accumulate == 1:
        if several:
            counted = lax.psum(parallel.vary(weights(*whole), name), name)
            over = [_divisor(n) for n in counted]
        return one(over, *whole)
    axes = parallel.batch_axes(batch, batch_axis, accumulate)
    numbers = jnp.arange(accumulate)
    cuts = (
        first & (numbers == 0),
        parallel.in_parts(carry, jax.tree.map(lambda _: 0, carry), accumulate),
        parallel.in_parts(batch, axes, accumulate),
        jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers),
    )
    if several:
        counted = lax.map(lambda cut: parallel.vary(weights(*cut), name), cuts)
        counted = [jnp.sum(n) for n in counted]
        counted = counted if name is None else lax.psum(counted, name)
        over = [_divisor(n) for n in counted]

    def add(sums, cut):
        carry, more = one(over, *cut)
        more = parallel.vary(more, name)
        return jax.tree.map(jnp.add, sums, more), parallel.vary(carry, name)

    _, like = jax.eval_shape(one, over, *jax.tree.map(lambda a: a[0], cuts))
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)
    sums, carry = lax.scan(add, parallel.vary(zeros, name), cuts)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), carry), sums


def _moved(parts: int, first: Any, new: Any, old: Any) -> Any:
    """One part's share of the way from `old` to `new`; the shares of all add up.

    Of what is not floating, the first part has all.
    """
    if parallel.is_key(new):
        new, old = jax.random.key_data(new), jax.random.key_data(old)
    if jnp.issubdtype(new.dtype, jnp.floating):
        moves = (new != old) | ~jnp.isfinite(old)
        return jnp.where(moves, new - _base(old), 0) / parts
    if new.dtype == bool:
        new, old = new.astype(jnp.uint8), old.astype(jnp.uint8)
    return jnp.where(first, new - old, jnp.zeros_like(new))


def _arrived(old: Any, moved: Any) -> Any:
    """`old` and the sum of what `_moved` made in each part."""
    if parallel.is_key(old):
        data = jax.random.key_data(old) + moved
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(old))
    base = _base(old) if jnp.issubdtype(old.dtype, jnp.floating) else old
    return (base.astype(moved.dtype) + moved).astype(old.dtype)


def _base(old: jax.Array) -> jax.Array:
    """Where the way to the new value starts: an infinity is no such place."""
    return jnp.where(jnp.isfinite(old), old, jnp.zeros_like(old))


def _flow(carry: Any, shared: Any) -> Any:
    """What a loss is given as its carry."""
    return carry if shared is None else Carry(carry, shared)


def _unflow(flow: Any, shared: Any) -> tuple[Any, Any]:
    """``(carry, shared)`` of what a loss returned."""
    return (flow, None) if shared is None else (flow.rows, flow.shared)


def _divisor(weight: Any) -> Any:
    """`weight`, and 1 where it is 0: nothing is divided by what there is none of."""
    return jnp.where(weight == 0, jnp.ones_like(weight), weight)


def _value(mean: Mean | Sum) -> tuple[Any, Any]:
    """The objective, and whether nothing counts in it: then 0 unless a total is not."""
    parts = terms(mean)
    value = sum(term.total / _divisor(term.weight) for term in parts)
    return value, jnp.stack([term.weight == 0 for term in parts]).all()


def _select(flag: Any, then: Any, otherwise: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), then, otherwise)


def returned(loss: Callable, *given: Any) -> tuple[Any, dict[str, Mean | Sum]]:
    """``(carry, means)`` that `loss` returns.

    Raises:
        ValueError: unless means are named scalars `Mean` or `Sum`, "loss" among them.
    """
    found = loss(*given)
    wanted = 'expected a dict of train.Mean with the entry "loss" as its second result'
    example = 'Return `carry, {"loss": train.mean(losses)}`.'
    pair = isinstance(found, tuple) and len(found) == 2
    if not pair or isinstance(found, Mean):
        got = structure_of(found)
        raise ValueError(f"loss: expected (carry, means), got {got}. {example}")
    _, means = found
    if not isinstance(means, dict) or "loss" not in means:
        raise ValueError(f"loss: {wanted}, got {structure_of(means)}. {example}")
    for name, mean in means.items():
        if name in RESERVED:
            raise ValueError(
                f"loss: expected other names of means than {RESERVED}, which every row "
                f"has of its own, got {name!r}."
            )
        parts = terms(mean) if isinstance(mean, Mean | Sum) else (None,)
        for part in parts:
            scalars = part is not None and not any(map(np.shape, part))
            if not scalars:
                raise ValueError(
                    f"loss: {wanted}, of scalars, got {structure_of(mean)} for {name!r}. "
                    f"{example}"
                )
    return found


def check_function(name: str, function: Any, arguments: str) -> None:
    """Raises ValueError unless `function` can be called with `arguments`, by position."""
    wanted = f"{name}: expected a function of ({arguments}), got"
    if not callable(function):
        raise ValueError(f"{wanted} {type(function).__name__}.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some that are not written in Python have none
        return
    try:
        signature.bind(*arguments.split(", "))
    except TypeError:
        raise ValueError(f"{wanted} one of {signature}.") from None


def check_loss(loss: Any) -> None:
    """Raises ValueError unless `loss` takes what a loss gets."""
    check_function("loss", loss, "params, carry, batch, key")


def check_optimizer(optimizer: Any) -> None:
    """Raises ValueError unless `optimizer` is one of Optax."""
    wanted = all(
        callable(getattr(optimizer, name, None)) for name in ("init", "update")
    )
    if not wanted:
        raise ValueError(
            "optimizer: expected an optax.GradientTransformation, got "
            f"{getattr(optimizer, '__name__', type(optimizer).__name__)}. "
            "Call it: optax.adam(1e-3)."
        )


def check_state(state: Any) -> None:
    """Raises ValueError unless `state` is a `State`."""
    if not isinstance(state, State):
        raise ValueError(
            f"state: expected a train.State, got {type(state).__name__}. "
            "train.init(params, optimizer, key) makes one."
        )


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raises ValueError unless `value` is an integer from `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name}: expected an integer from {least}, got {value!r}.")


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


def _finite(tree: Any) -> jax.Array:
    leaves = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return jnp.stack([jnp.array(True), *(jnp.isfinite(a).all() for a in leaves)]).all()


def _no_worse(new: Any, old: Any) -> jax.Array:
    """Whether all that was finite in `old` still is."""

    def one(a, b):
        if not jnp.issubdtype(a.dtype, jnp.inexact):
            return jnp.array(True)
        return (jnp.isfinite(a) | ~jnp.isfinite(b)).all()

    kept = jax.tree.leaves(jax.tree.map(one, new, old))
    return jnp.stack([jnp.array(True), *kept]).all()
