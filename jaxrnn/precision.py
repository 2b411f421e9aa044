"""Mixed precision: what a cell multiplies in, what it remembers in, what it sums in."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import eval_jaxpr
from jax.custom_derivatives import SymbolicZero

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.gated import Gated, gated

__all__ = ["precision"]

FLOATS = ("bfloat16", "float16", "float32", "float64")


def precision(
    cell: Cell, *, compute: Any = None, carry: Any = None, accum: Any = None
) -> Cell:
    """The cell in mixed precision; params stay as they are stored, no global is set.

    Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740: matmuls in half
    precision, sums and what is remembered in single precision, master weights. Each
    dtype is bfloat16, float16, float32 or float64, by name or as JAX's type.

        pre = round(x W + h U + b)    W, x, U and h rounded to `compute`, sums in `accum`
        carry' = update(carry, gates(pre))                                  in `carry`
        h' = round(output(carry'))                                       to `compute`

    What is multiplied by a matrix, stored for the backward pass (pre-activations) or
    handed to the next layer (h) is in `compute`. Gates are not rounded to it: bfloat16
    has nothing between 1 - 2⁻⁸ and 1, so that a forget gate of 0.999 would be 1 (h of
    an LSTM with memories of up to 1000 steps, after 2000: off by 0.5 % without, 54 %
    with it).

    Args:
        cell: a gated one, which keeps its engine, or one without an unroll of its own,
            whose step then runs in `carry` but for its matmuls.
        compute: of the operands of matmuls, of the pre-activations and of h. None is
            JAX's default float.
        carry: of the carry and of the element-wise work that makes it. None is float32,
            or `compute` where that is wider.
        accum: of the results of matmuls and of what is added to them, biases included;
            at least as wide as `compute`. None is float32, or `compute` where that is
            wider.

    Returns:
        A cell with the params of `cell`, whose carry has its floats in `carry`, and its
        h in `compute`, whatever the dtypes of params and inputs. Gradients come in the
        params' own dtype. Those of weights are summed over time and batch in `accum`
        and rounded to nothing narrower; cotangents enter matmuls in `accum`. Integers
        pass untouched. Matmuls inside loops, branches and custom derivatives of a cell,
        and convolutions, keep their operands in `accum`, or in `carry` in a step.

    Raises:
        ValueError: if no dtype is given, for one that is none of the four, for float64
            without x64, for `accum` narrower than `compute`, and for a composition with
            an unroll of its own: wrap the cells inside.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.precision(jaxrnn.lstm(4), compute="bfloat16")
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> carry.c.dtype.name, hs.dtype.name
        ('float32', 'bfloat16')
    """
    if not isinstance(cell, Cell):
        raise ValueError(f"precision: expected a jaxrnn.Cell, got {cell!r}.")
    if compute is None and carry is None and accum is None:
        raise ValueError(
            "precision: expected at least one of compute, carry and accum, got none. "
            'Name one: compute="bfloat16".'
        )
    low = _dtype("compute", compute, jnp.zeros(()).dtype)
    wide = low if low.itemsize > 4 else jnp.dtype(jnp.float32)
    kept, summed = _dtype("carry", carry, wide), _dtype("accum", accum, wide)
    if summed != low and summed.itemsize <= low.itemsize:
        raise ValueError(
            f"accum: expected a float at least as wide as compute={low}, got {summed}. "
            "Leave it out, or name a narrower compute."
        )
    return _precise(cell, low, kept, summed)


@factory
def _precise(cell: Cell, low: Any, kept: Any, summed: Any) -> Cell:
    """`precision` in dtypes that no longer depend on JAX's default float."""
    options = dict(compute=low, carry=kept, accum=summed)
    spec = spec_of("precision", cells=(cell.spec,), **options)
    if cell.unroll is not None:
        raise ValueError(
            f"precision: expected a gated cell or one that only steps, got {cell!r}. "
            "Wrap the cells inside: jaxrnn.stack(jaxrnn.precision(...), ...). Noise goes "
            "around it too."
        )
    if isinstance(cell.parts, Gated):
        parts = _gated(cell.parts, low, kept, summed)
        return gated(
            init=cell.init,
            initial_carry=cell.initial_carry,
            event_ndim=cell.event_ndim,
            spec=spec,
            **parts._asdict(),
        )
    inner = _rounded(cell.step, low, kept, summed)

    def initial_carry(params, x):
        return _cast(cell.initial_carry(_cast(params, kept), _cast(x, kept)), kept)

    def step(params, carry, x):
        carry, h = inner(*_cast((params, carry, x), kept))
        return _cast(carry, kept), _cast(h, low)

    return cell._replace(
        initial_carry=initial_carry, step=step, parts=(cell,), spec=spec
    )


def _gated(parts: Gated, low: Any, kept: Any, summed: Any) -> Gated:
    """The equations, each in its dtype: `kept` for the carry, `summed` for sums."""
    projected = _rounded(parts.project, low, summed, summed)
    recurred = _rounded(parts.recur, low, summed, summed)
    opened = _rounded(parts.gates, low, kept, summed)
    updated = _rounded(parts.update, low, kept, summed)

    def project(params, x):
        return _cast(projected(*_cast((params, x), summed)), summed)

    def recur(params, carry, z):
        return _cast(recurred(*_cast((params, carry, z), summed)), low)

    def gates(params, carry, pre):
        return _cast(opened(*_cast((params, carry, pre), kept)), kept)

    def update(params, carry, gates):
        return _cast(updated(*_cast((params, carry, gates), kept)), kept)

    def output(params, carry):
        return _cast(parts.output(_cast(params, kept), carry), low)

    return Gated(project, recur, gates, update, output)


def _rounded(f: Callable, low: Any, given: Any, summed: Any) -> Callable:
    """`f` on arrays of dtype `given`, its products with operands rounded to `low`."""

    def run(*args):
        closed, out = jax.make_jaxpr(f, return_shape=True)(*args)
        outs = evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(out), outs)

    def evaluate(jaxpr, consts, args):
        inputs = [*jaxpr.constvars, *jaxpr.invars]
        values = dict(zip(inputs, [*consts, *args], strict=True))
        read = lambda v: v.val if hasattr(v, "val") else values[v]
        for eqn in jaxpr.eqns:
            ins, options = [read(v) for v in eqn.invars], eqn.params
            if eqn.primitive.name in ("jit", "pjit"):  # what jnp's functions are
                inner = options["jaxpr"]
                outs = evaluate(inner.jaxpr, inner.consts, ins)
            elif eqn.primitive in PRODUCTS and all(
                v.aval.dtype == given for v in (*eqn.invars, *eqn.outvars)
            ):
                options = dict(options, preferred_element_type=summed)
                outs = [_product(eqn.primitive, low, summed, options)(*ins)]
            else:
                named = [v for v in eqn.invars if not hasattr(v, "val")]
                alone = dict(constvars=[], invars=named, outvars=eqn.outvars)
                alone = jaxpr.replace(**alone, eqns=[eqn])
                outs = eval_jaxpr(alone, (), *map(read, named))
            values.update(zip(eqn.outvars, outs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    return run


PRODUCTS = (lax.dot_general_p, lax.conv_general_dilated_p)


def _product(primitive: Any, low: Any, summed: Any, options: dict) -> Callable:
    """A matmul or a convolution of operands rounded to `low`, summed in `summed`.

    Its derivative is written out because JAX's transpose of a matmul rounds the result,
    here each weight's gradient, to the dtype of the operand.
    """

    def product(a, b):
        return primitive.bind(a, b, **options)

    @jax.custom_jvp
    def rounded(a, b):
        return product(a.astype(low), b.astype(low)).astype(a.dtype)

    def rule(primals, tangents):
        (a, b), (da, db) = primals, tangents
        exact = lambda v: v.astype(low).astype(summed)
        out, dout = rounded(a, b), None
        if not isinstance(da, SymbolicZero):
            dout = product(da.astype(summed), exact(b))
        if not isinstance(db, SymbolicZero):
            other = product(exact(a), db.astype(summed))
            dout = other if dout is None else dout + other
        return out, jnp.zeros_like(out) if dout is None else dout.astype(a.dtype)

    rounded.defjvp(rule, symbolic_zeros=True)
    return rounded


def _cast(tree: Any, dtype: Any) -> Any:
    """The floats of a tree of arrays, or of their types, in this dtype."""

    def one(a):
        a = a if hasattr(a, "dtype") else jnp.asarray(a)
        if not jnp.issubdtype(a.dtype, jnp.floating):
            return a
        if isinstance(a, jax.ShapeDtypeStruct):
            return jax.eval_shape(lambda a: a.astype(dtype), a)
        return a.astype(dtype)

    return jax.tree.map(one, tree)


def _dtype(name: str, given: Any, default: Any) -> Any:
    if given is None:
        return default
    try:
        dtype = jnp.dtype(given)
    except TypeError:
        dtype = None
    if dtype is None or dtype.name not in FLOATS:
        raise ValueError(
            f"{name}: expected one of {FLOATS}, got {given!r}. Name a float, such as "
            '"float32".'
        )
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            f"{name}: expected a dtype that JAX has, got {dtype} without x64. Use "
            'float32, or jax.config.update("jax_enable_x64", True).'
        )
    return dtype
