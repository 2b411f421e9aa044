"""Training: pure updates, loops that survive, sweeps that vmap.

What is exported here is public; the modules may change. A module imports only from those
that stand before it here:

    an update   mean checks state loss processes axes parallel gradient step
    data        numeric sequences dataset data streams buckets batches feed
    a run       row_file record orbax checkpoint identity progress sigterm hooks loop run
    fit         same evaluate nonfinite fit
    sweep       population search swept sweep
"""

from jaxrnn.train.buckets import Bucket, buckets
from jaxrnn.train.data import arrays
from jaxrnn.train.evaluate import evaluate
from jaxrnn.train.fit import Fitted, fit
from jaxrnn.train.hooks import Snapshot, every
from jaxrnn.train.mean import Mean, Sum, mean
from jaxrnn.train.nonfinite import NonFinite, load_bundle
from jaxrnn.train.parallel import data_mesh
from jaxrnn.train.population import Trial
from jaxrnn.train.search import choice, grid, log_uniform, random_search, uniform
from jaxrnn.train.state import Carry, State, init
from jaxrnn.train.step import make_step
from jaxrnn.train.streams import Window, streams
from jaxrnn.train.sweep import sweep
from jaxrnn.train.swept import Swept

__all__ = [
    "Bucket",
    "Carry",
    "Fitted",
    "Mean",
    "NonFinite",
    "Snapshot",
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
    "every",
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
