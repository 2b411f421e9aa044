"""How a cell runs over time: one file an engine, one table. Knows no cell by name."""

from typing import Any

from jaxrnn.cell import Cell, Control
from jaxrnn.engine import gated, scan
from jaxrnn.engine.interface import Declined, Engine

__all__ = ["ENGINES", "Declined", "Engine", "names", "run"]

# "auto" takes the first that supports the cell.
ENGINES = (gated.ENGINE, scan.ENGINE)


def names() -> tuple[str, ...]:
    """What `jaxrnn.unroll` takes for ``engine``."""
    return ("auto", *sorted(engine.name for engine in ENGINES))


def run(
    cell: Cell, params: Any, carry: Any, xs: Any, control: Control
) -> tuple[Any, Any]:
    """``cell`` over ``xs [T, *batch, F]``: by its own unroll, or by an engine.

    Raises ValueError if no engine that `control` allows supports the cell.
    """
    if cell.unroll is not None:
        return cell.unroll(params, carry, xs, control, run)
    reasons = []
    for engine in _allowed(control.engine):
        reason = engine.supports(cell, control)
        if reason is None:
            try:
                return engine.unroll(cell, params, carry, xs, control)
            except Declined as declined:
                reason = str(declined)
        reasons.append(reason)
    asked = [engine.name for engine in _allowed(control.engine)]
    others = [e.name for e in ENGINES if e.supports(cell, control) is None]
    others = [repr(name) for name in ("auto", *others) if name not in asked]
    raise ValueError(
        f"engine: expected {' or '.join(others)} for {cell!r}, got "
        f"{' or '.join(map(repr, asked))}. {' '.join(reasons)}"
    )


def _allowed(engine: str | tuple[Engine, ...]) -> tuple[Engine, ...]:
    if isinstance(engine, tuple):
        return engine
    return tuple(e for e in ENGINES if engine in ("auto", e.name))
