"""The next season of a real series, from histories of any length.

    python examples/forecast.py                      weekly CO2 on Mauna Loa, a year ahead
    python examples/forecast.py --bidirectional      reads each history both ways
    python examples/forecast.py --series sunspots    yearly, a cycle of 11 years ahead

A GRU reads one to three seasons and says what to add to the seasonal naive forecast: that
the next season will be like the last. It learns from the past (65% of the series), is
chosen by the years after it (15%) and tested on the last (20%). The series come with
statsmodels. A missing value is read as the one before, with a flag, and is no target.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import rich.table
import tyro
from statsmodels import datasets

import jaxrnn
from jaxrnn import plot, train


@dataclass(frozen=True)
class Settings:
    series: Literal["co2", "sunspots"] = "co2"
    bidirectional: bool = False
    steps: int = 1000
    batch: int = 64
    hidden: int = 32
    rate: float = 3e-3
    seed: int = 0
    out: Path = Path("out/forecast")


class Windows(NamedTuple):
    origins: np.ndarray  # [N], where histories end and targets begin
    histories: (
        list  # N arrays [T, 2]: value less the last one, in scales; was it there?
    )
    naive: np.ndarray  # [N, S], the last season once more
    targets: np.ndarray  # [N, S], NaN where missing


def load(series):
    """Values, NaN where missing; the season S; when they were measured, in years."""
    table = getattr(datasets, series).load_pandas().data
    if series == "co2":
        return table.co2.to_numpy(), 52, 1958.24 + np.arange(len(table)) * 7 / 365.25
    return table.SUNACTIVITY.to_numpy(), 11, table.YEAR.to_numpy()


def fill(values):
    """A missing value becomes the last one before it: nothing of the future."""
    seen = np.where(np.isnan(values), 0, np.arange(len(values)))
    return values[np.maximum.accumulate(seen)]


def windows(values, season, scale, rng, span):
    """One for each season of targets within `span`, with a history of 1 to 3 seasons."""
    origins = np.arange(max(span[0], season), span[1] - season + 1)
    longest = np.minimum(3 * season, origins)
    starts = origins - rng.integers(season, longest, endpoint=True)
    filled, known = fill(values), ~np.isnan(values)
    read = lambda a, o: (
        np.float32([(filled[a:o] - filled[o - 1]) / scale, known[a:o]]).T
    )
    histories = [*map(read, starts, origins)]
    ahead = origins[:, None] + np.arange(season)
    return Windows(origins, histories, filled[ahead - season], values[ahead])


def batches(some, scale, batch, widths=(2, 3), **how):
    """Histories, labelled with what to add to the naive forecast and where it is known."""
    add = (some.targets - some.naive) / scale
    how["labels"] = np.float32(np.nan_to_num(add)), ~np.isnan(add)
    widths = [add.shape[1] * seasons for seasons in widths]
    return train.buckets(some.histories, batch, widths=widths, **how)


def addition(cell, params, batch):
    """From the carry with which reading ended, or both if there are two: [B, S]."""
    carry, _ = jaxrnn.unroll(
        cell, params["cell"], None, batch.xs, lengths=batch.lengths
    )
    memory = jnp.concatenate(jax.tree.leaves(carry), axis=-1)
    return memory @ params["weights"] + params["bias"]


def loss(cell, params, carry, batch, key):
    wanted, known = batch.labels  # rows that only fill the batch know nothing
    errors = jnp.abs(addition(cell, params, batch) - wanted)
    return None, {"loss": train.mean(errors, known)}


def learn(cell, settings, scale, past, near):
    """The params that are best on `near`. Untrained, they add nothing to the naive."""
    kc, kt = jax.random.split(jax.random.key(settings.seed))
    season, size = past.naive.shape[1], settings.hidden * (1 + settings.bidirectional)
    params = dict(weights=jnp.zeros((size, season)), bias=jnp.zeros(season))
    params["cell"] = cell.init(kc, features=2)
    rate = optax.cosine_decay_schedule(settings.rate, settings.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    data = batches(past, scale, settings.batch, seed=settings.seed)
    valid = [*batches(near, scale, settings.batch, epochs=1)]
    how = dict(steps=settings.steps, steps_per_call=10, log_every=50, valid_every=50)
    state = train.init(params, optimizer, kt)
    fitted = train.fit(partial(loss, cell), optimizer, state, data, valid=valid, **how)
    return fitted.params


def run(settings):
    """Name -> absolute errors [N, S] in the last years, NaN where nothing is known."""
    values, season, years = load(settings.series)
    filled, n = fill(values), len(values)
    a, b = int(0.65 * n), int(0.8 * n)
    scale = np.nanmean(np.abs(values[season:a] - values[: a - season]))
    cut = partial(windows, values, season, scale, np.random.default_rng(settings.seed))
    past, near, future = map(cut, ((0, a), (a, b), (b, n)))
    cell = jaxrnn.gru(settings.hidden)
    cell = jaxrnn.bidirectional(cell) if settings.bidirectional else cell
    params = learn(cell, settings, scale, past, near)
    whole = batches(future, scale, len(future.origins), widths=[3], epochs=1)[0]
    add, last = jax.jit(partial(addition, cell))(params, whole), future.origins - 1
    said = {"GRU": future.naive + scale * add, "seasonal naive": future.naive}
    said["naive, grown"] = (
        future.naive + (filled[last] - filled[last - season])[:, None]
    )
    errors = {name: np.abs(one - future.targets) for name, one in said.items()}
    table = rich.table.Table(settings.series, "mean absolute error", "of the naive")
    for name, error in errors.items():
        share = np.nanmean(error) / np.nanmean(errors["seasonal naive"])
        table.add_row(name, f"{np.nanmean(error):.3f}", f"{share:.0%}")
    rich.print(table)
    path = settings.out / f"{settings.series}.png"
    draw(said, errors, years, values, future.origins[0], path)
    return errors


def draw(said, errors, years, values, start, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 4.5), layout="constrained")
    right.plot(years[start:], values[start:], "k.", ms=3)
    for name, colour in zip(said, plot.COLOURS, strict=False):
        left.plot(1 + np.arange(said[name].shape[1]), np.nanmean(errors[name], axis=0))
        left.lines[-1].set(color=colour, label=name)
        for n in range(0, len(said[name]), 2 * said[name].shape[1]):
            ahead = slice(start + n, start + n + said[name].shape[1])
            right.plot(years[ahead], said[name][n], color=colour)
    left.set(xlabel="steps ahead", title="mean absolute error", ylim=0)
    right.set(xlabel="year", title="every other season, forecast when it began")
    left.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print("picture:", path)


if __name__ == "__main__":
    run(tyro.cli(Settings, description=__doc__))
