"""What a cell is: a NamedTuple of pure functions, and what `unroll` tells it."""

import functools
import operator
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


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
        unroll: ``(params, carry, xs, control) -> (carry, hs)`` over
            ``xs [T, *batch, F]``; None stands for the plain scan of ``step``.
        parts: what the cell is made of: a `Gated`, or the cells of a composition.
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

    init: Callable
    initial_carry: Callable
    step: Callable
    unroll: Callable | None = None
    parts: tuple = ()
    spec: tuple = ()

    def __repr__(self) -> str:
        return show(self.spec) if self.spec else f"Cell({self.step})"

    def __reduce__(self) -> tuple:
        """As the call that made it, where a factory did: see `factory`."""
        call = _call_of(self)
        return (_called, call) if call else (Cell, tuple(self))

    def __deepcopy__(self, memo: Any) -> "Cell":
        return self


def factory(make: Callable) -> Callable:
    """A function that makes cells, which pickle as the call that made them.

    A cell that is sent to another process is rebuilt there by the same call. Equal calls
    return the same cell in every process, so objects that hold a cell are equal where
    Flax and jit compare static values. Arguments that are arrays or may hold traced values
    are the exception.
    """
    known = functools.lru_cache(maxsize=1024, typed=True)(make)

    @functools.wraps(make)
    def called(*args, **options):
        values = (*args, *options.values())
        cell = (known if all(map(_fixed, values)) else make)(*args, **options)
        cell.step.made = (cell, called, args, options)
        return cell

    return called


def _call_of(cell: Cell) -> tuple | None:
    """``(make, args, options)`` that made the cell, unless a field was replaced since."""
    made, *call = getattr(cell.step, "made", (None,))
    as_made = made is not None and all(map(operator.is_, cell, made))
    return tuple(call) if as_made else None


def _called(make: Callable, args: tuple, options: dict) -> Cell:
    return make(*args, **options)


def _fixed(value: Any, seen: tuple = ()) -> bool:
    """Whether a value may be kept as a key: it is hashable and holds nothing traced."""
    if any(value is s for s in seen):  # a function that calls itself
        return True
    if isinstance(value, Cell) and (call := _call_of(value)):
        held = (*call[1], *call[2].values())
    elif isinstance(value, tuple):
        held = value
    elif isinstance(value, functools.partial):
        held = (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, FunctionType):
        try:
            held = tuple(c.cell_contents for c in value.__closure__ or ())
        except ValueError:  # not assigned yet
            return False
        held += value.__defaults__ or ()
    else:
        try:
            hash(value)
        except TypeError:
            return False
        return True
    return all(_fixed(inner, (*seen, value)) for inner in held)


def show(spec: tuple) -> str:
    """A `Cell.spec` as the call that made the cell; "Cell" where there is none."""
    if not spec:
        return "Cell"
    kind, *options = spec
    cells = [
        show(inner) for name, *value in options if name == "cells" for inner in value[0]
    ]
    named = ["=".join(map(str, option)) for option in options if option[0] != "cells"]
    return f"{kind}({', '.join(cells + named)})"


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
        engine: "auto", "gated" or "scan".
    """

    valid: jax.Array | None = None
    resets: jax.Array | None = None
    fresh: Any = None
    reverse: bool = False
    remat: int | str | None = None
    engine: str = "auto"


def spec_of(kind: str, **options: Any) -> tuple:
    """A hashable `Cell.spec`. None is left out; arrays and tracers go by name only."""

    def entry(name, value):
        if isinstance(value, (bool, int, float, str, tuple)):
            return (name, value)
        if isinstance(value, (np.dtype, type)):
            return (name, np.dtype(value).name)
        if callable(value):
            return (name, name_of(value))
        return (name,)

    return (kind, *(entry(n, v) for n, v in options.items() if v is not None))


def name_of(function: Callable) -> str:
    """A function's name in a `Cell.spec`; in brackets, unlike that of an option."""
    return f"<{getattr(function, '__name__', type(function).__name__)}>"


def one_step(xs: Any, leading: int = 1) -> Any:
    """The type of `xs` without its `leading` axes, which may be empty or symbolic.

    A sum, so that mesh axes and shardings come along; nothing is computed.
    """

    def drop(a):
        if jnp.issubdtype(a.dtype, jax.dtypes.extended):  # keys have no sum
            return a[(0,) * leading]
        return jnp.sum(a, axis=tuple(range(leading)), dtype=a.dtype)

    return jax.eval_shape(lambda xs: jax.tree.map(drop, xs), xs)


def retype(value: Any, like: Any) -> Any:
    """`value` with the dtypes, shardings and varying mesh axes of `like`."""

    def one(v, s):
        if v.dtype == s.dtype and jax.typeof(v) == jax.typeof(s):
            return v
        return jnp.zeros_like(s) + jnp.asarray(v).astype(s.dtype)

    return jax.tree.map(one, value, like)


def arrays(name: str, tree: Any) -> Any:
    """`tree` with a `jax.Array` in place of each leaf.

    Raises a ValueError that names the first that is no array.
    """

    def one(path, leaf):
        try:
            return jnp.asarray(leaf)
        except TypeError as error:
            name_of = f"{name}{jax.tree_util.keystr(path)}"
            raise ValueError(f"{name_of}: expected an array, got {leaf!r}.") from error

    return jax.tree.map_with_path(one, tree)


def check_like(name: str, value: Any, expected: Any, remedy: str, dtypes=True) -> None:
    """Raises a ValueError that names the first leaf of `value` unlike `expected`.

    Args:
        name: what the message calls `value`.
        value: a pytree of arrays.
        expected: a pytree of arrays or `jax.ShapeDtypeStruct`.
        remedy: how to mend it.
        dtypes: whether dtypes must agree too.
    """
    have, want = jax.tree.structure(value), jax.tree.structure(expected)
    if have != want:
        said, wanted = structure_of(value), structure_of(expected)
        if said == wanted:
            said, wanted = f"{have}", f"{want}"
        raise ValueError(f"{name}: expected {wanted}, got {said}. {remedy}")
    got = jax.tree.leaves_with_path(value)
    for (path, a), e in zip(got, jax.tree.leaves(expected), strict=True):
        a = a if hasattr(a, "dtype") else np.asarray(a)
        if a.shape != e.shape or (dtypes and a.dtype != e.dtype):
            kind = f"{e.dtype} " if dtypes else ""
            came = f"{a.dtype} " if dtypes else ""
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)}: expected {kind}{list(e.shape)}, "
                f"got {came}{list(a.shape)}. {remedy}"
            )


def structure_of(tree: Any) -> str:
    """A pytree as a reader writes it: ``LSTMCarry(h, c)``, ``(array, None)``."""
    if tree is None or isinstance(tree, str):
        return repr(tree)
    if isinstance(tree, dict):
        items = [f"{name!r}: {structure_of(value)}" for name, value in tree.items()]
        return "{" + ", ".join(items) + "}"
    names = getattr(tree, "_fields", None)
    if isinstance(tree, tuple) and names is not None:
        fields = [(name, structure_of(getattr(tree, name))) for name in names]
        inner = [n if said == "array" else f"{n}={said}" for n, said in fields]
        return f"{type(tree).__name__}({', '.join(inner)})"
    if isinstance(tree, tuple):
        return f"({', '.join(map(structure_of, tree))}{',' * (len(tree) == 1)})"
    if isinstance(tree, list):
        return f"[{', '.join(map(structure_of, tree))}]"
    leaf = jax.tree.structure(tree) == jax.tree.structure(0)
    return "array" if leaf and hasattr(tree, "shape") else type(tree).__name__


def wide(dtype: Any) -> np.dtype:
    """float32, or `dtype` if that is a wider float: what sums and draws are made in."""
    dtype = jnp.dtype(dtype)
    wider = jnp.issubdtype(dtype, jnp.inexact) and dtype.itemsize > 4
    return dtype if wider else jnp.dtype(jnp.float32)


def aligned(a: jax.Array, like: jax.Array) -> jax.Array:
    """`a` with leading axes of size 1, so that it has as many axes as `like`.

    A bias ``[H]`` beside ``[*batch, H]``: under ``jax_numpy_rank_promotion="raise"``
    JAX refuses to do this by itself.
    """
    return jax.lax.expand_dims(a, range(like.ndim - a.ndim))


def select(where: jax.Array | None, then: Any, otherwise: Any) -> Any:
    """`then` where the bools [*batch] hold, else `otherwise`: trees of [*batch, ...].

    `where=None` means everywhere; `otherwise` may be the number 0.
    """
    if where is None:
        return then
    if isinstance(otherwise, int):
        otherwise = jax.tree.map(jnp.zeros_like, then)

    def one(a, b):
        axes = max(a.ndim, b.ndim) - where.ndim
        return jnp.where(where.reshape(where.shape + (1,) * axes), a, b)

    return jax.tree.map(one, then, otherwise)
