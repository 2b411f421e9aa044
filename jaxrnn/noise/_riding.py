"""Noise that rides along through a gated cell.

It is drawn before the loop and is data from there on: the inputs become `WithNoise`, a
step's inputs with that step's noise, which goes from x to z, to the pre-activations, to the
gates. So engines, remat, vmap and gradients need to know nothing about it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxrnn._tree import one_step
from jaxrnn.cell import Cell, Run
from jaxrnn.gated import Gated, step_of


class WithNoise(NamedTuple):
    """What an equation of a gated cell reads or returns, and the step's noise."""

    value: Any
    noise: Any


def without_noise(value: Any) -> Any:
    """What the noise of all wrappers rides along with."""
    while isinstance(value, WithNoise):
        value = value.value
    return value


def inside(f: Callable, value: Any) -> Any:
    """``f`` of what the noise of all wrappers rides along with."""
    if isinstance(value, WithNoise):
        return WithNoise(inside(f, value.value), value.noise)
    return f(value)


def riding(cell: Cell, disturbed: Callable) -> Cell:
    """A gated cell for inputs `WithNoise`.

    Args:
        cell: what an engine runs, without an unroll of its own.
        disturbed: ``(equations, noise) -> equations``: a step's, under that step's noise.
    """
    parts: Any = cell.parts

    def project(params, x):
        z = disturbed(parts, x.noise).project(params, x.value)
        return WithNoise(z, x.noise)

    def recur(params, carry, z):
        pre = disturbed(parts, z.noise).recur(params, carry, z.value)
        return WithNoise(pre, z.noise)

    def gates(params, carry, pre):
        opened = disturbed(parts, pre.noise).gates(params, carry, pre.value)
        return WithNoise(opened, pre.noise)

    def update(params, carry, gates):
        return disturbed(parts, gates.noise).update(params, carry, gates.value)

    equations = Gated(project, recur, gates, update, parts.output)
    return cell._replace(step=step_of(equations), unroll=None, parts=equations)


def noisy(cell: Cell, spec: tuple, run_noisy: Callable, plain: Cell) -> Cell:
    """`cell`, run with noise under a key.

    Args:
        cell: a gated cell, with noise of its own or without.
        spec: of the cell that is made.
        run_noisy: ``(key, types, inner, params, carry, xs, control, run)``, a `Run` of
            the gated cell `inner`, with the `NoiseKey` of this noise and the `Types`.
        plain: the cell without a key.
    """

    def step(params, carry, x):
        return plain.step(params, carry, x)

    def unroll(params, carry, xs, control, run: Run):
        if control.key is None:
            return run(plain, params, carry, xs, control)

        def inner_run(inner, params, carry, xs, control):
            key, rest = control.key.part(1), control.part(0, control.fresh)
            types = Types(cell, params, without_noise(xs))
            return run_noisy(key, types, inner, params, carry, xs, rest, run)

        if cell.unroll is None:
            return inner_run(cell, params, carry, xs, control)
        return cell.unroll(params, carry, xs, control, inner_run)

    return cell._replace(step=step, unroll=unroll, parts=plain.parts, spec=spec)


class Types:
    """The types of what a gated cell's equations return at a step, none of it computed.

    Of the carry that comes in nothing is read: a probe may have put something else there.
    """

    def __init__(self, cell: Cell, params: Any, xs: Any):
        self.length = jax.tree.leaves(xs)[0].shape[0]
        self.x = one_step(xs)
        self._cell, self._params = cell, params
        self._parts: Any = cell.parts

    @property
    def carry(self) -> Any:
        return jax.eval_shape(self._cell.initial_carry, self._params, self.x)

    @property
    def z(self) -> Any:
        return jax.eval_shape(self._parts.project, self._params, self.x)

    @property
    def gates(self) -> Any:
        args = self._params, self.carry
        pre = jax.eval_shape(self._parts.recur, *args, self.z)
        return jax.eval_shape(self._parts.gates, *args, pre)

    def over_time(self, like: Any) -> tuple:
        """The shape ``[T, *batch, ...]`` of what has the type `like` at a step."""
        return (self.length, *like.shape)


def check_gated(name: str, cell: Any) -> None:
    """Raises ValueError unless it is a gated cell, with noise or without."""
    if not isinstance(cell, Cell):
        raise ValueError(f"{name}: expected a jaxrnn.Cell, got {cell!r}.")
    if not isinstance(cell.parts, Gated):
        raise ValueError(
            f"{name}: expected a gated cell, got {cell!r}. Of a composition wrap the "
            f"cells inside: jaxrnn.stack({name}(...), ...)."
        )
