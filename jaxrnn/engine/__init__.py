"""How a cell runs over time. Knows no cell by name.

`scan` is the plain scan of ``step``: what everything means. `deferred` runs gated
cells with every weight gradient deferred to one matmul after the loop: same meaning,
faster.
"""

from jaxrnn.engine import deferred, scan

__all__ = ["deferred", "run", "scan"]


def run(cell, params, carry, xs, control):
    """``cell`` over ``xs [T, *batch, F]`` by its own way, or by the plain scan."""
    if cell.unroll is None:
        return scan.unroll(cell, params, carry, xs, control)
    return cell.unroll(params, carry, xs, control)
