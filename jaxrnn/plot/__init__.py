"""Pictures of what the probes measure, on matplotlib axes.

Each function draws on the axes that it is given and returns them. Without axes it makes
one new figure. The colours are those of Okabe and Ito, which colour-blind people can tell
apart, and each line has its own marker. A value far from all others does not set the
scale: see `clip_outliers`.
"""

from jaxrnn.plot._ablation import ablation
from jaxrnn.plot._accuracy import accuracy
from jaxrnn.plot._axes import COLOURS, MARKERS
from jaxrnn.plot._contrast import contrast
from jaxrnn.plot._gates import gate, gates, state
from jaxrnn.plot._gradient_flow import gradient_flow
from jaxrnn.plot._history import history
from jaxrnn.plot._memory_span import memory_span
from jaxrnn.plot._outliers import clip_outliers
from jaxrnn.plot._spectra import exponents, spectrum
from jaxrnn.plot._timescales import timescales
from jaxrnn.plot._traces import traces

__all__ = [
    "COLOURS",
    "MARKERS",
    "ablation",
    "accuracy",
    "clip_outliers",
    "contrast",
    "exponents",
    "gate",
    "gates",
    "gradient_flow",
    "history",
    "memory_span",
    "spectrum",
    "state",
    "timescales",
    "traces",
]
