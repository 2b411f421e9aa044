"""Training: pure updates, loops that survive, sweeps that vmap."""

from jaxrnn.train.data import Bucket, Window, arrays, buckets, streams
from jaxrnn.train.fit import Fitted, evaluate, fit
from jaxrnn.train.mean import Mean, Sum, mean
from jaxrnn.train.nonfinite import NonFinite, load_bundle
from jaxrnn.train.parallel import data_mesh
from jaxrnn.train.step import Carry, State, init, make_step
from jaxrnn.train.sweep import (
    Swept,
    Trial,
    choice,
    grid,
    log_uniform,
    random_search,
    sweep,
    uniform,
)

__all__ = [
    "Bucket",
    "Carry",
    "Fitted",
    "Mean",
    "NonFinite",
    "State",
    "Sum",
    "Swept",
    "Trial",
    "Window",
    "arrays",
    "buckets",
    "choice",
    "data_mesh",
    "evaluate",
    "fit",
    "grid",
    "init",
    "load_bundle",
    "log_uniform",
    "make_step",
    "mean",
    "random_search",
    "streams",
    "sweep",
    "uniform",
]
