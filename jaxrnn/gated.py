"""A gated cell from its equations: project, recur, gates, update, output."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._functions import check_function
from jaxrnn._tree import as_arrays, check_like, retype
from jaxrnn.cell import Cell, Init, InitialCarry, Step

__all__ = ["Gated", "gated"]


class Project(Protocol):
    """``(params, x) -> z``: what the input says to each gate, a tuple of arrays.

    Needs no memory, so it may run for all of time at once. Treats all leading axes of x
    alike.
    """

    def __call__(self, params: Any, x: Any, /) -> tuple: ...


class Recur(Protocol):
    """``(params, carry, z) -> pre``: adds what the memory says, a tuple of arrays.

    The matmul that must wait for time; affine in carry and z.
    """

    def __call__(self, params: Any, carry: Any, z: tuple, /) -> tuple: ...


class Activate(Protocol):
    """``(params, carry, pre) -> gates``: the named activations, a NamedTuple."""

    def __call__(self, params: Any, carry: Any, pre: tuple, /) -> Any: ...


class Update(Protocol):
    """``(params, carry, gates) -> carry``: the state equation."""

    def __call__(self, params: Any, carry: Any, gates: Any, /) -> Any: ...


class Output(Protocol):
    """``(params, carry) -> h``: what the cell shows."""

    def __call__(self, params: Any, carry: Any, /) -> Any: ...


class Gated(NamedTuple):
    """The equations of a gated cell; `gated` composes them to a step.

    Fields:
        project: ``(params, x) -> z``, what the input says to each gate: a tuple of
            arrays. Needs no memory, so it may run for all of time at once.
        recur: ``(params, carry, z) -> pre``, adds what the memory says: a tuple of
            arrays, affine in carry and z. The only matmul that must wait.
        gates: ``(params, carry, pre) -> Gates``, the named activations.
        update: ``(params, carry, gates) -> carry``, the state equation. It may hold a
            matmul of its own, such as a projection.
        output: ``(params, carry) -> h``, what the cell shows.

    The derivative of each is right whatever it holds. It is fast if

    - rows of a batch do not see each other: each function gives for one row, without
      batch axes, what it gives for that row in a batch. A layer norm over the units
      does. One that closes over an array of the batch's shape does not; then the rows
      are not merged with the steps, and it takes 1.2 times as long (LSTM, T=128 B=32
      H=128, forward and backward pass).
    - ``recur`` is affine in the carry. What is not is computed again in the backward
      loop, the matmul before it too: an LSTM with a layer norm in ``recur`` takes 1.4
      times as long as with the norm in ``gates``, and longer than the plain scan from
      H=256 on.
    - ``gates``, ``update`` and ``output`` are cheap beside the matmuls: the backward
      loop computes them again, and a matmul of theirs too.

    ``python -m benchmarks.own_cells`` measures these.
    """

    project: Project
    recur: Recur
    gates: Activate
    update: Update
    output: Output


def step_of(equations: Gated) -> Step:
    """``output . update . gates . recur . project``, without checks."""

    def step(params, carry, x):
        pre = equations.recur(params, carry, equations.project(params, x))
        gates = equations.gates(params, carry, pre)
        carry = equations.update(params, carry, gates)
        return carry, equations.output(params, carry)

    return step


ARGUMENTS = {
    "project": "params, x",
    "recur": "params, carry, z",
    "gates": "params, carry, pre",
    "update": "params, carry, gates",
    "output": "params, carry",
}


@factory
def gated(
    *,
    init: Init,
    initial_carry: InitialCarry,
    project: Project,
    recur: Recur,
    gates: Activate,
    update: Update,
    output: Output,
    event_ndim: int | None = 1,
    spec: tuple = (),
) -> Cell:
    """A `Cell` whose step is ``output . update . gates . recur . project``.

    `unroll` differentiates such a cell fast: only the transposed ``recur`` and the
    element-wise derivative wait for time, every weight gradient is one matmul after it.
    The functions may close over any traced value. They see inputs with any number of
    batch dimensions, none included, and must treat all of them alike.

    Args:
        init: ``(key, features) -> params``.
        initial_carry: ``(params, x) -> carry``: zeros of the right shape; `gated` gives
            them the dtype, sharding and mesh axes that the step returns. ``x`` may be
            only a ``jax.ShapeDtypeStruct``.
        project, recur, gates, update, output: see `Gated`.
        event_ndim, spec: see `Cell`.

    Returns:
        The cell. Its ``step`` and ``initial_carry`` raise ValueError for params or a
        carry that do not fit.

    Raises:
        ValueError: for a function of other arguments.

    Example:
        The minimal gated unit (Zhou et al. 2016) without biases:

        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> def mgu(hidden):
        ...     def init(key, features):
        ...         kx, kh = jax.random.split(key)
        ...         wx = jax.random.normal(kx, (features, 2 * hidden)) * features**-0.5
        ...         return wx, jax.random.normal(kh, (hidden, hidden)) * hidden**-0.5
        ...     return jaxrnn.gated(
        ...         init=init,
        ...         initial_carry=lambda p, x: jnp.zeros((*x.shape[:-1], hidden)),
        ...         project=lambda p, x: tuple(jnp.split(x @ p[0], 2, -1)),
        ...         recur=lambda p, h, z: (z[0] + h @ p[1], z[1] + h @ p[1]),
        ...         gates=lambda p, h, a: (jaxrnn.sigmoid(a[0]), jnp.tanh(a[1])),
        ...         update=lambda p, h, g: (1 - g[0]) * h + g[0] * g[1],
        ...         output=lambda p, h: h,
        ...     )
        >>> cell = mgu(4)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> hs.shape
        (5, 2, 4)
    """
    parts = Gated(project, recur, gates, update, output)
    for name, arguments in ARGUMENTS.items():
        check_function(name, getattr(parts, name), arguments)

    types: dict = {}  # by the number of features; a dict, because it can be pickled

    def expected(features: int) -> Any:
        if features not in types:
            drawn = lambda: init(jax.random.key(0), features)
            types[features] = jax.eval_shape(drawn)
        return types[features]

    def checked(params, x):
        if hasattr(x, "ndim") and x.ndim and jnp.issubdtype(x.dtype, jnp.floating):
            n = x.shape[-1]
            remedy = (
                f"Is this another cell's, or made for another feature size than {n}?"
            )
            if isinstance(params, Mapping):
                remedy = (
                    "Flax's variables hold them: module.params of an NNX module, "
                    "jaxrnn.linen.from_tree(cell, variables['params']['cell'], "
                    f"features={n}) of a Linen one."
                )
            check_like("params", params, expected(n), remedy, dtypes=False)

    def move(params, carry, x):
        pre = recur(params, carry, project(params, x))
        return update(params, carry, gates(params, carry, pre))

    compose = step_of(parts)

    def start(params, x):
        """Zeros of the type that `compose` maps to itself."""
        checked(params, x)
        zeros = initial_carry(params, x)
        weak = jax.tree.map(_weakly_typed, zeros)  # so params and x decide the dtype
        like = jax.eval_shape(move, params, weak, x)
        name = "the carry that update(params, carry, gates) returns"
        remedy = (
            "It must have the structure and shapes of what initial_carry(params, x) "
            "returns, which is what was expected: change the one or the other."
        )
        check_like(name, like, zeros, remedy, dtypes=False)
        return retype(zeros, like)

    def step(params, carry, x):
        params, carry, x = map(as_arrays, ("params", "carry", "x"), (params, carry, x))
        remedy = "cell.initial_carry(params, x) gives one that fits."
        check_like("carry", carry, jax.eval_shape(start, params, x), remedy)
        return compose(params, carry, x)

    return Cell(init, start, step, None, event_ndim, parts, spec)


def _weakly_typed(a):
    inexact = jnp.issubdtype(a.dtype, jnp.inexact)
    return jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=inexact)
