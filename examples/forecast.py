"""One season ahead of a real series, from histories of any length, against last season.

    python examples/forecast.py                       weekly CO2 on Mauna Loa, 1 year ahead
    python examples/forecast.py --bidirectional       read the history both ways
    python examples/forecast.py --series elnino       monthly sea temperature

A GRU reads one to three seasons and learns what to add to the seasonal naive forecast, which
says that the next season will be like the last. It is trained on the past, its best update
chosen on the years that follow, and tested on the last fifth. The series come with
statsmodels. Where a value is missing, the last one before it stands in and a flag says so;
as a target it does not count.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import rich
import tyro
from rich.table import Table
from statsmodels import datasets

import jaxrnn
from jaxrnn import plot, train


@dataclass(frozen=True)
class Settings:
    series: Literal["co2", "elnino", "sunspots"] = "co2"
    """weekly, monthly, yearly; a season is 52 weeks, 12 months, 11 years"""
    bidirectional: bool = False
    """read the history both ways"""
    steps: int = 1000
    """updates"""
    seasons: int = 3
    """the longest history; the shortest is one season"""
    hidden: int = 32
    """units, of each direction"""
    batch: int = 64
    rate: float = 3e-3
    """the learning rate at its peak"""
    seed: int = 0
    out: Path = Path("out/forecast")


class Windows(NamedTuple):
    """Histories that end before `origins` and what came then; season S, one row a window."""

    origins: np.ndarray  # [N]
    histories: list  # N arrays [T, 2]: value in scales, less the last one; was it seen?
    naive: np.ndarray  # [N, S], last season once more
    targets: np.ndarray  # [N, S], NaN where missing


class Params(NamedTuple):
    cell: Any
    weights: jax.Array
    bias: jax.Array


def load(series):
    """The values, NaN where missing, when each was measured (years), and the season."""
    table = getattr(datasets, series).load_pandas().data
    if series == "co2":
        return table.co2.to_numpy(), 1958.24 + np.arange(len(table)) * 7 / 365.25, 52
    if series == "elnino":
        values = table.iloc[:, 1:].to_numpy().ravel()
        return values, table.YEAR.iloc[0] + np.arange(len(values)) / 12, 12
    return table.SUNACTIVITY.to_numpy(), table.YEAR.to_numpy(), 11


def fill(values):
    """Missing values replaced by the last one before: nothing of the future."""
    seen = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))
    return values[seen]


def windows(values, season, scale, first, last, seasons, rng):
    """A window for each season of targets that lies in [first, last)."""
    known, filled = ~np.isnan(values), fill(values)
    origins = np.arange(max(first, season), last - season + 1)
    longest = np.minimum(seasons * season, origins)
    starts = origins - rng.integers(season, longest, endpoint=True)
    read = lambda s, o: np.stack(
        [(filled[s:o] - filled[o - 1]) / scale, known[s:o]], axis=1
    )
    ahead = origins[:, None] + np.arange(season)
    histories = [read(s, o) for s, o in zip(starts, origins, strict=True)]
    return Windows(origins, histories, filled[ahead - season], values[ahead])


def init(cell, season, key):
    """The readout starts at zero, so that the untrained forecast is the naive one."""
    params = cell.init(key, features=2)
    carry = cell.initial_carry(params, jnp.zeros(2))
    size = sum(leaf.size for leaf in jax.tree.leaves(carry))
    return Params(params, jnp.zeros((size, season)), jnp.zeros(season))


def addition(cell, params, xs, lengths):
    """What to add to the naive forecast, in scales, from where reading ended: [B, S]."""
    carry, _ = jaxrnn.unroll(cell, params.cell, None, xs, lengths=lengths)
    memory = jnp.concatenate(jax.tree.leaves(carry), axis=-1)
    return memory @ params.weights + params.bias


def loss(cell, params, carry, batch, key):
    """The mean absolute error in scales, of what is known; see `train.fit`."""
    added = addition(cell, params, batch.xs, batch.lengths)
    wanted, known = batch.labels  # a row that only fills the batch knows nothing
    return None, {"loss": train.mean(jnp.abs(added - wanted), known)}


def batches(some, scale, season, settings, **how):
    wanted = (some.targets - some.naive) / scale
    labels = (np.nan_to_num(wanted).astype(np.float32), ~np.isnan(wanted))
    widths = season * np.arange(1, settings.seasons + 1)
    histories = [history.astype(np.float32) for history in some.histories]
    return train.buckets(
        histories, settings.batch, labels=labels, widths=widths, **how
    )


def predict(cell, params, some, scale):
    lengths = np.array([len(history) for history in some.histories])
    xs = np.zeros((lengths.max(), len(lengths), 2), np.float32)
    for i, history in enumerate(some.histories):
        xs[: lengths[i], i] = history
    added = jax.jit(partial(addition, cell))(params, xs, lengths)
    return some.naive + scale * np.asarray(added)


def run(settings):
    values, years, season = load(settings.series)
    n = len(values)
    learn, check = int(0.65 * n), int(0.8 * n)
    filled = fill(values)
    scale = np.nanmean(np.abs(values[season:learn] - filled[: learn - season]))
    rng = np.random.default_rng(settings.seed)
    cut = lambda first, last: windows(
        values, season, scale, first, last, settings.seasons, rng
    )
    past, near, future = cut(0, learn), cut(learn, check), cut(check, n)
    cell = jaxrnn.gru(settings.hidden)
    cell = jaxrnn.bidirectional(cell) if settings.bidirectional else cell
    ki, kt = jax.random.split(jax.random.key(settings.seed))
    decay = optax.cosine_decay_schedule(settings.rate, settings.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(decay))
    state = train.init(init(cell, season, ki), optimizer, kt)
    fitted = train.fit(
        partial(loss, cell), optimizer, state,
        batches(past, scale, season, settings, seed=settings.seed),
        steps=settings.steps, steps_per_call=10,
        valid=list(batches(near, scale, season, settings, epochs=1)), valid_every=50,
    )
    out = predict(cell, fitted.params, future, scale)
    mae = lambda p: float(np.nanmean(np.abs(p - future.targets)))
    growth = filled[future.origins-1]-filled[future.origins-1-season]
    print(settings, scale, len(past.origins), len(near.origins), len(future.origins))
    print([ (r["step"], round(r["loss"],3)) for r in fitted.history if r["split"]=="valid"], fitted.history[-2])
    print("best", fitted.best, "naive", mae(future.naive), "growth", mae(future.naive+growth[:,None]), "model", mae(out))
    return fitted

if __name__ == "__main__":
    t=time.perf_counter()
    run(tyro.cli(Settings, description=__doc__))
    print(time.perf_counter()-t)
