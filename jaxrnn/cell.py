"""What a cell is: a NamedTuple of pure functions, and what `unroll` tells it."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

from jaxrnn._keys import NoiseKey as NoiseKey
from jaxrnn._spec import show

__all__ = ["Cell", "Control", "NoiseKey"]


class Init(Protocol):
    """``(key, features) -> params``: the initial params for inputs of F features.

    A pytree of arrays, best a NamedTuple; a composition nests those of its parts.
    """

    def __call__(self, key: jax.Array, features: int, /) -> Any: ...


class InitialCarry(Protocol):
    """``(params, x) -> carry``: the carry before the first step.

    Of the very type that ``step`` returns for these params and this x: shape, dtype,
    sharding and varying mesh axes. ``x`` is one step's input ``[*batch, F]`` or only its
    `jax.ShapeDtypeStruct`.
    """

    def __call__(self, params: Any, x: Any, /) -> Any: ...


class Step(Protocol):
    """``(params, carry, x) -> (carry, h)``: one step, `lax.scan`'s body."""

    def __call__(self, params: Any, carry: Any, x: Any, /) -> tuple[Any, Any]: ...


class Run(Protocol):
    """``(cell, params, carry, xs, control) -> (carry, hs)``: how a cell is run over time.

    `jaxrnn.engine.run` by default. A probe hands in its own to see, or to change, what
    happens in each cell of a composition: it calls ``cell.unroll(..., run)`` with itself
    for a composition, and does what it is for with every other cell.
    """

    def __call__(
        self, cell: "Cell", params: Any, carry: Any, xs: Any, control: "Control", /
    ) -> tuple[Any, Any]: ...


class Unroll(Protocol):
    """``(params, carry, xs, control, run) -> (carry, hs)`` over ``xs [T, *batch, F]``.

    A composition runs each cell inside by ``run(cell, params, carry, xs, control)``, with
    that cell's own params and carry. If it has several, each gets its own
    ``control.part(number, fresh)``. It never looks into a carry: a run may have put
    something else in its place.
    """

    def __call__(
        self, params: Any, carry: Any, xs: Any, control: "Control", run: Run, /
    ) -> tuple[Any, Any]: ...


class Cell(NamedTuple):
    """A recurrent cell: pure functions of one signature, ``params, carry, inputs``.

    A cell is code, not data: close over it or pass it as a static argument. Batch
    dimensions are free: ``x`` is ``[*batch, F]`` with any number of them.

    Fields:
        init: ``(key, features) -> params``, a pytree of arrays.
        initial_carry: ``(params, x) -> carry``, of the very type that ``step`` returns
            (shape, dtype, sharding, varying mesh axes). ``x`` is one step's input
            ``[*batch, F]`` or only its ``jax.ShapeDtypeStruct``.
        step: ``(params, carry, x) -> (carry, h)``.
        unroll: ``(params, carry, xs, control, run) -> (carry, hs)`` over
            ``xs [T, *batch, F]``; ``run(cell, params, carry, xs, control)`` runs a cell
            inside. None: an engine runs the cell, by its ``parts`` or its ``step``.
        event_ndim: how many trailing axes of ``x`` belong to one row: 1 for vectors,
            0 for tokens, 3 for images ``[W, W, C]``. None: ``x`` is a pytree of which
            nothing is known; lengths, mask or resets say what the batch is.
        parts: what the cell is made of: a `Gated`, or the cells of a composition. A cell
            with noise has the `Gated` of its evaluation, and an ``unroll`` too.
        spec: kind and options, hashable, e.g. ``("lstm", ("hidden", 128))``. Read by
            repr, errors, probes and `convert`; by nothing numerical.

    Example:
        A leaky integrator with no parameters:

        >>> import jax.numpy as jnp, jaxrnn
        >>> def step(params, carry, x):
        ...     carry = 0.5 * carry + x
        ...     return carry, carry
        >>> leaky = jaxrnn.Cell(
        ...     init=lambda key, features: (),
        ...     initial_carry=lambda params, x: jnp.zeros(x.shape, x.dtype),
        ...     step=step,
        ... )
        >>> carry, hs = jaxrnn.unroll(leaky, (), None, jnp.ones((3, 1)))
        >>> hs[:, 0].tolist()
        [1.0, 1.5, 1.75]
    """

    init: Init
    initial_carry: InitialCarry
    step: Step
    unroll: Unroll | None = None
    event_ndim: int | None = 1
    parts: tuple = ()
    spec: tuple = ()

    def __repr__(self) -> str:
        return show(self.spec) if self.spec else f"Cell({self.step})"

    def __reduce__(self) -> tuple:
        """As the call that made it, where a factory did: see `jaxrnn._factory`."""
        call = call_of(self)
        return (_called, call) if call else (Cell, tuple(self))

    def __deepcopy__(self, memo: Any) -> "Cell":
        return self


def composed(cell: Cell) -> bool:
    """Whether a cell's ``unroll`` runs what it is made of: a composition, or noise."""
    return cell.unroll is not None and bool(cell.parts)


def call_of(cell: Cell) -> tuple | None:
    """``(make, args, options)`` that made the cell, unless a field was replaced since."""
    made, *call = getattr(cell.step, "made", (None,))
    return tuple(call) if cell == made else None


def _called(make: Callable, args: tuple, options: dict) -> Cell:
    return make(*args, **options)


class Control(NamedTuple):
    """The options of `unroll`, checked, as `Cell.unroll` gets them.

    Fields:
        valid: bool ``[T, *batch]`` or None: the steps that count (lengths and mask in
            one). ``xs`` is zero where it is False.
        resets: bool ``[T, *batch]`` or None: where the carry is replaced by ``fresh``,
            before ``xs[t]``, and under ``reverse`` after it.
        fresh: the carry that resets go to; a composition splits it as it splits the
            carry.
        reverse: whether time runs from the last step to the first.
        remat: None, "auto", or the number of steps between stored carries.
        engine: "auto", an engine's name, or a tuple of `jaxrnn.engine.Engine`.
        key: a `NoiseKey`, or None for the evaluation, without noise.
        batch_ndim: how many axes of ``xs`` behind time are the batch; None: unknown.
    """

    valid: jax.Array | None = None
    resets: jax.Array | None = None
    fresh: Any = None
    reverse: bool = False
    remat: int | str | None = None
    engine: Any = "auto"
    key: NoiseKey | None = None
    batch_ndim: int | None = None

    def part(self, number: int, fresh: Any = None) -> "Control":
        """What the part of this number in a composition is told.

        Args:
            number: each part, and the composition's own noise, has its own.
            fresh: the part's share of ``fresh``; read only where there are resets.
        """
        key = None if self.key is None else self.key.part(number)
        return self._replace(key=key, fresh=fresh)
