"""Dropout of what enters the memory."""

from typing import Any

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.gated import Gated
from jaxrnn.noise._draws import bits, check_rate, drop, kept
from jaxrnn.noise._riding import WithNoise, check_gated, inside, noisy, riding

CANDIDATES = ("g", "n")


@factory
def recurrent_dropout(cell: Cell, rate: Any, *, candidate: str | None = None) -> Cell:
    """The cell with dropout on the candidate, which is what enters its memory.

    Semeniuta et al. 2016, arXiv:1603.05118: c' = f c + i d(g), and for a GRU
    h' = z h + (1 - z) d(n), with a mask for each step. What the memory holds is never
    dropped, so it lasts.

    Args:
        cell: a gated cell, with noise of its own or without.
        rate: how likely a unit is dropped, from 0 to 1 without 1: a number, or a traced
            value. Rounded to a multiple of 2⁻¹⁶.
        candidate: the name of the gate that is the candidate; None: ``g`` or ``n``,
            whichever the cell's gates have.

    Returns:
        A cell with the params and the carry of `cell`. `jaxrnn.unroll` draws its noise
        from ``key``; without one, and in a step, it is `cell` itself, and so it is at
        rate 0.

    Raises:
        ValueError: for what is no gated cell, a rate that is none, and under a key for a
            cell without such a gate.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.noise.recurrent_dropout(jaxrnn.lstm(4), rate=0.25)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
        >>> carry, hs = jaxrnn.unroll(cell, params, None, xs, key=jax.random.key(2))
        >>> hs.shape
        (6, 2, 4)
    """
    check_gated("recurrent_dropout", cell)
    check_rate(rate)
    if candidate is not None and not isinstance(candidate, str):
        raise ValueError(f"candidate: expected the name of a gate, got {candidate!r}.")

    def disturbed(equations: Gated, mask) -> Gated:
        def enter(gates):
            name = _candidate(gates, candidate)
            return gates._replace(**{name: drop(getattr(gates, name), mask, rate)})

        def update(params, carry, gates):
            return equations.update(params, carry, inside(enter, gates))

        return equations._replace(update=update)

    def run_noisy(key, types, inner, params, carry, xs, control, run):
        gates = types.gates
        shape = types.over_time(getattr(gates, _candidate(gates, candidate)))
        xs = WithNoise(xs, kept(bits(key, control, shape), rate))
        return run(riding(inner, disturbed), params, carry, xs, control)

    spec = spec_of(
        "recurrent_dropout", cells=(cell.spec,), rate=rate, candidate=candidate
    )
    return noisy(cell, spec, run_noisy, plain=cell)


def _candidate(gates: Any, candidate: str | None) -> str:
    """The name of the gate that is the candidate."""
    names = getattr(gates, "_fields", ())
    among = CANDIDATES if candidate is None else (candidate,)
    found = [name for name in among if name in names]
    if len(found) != 1:
        wanted = f"one gate named {' or '.join(map(repr, among))}"
        raise ValueError(
            f"candidate: expected {wanted}, got the gates {list(names)} of "
            f"{type(gates).__name__}. Name the one that enters the memory."
        )
    return found[0]
