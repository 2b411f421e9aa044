"""A cell without memory."""

from collections.abc import Callable

import jax

from jaxrnn._factory import factory
from jaxrnn._functions import check_function
from jaxrnn._spec import spec_of
from jaxrnn._tree import check_like, one_step, select
from jaxrnn.cell import Cell


@factory
def pointwise(
    f: Callable, *, init: Callable | None = None, event_ndim: int = 1
) -> Cell:
    """A function of each step's input alone, as a cell without memory.

    For a layer between the cells of a `stack`: an activation, a dense layer, a norm, an
    embedding, a module of Flax.

    Args:
        f: ``x -> h``; with `init`, ``(params, x) -> h``. It treats all leading axes of x
            alike, as ``x @ w`` does: all of time goes through it at once.
        init: ``(key, features) -> params``. None: it has none, and its params are ``()``.
        event_ndim: how many trailing axes of x belong to one row: see `Cell`. With 0, x
            are integers, such as tokens, and ``features`` is how many of them there are.

    Returns:
        A cell whose carry is ``()``. Its h is zero at steps that are not valid.

    Raises:
        ValueError: for a function of other arguments, and when run for one that does
            not treat leading axes alike.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> dense = jaxrnn.pointwise(
        ...     lambda w, x: jax.nn.relu(x @ w),
        ...     init=lambda key, features: jax.random.normal(key, (features, 5)),
        ... )
        >>> cell = jaxrnn.stack(jaxrnn.lstm(4), dense, jaxrnn.gru(3))
        >>> params = cell.init(jax.random.key(0), features=2)
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((6, 2, 2)))
        >>> params[1].shape, hs.shape
        ((4, 5), (6, 2, 3))
    """
    check_function("f", f, "x" if init is None else "params, x")
    if init is not None:
        check_function("init", init, "key, features")
    if (
        not isinstance(event_ndim, int)
        or isinstance(event_ndim, bool)
        or event_ndim < 0
    ):
        raise ValueError(f"event_ndim: expected an integer from 0, got {event_ndim!r}.")
    call = f if init is not None else lambda params, x: f(x)

    def unroll(params, carry, xs, control, run):
        one = jax.eval_shape(call, params, one_step(xs))
        hs = call(params, xs)
        length = jax.tree.leaves(xs)[0].shape[0]
        want = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct((length, *a.shape), a.dtype), one
        )
        remedy = "It must give for all steps at once what it gives for each."
        check_like("what f returns", hs, want, remedy)
        return carry, select(control.valid, hs, 0)

    return Cell(
        init=init or (lambda key, features: ()),
        initial_carry=lambda params, x: (),
        step=lambda params, carry, x: ((), call(params, x)),
        unroll=unroll,
        event_ndim=event_ndim,
        spec=spec_of("pointwise", f=f),
    )
