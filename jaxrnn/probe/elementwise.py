"""Whether a function mixes the units of an array."""

from collections.abc import Callable
from typing import Any

import jax

# Primitives that give for each element what the element decides.
ONE_BY_ONE = frozenset(
    "abs add add_any and atan2 cbrt ceil clamp convert_element_type copy cos cosh div "
    "eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite le log log1p "
    "logistic lt max min mul ne neg nextafter not or pow real rem round rsqrt select_n "
    "sign sin sinh sqrt square stop_gradient sub tan tanh xor".split()
)
CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "checkpoint")


def elementwise(f: Callable, a: jax.Array) -> bool:
    """Whether each element of ``f(a)``, of a's shape, depends on that of `a` alone.

    By what the function is made of: False too where only a closer look would tell.
    """
    closed, out = jax.make_jaxpr(f, return_shape=True)(a)
    return out.shape == a.shape and _apart(closed.jaxpr, [True]) is not None


def _apart(jaxpr: Any, depends: list[bool]) -> list[bool] | None:
    """Which outputs depend on the inputs that do; None where elements of them mix."""
    known = {v for v, d in zip(jaxpr.invars, depends, strict=True) if d}
    for eqn in jaxpr.eqns:
        reads = [not hasattr(v, "val") and v in known for v in eqn.invars]
        if not any(reads):
            continue
        inner = eqn.params.get("jaxpr") or eqn.params.get("call_jaxpr")
        if inner is not None and eqn.primitive.name in CALLS:
            outs = _apart(getattr(inner, "jaxpr", inner), reads)
            if outs is None:
                return None
            known |= {v for v, d in zip(eqn.outvars, outs, strict=True) if d}
        elif eqn.primitive.name in ONE_BY_ONE:
            known |= set(eqn.outvars)
        else:
            return None
    return [not hasattr(v, "val") and v in known for v in jaxpr.outvars]
