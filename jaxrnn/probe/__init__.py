"""What goes on inside a cell: its gates, what reaches back, what it holds on to."""

from jaxrnn.probe.dynamics import jacobian_spectrum, lyapunov, timescale
from jaxrnn.probe.influence import ablation, memory_span
from jaxrnn.probe.recording import gates, gradient_flow

__all__ = [
    "ablation",
    "gates",
    "gradient_flow",
    "jacobian_spectrum",
    "lyapunov",
    "memory_span",
    "timescale",
]
