"""Variational dropout: a mask that stays over time."""

from typing import Any

import jax

from jaxrnn._factory import factory
from jaxrnn._spec import cells_of, spec_of
from jaxrnn.cell import Cell
from jaxrnn.gated import Gated
from jaxrnn.noise._draws import (
    bits_of_sequences,
    check_rate,
    drop,
    each_float,
    either,
    is_float,
    kept,
)
from jaxrnn.noise._riding import WithNoise, check_gated, inside, noisy, riding


@factory
def variational(
    cell: Cell, *, inputs: Any = None, recurrent: Any = None, outputs: Any = None
) -> Cell:
    """The cell with dropout whose mask stays the same over a whole sequence.

    Gal and Ghahramani 2016, arXiv:1512.05287, with one mask for all gates; Keras's
    ``dropout`` and ``recurrent_dropout`` are `inputs` and `recurrent`. A reset begins a
    sequence, so it brings a new mask.

    Rates are from 0 to 1 without 1, numbers or traced values, rounded to multiples of
    2⁻¹⁶; None is no mask.

    Args:
        cell: a gated cell, with noise of its own or without.
        inputs: how likely a feature of x is dropped.
        recurrent: how likely a unit of h is, where the matmuls read it; the state
            equation reads it whole. It is the carry's ``h``, or the carry if that is one
            array. Not for a cell of your own whose matmuls read a function of that.
        outputs: how likely a unit of the output is dropped.

    Returns:
        A cell with the params and the carry of `cell`. `jaxrnn.unroll` draws its noise
        from ``key``; without one, and in a step, it is `cell` itself, and so it is where
        all rates are 0.

    Raises:
        ValueError: for what is no gated cell, without a rate, for a rate that is none,
            for `recurrent` of a `leaky_rnn` of another activation than "relu", and under
            a key for `recurrent` if there is no such h.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.noise.variational(jaxrnn.lstm(4), inputs=0.2, recurrent=0.2)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
        >>> carry, hs = jaxrnn.unroll(cell, params, None, xs, key=jax.random.key(2))
        >>> hs.shape
        (6, 2, 4)
    """
    check_gated("variational", cell)
    rates = dict(inputs=inputs, recurrent=recurrent, outputs=outputs)
    if all(rate is None for rate in rates.values()):
        raise ValueError(
            "variational: expected inputs, recurrent or outputs, got none. Name one: "
            "recurrent=0.2."
        )
    for name, rate in rates.items():
        if rate is not None:
            check_rate(rate, name)
    if recurrent is not None:
        _check_read(cell.spec)

    def disturbed(equations: Gated, noise) -> Gated:
        of_x, of_h = noise

        def project(params, x):
            return equations.project(params, inside(lambda x: less(x, of_x, inputs), x))

        def recur(params, carry, z):
            return equations.recur(params, read(carry), z)

        def gates(params, carry, pre):
            return equations.gates(params, read(carry), pre)

        def read(carry):
            if of_h is None:
                return carry
            return _with_h(carry, drop(_h_of(carry), of_h, recurrent))

        return equations._replace(project=project, recur=recur, gates=gates)

    def less(tree, masks, rate):
        if masks is None:
            return tree
        return either(
            jax.tree.map(
                lambda a, m: drop(a, m, rate) if is_float(a) else None, tree, masks
            ),
            tree,
        )

    def run_noisy(key, types, inner, params, carry, xs, control, run):
        def mask(rate):
            def one(key, like):
                shape = types.over_time(like)
                return kept(bits_of_sequences(key, control, shape), rate)

            return one

        of_x = of_h = None
        if inputs is not None:
            of_x = each_float(mask(inputs), key.part(0), types.x)
        if recurrent is not None:
            of_h = mask(recurrent)(key.part(1), _h_of(types.carry))
        xs = WithNoise(xs, (of_x, of_h))
        carry, hs = run(riding(inner, disturbed), params, carry, xs, control)
        if outputs is not None:
            at_once = jax.tree.map(
                lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), hs
            )
            shown = each_float(mask(outputs), key.part(2), at_once)
            hs = less(hs, shown, outputs)
        return carry, hs

    spec = spec_of("variational", cells=(cell.spec,), **rates)
    return noisy(cell, spec, run_noisy, plain=cell)


def _check_read(spec: tuple) -> None:
    """Raises ValueError for the cell whose matmuls read a function of its carry.

    To drop v is to drop φ(v) where φ(0) = 0 and φ is linear above.
    """
    while inner := cells_of(spec):
        (spec,) = inner
    activation = dict(o for o in spec[1:] if len(o) == 2).get("activation")
    if spec[:1] == ("leaky_rnn",) and activation != "relu":
        raise ValueError(
            "recurrent: expected a cell whose matmuls read h of its carry, got a "
            f"leaky_rnn of activation {activation}, whose carry is v and whose matmuls "
            "read φ(v). Take weight_drop, or the activation relu."
        )


def _h_of(carry: Any) -> jax.Array:
    """What the matmuls of a gated cell read of its carry."""
    h = getattr(carry, "h", carry)
    if not hasattr(h, "dtype"):
        raise ValueError(
            "recurrent: expected a carry that is one array or has a field h, got "
            f"{type(carry).__name__}. Leave it out."
        )
    return h


def _with_h(carry: Any, h: jax.Array) -> Any:
    return carry._replace(h=h) if hasattr(carry, "h") else h
