"""JAX programs evaluated in NumPy: traced as JAX does, and never compiled.

Almost all of a test's time is XLA compiling, of which the mathematics of a cell needs
none. Tracing takes a tenth of it, and what is traced once may be run with any numbers of
its shapes, in milliseconds. So the laws see what JAX makes of a function: its values, its
jvp, its gradient. What XLA makes of that is the business of `test_compiled`.

A primitive without a rule is left to JAX, which compiles a small program for each of its
shapes: those of newer versions of JAX that `numpy_rules` does not know yet, a convolution,
which would be long in NumPy, and all that draws: a PRNG key is no array of NumPy's, and
what is drawn is threefry's business, not a cell's.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from tests.laws.numpy_rules import RULES, rule

# These move whole elements about, and so they may be left to JAX for keys.
MOVES = {"broadcast_in_dim", "concatenate", "copy", "dynamic_slice", "gather"}
MOVES |= {"reshape", "select_n", "slice", "squeeze", "stack", "transpose", "unstack"}


def evaluate(f: Callable, *args: Any) -> Any:
    """``f(*args)``, traced by JAX and evaluated in NumPy."""
    return trace(f, *args)(*args)


def trace(f: Callable, *example: Any) -> Callable:
    """`f` as a function that NumPy evaluates, of arrays of these shapes and dtypes.

    Args:
        f: a function of trees of arrays.
        example: its arguments, or their `jax.ShapeDtypeStruct`.
    """
    closed, out = jax.make_jaxpr(f, return_shape=True)(*example)
    program = lowered(closed)
    traced_with, returned = jax.tree.structure(example), jax.tree.structure(out)

    def run(*args):
        leaves, tree = jax.tree.flatten(args)
        arrays = [as_array(leaf) for leaf in leaves]
        found = tree, [(a.shape, a.dtype) for a in arrays]
        if found != (traced_with, [(v.shape, v.dtype) for v in closed.in_avals]):
            raise TypeError(
                f"traced with {traced_with}, {closed.in_avals}: got {found}"
            )
        with np.errstate(all="ignore"):
            results = program(*arrays)
        return jax.tree.unflatten(returned, map(as_array, results))

    return run


def as_array(value: Any) -> Any:
    """A NumPy array; PRNG keys stay what they are."""
    return value if _is_key(value) else np.asarray(value)


def _is_key(a: Any) -> bool:
    return jax.dtypes.issubdtype(getattr(a, "dtype", None), jax.dtypes.extended)


def lowered(program: Any) -> Callable:
    """A jaxpr, closed or not, as a function from arrays to a list of arrays."""
    jaxpr = getattr(program, "jaxpr", program)
    memory = [as_array(c) for c in getattr(program, "consts", ())]
    first = len(memory)
    memory += [None] * len(jaxpr.invars)
    place = {v: n for n, v in enumerate((*jaxpr.constvars, *jaxpr.invars))}

    def read(v):
        if not isinstance(v, Literal):
            return place[v]
        memory.append(np.asarray(v.val, v.aval.dtype))
        return len(memory) - 1

    steps = []
    for eqn in jaxpr.eqns:
        reads = [read(v) for v in eqn.invars]
        writes = range(len(memory), len(memory) + len(eqn.outvars))
        memory += [None] * len(eqn.outvars)
        place |= dict(zip(eqn.outvars, writes, strict=True))
        steps.append((_function(eqn), reads, writes, eqn))
    outputs = [read(v) for v in jaxpr.outvars]

    def run(*args):
        cells = list(memory)
        cells[first : first + len(args)] = args
        for function, reads, writes, eqn in steps:
            results = function(*[cells[n] for n in reads])
            _check(eqn, results)
            for n, result in zip(writes, results, strict=True):
                cells[n] = result
        return [cells[n] for n in outputs]

    return run


def _check(eqn: Any, results: list) -> None:
    """Raises TypeError where a rule's result is not of the type that JAX's is."""
    for v, result in zip(eqn.outvars, results, strict=True):
        if result.dtype != v.aval.dtype or result.shape != v.aval.shape:
            found = f"{result.dtype}{list(result.shape)}"
            raise TypeError(f"{eqn.primitive.name}: {v.aval} expected, got {found}")


def _function(eqn: Any) -> Callable:
    """What an equation does: a function from arrays to a list of arrays."""
    name, many = eqn.primitive.name, eqn.primitive.multiple_results
    if name not in RULES or (name in MOVES and _is_key(eqn.outvars[0].aval)):
        f = lambda *arrays: eqn.primitive.bind(*map(_to_jax, arrays), **eqn.params)
        return lambda *arrays: [as_array(a) for a in jax.tree.leaves(f(*arrays))]
    f = RULES[name](**eqn.params)
    return f if many else lambda *arrays: [f(*arrays)]


def _to_jax(a: Any) -> Any:
    return a if _is_key(a) else jax.numpy.asarray(a)


# Programs inside of programs.


@rule("jit", "closed_call", "core_call", "remat2", "checkpoint")
def _(jaxpr=None, call_jaxpr=None, **_):
    return lowered(call_jaxpr if jaxpr is None else jaxpr)


@rule("custom_jvp_call", "custom_vjp_call")
def _(call_jaxpr, **_):
    return lowered(call_jaxpr)


@rule("cond")
def _(branches, **_):
    functions = [lowered(branch) for branch in branches]
    last = len(functions) - 1
    return lambda which, *args: functions[min(max(int(which), 0), last)](*args)


@rule("while")
def _(cond_jaxpr, cond_nconsts, body_jaxpr, body_nconsts, **_):
    goes_on, body = lowered(cond_jaxpr), lowered(body_jaxpr)

    def loop(*args):
        consts, args = args[:cond_nconsts], args[cond_nconsts:]
        of_body, state = args[:body_nconsts], args[body_nconsts:]
        while goes_on(*consts, *state)[0]:
            state = body(*of_body, *state)
        return list(state)

    return loop


@rule("scan")
def _(jaxpr, length, reverse, num_consts=None, num_carry=None, ft_in=None, **_):
    if ft_in is not None:  # so newer versions of JAX say how many
        num_consts, num_carry, _ = map(len, ft_in.unpack())
    body, types = lowered(jaxpr), jaxpr.out_avals[num_carry:]

    def loop(*args):
        consts, rest = args[:num_consts], args[num_consts:]
        carry, xs = rest[:num_carry], rest[num_carry:]
        ys = [np.empty((length, *v.shape), v.dtype) for v in types]
        for t in reversed(range(length)) if reverse else range(length):
            results = body(*consts, *carry, *(a[t] for a in xs))
            carry = results[:num_carry]
            for y, result in zip(ys, results[num_carry:], strict=True):
                y[t] = result
        return [*carry, *ys]

    return loop
