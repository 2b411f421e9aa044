"""The next season of a real series, from histories of any length.

    python examples/forecast.py                      weekly CO2, a year ahead: 10 seconds
    python examples/forecast.py --bidirectional      reads each history in both directions
    python examples/forecast.py --series sunspots    too few years: no better than the naive

The seasonal naive forecast repeats the last season. A GRU reads one to three seasons and
predicts what to add to it. It is trained on the first 65% of the series, chosen by the next
15% and tested on the rest. A missing value is no target, and is read as the value before.
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

from jaxrnn import bidirectional, gru, plot, train, unroll


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
    origins: np.ndarray  # [N], the steps at which targets begin
    histories: list  # N times [T, 2]: (value - last value) / scale, and whether known
    naive: np.ndarray  # [N, S], the last season repeated
    targets: np.ndarray  # [N, S], NaN where missing


def load(series):
    """Values, NaN where missing; the season S in steps; years."""
    table = getattr(datasets, series).load_pandas().data
    if series == "co2":
        return table.co2.to_numpy(), 52, 1958.24 + np.arange(len(table)) * 7 / 365.25
    return table.SUNACTIVITY.to_numpy(), 11, table.YEAR.to_numpy()


def fill(values):
    """Replaces a missing value by the last one before it, so no future value is used."""
    seen = np.where(np.isnan(values), 0, np.arange(len(values)))
    return values[np.maximum.accumulate(seen)]


def windows(values, season, scale, rng, span):
    """One for each season of targets in `span`, with a history of 1 to 3 seasons."""
    origins = np.arange(max(span[0], season), span[1] - season + 1)
    starts = origins - rng.integers(season, np.minimum(3 * season, origins) + 1)
    filled, known = fill(values), ~np.isnan(values)
    read = lambda a, o: [(filled[a:o] - filled[o - 1]) / scale, known[a:o]]
    histories = [np.float32(pair).T for pair in map(read, starts, origins)]
    ahead = origins[:, None] + np.arange(season)
    return Windows(origins, histories, filled[ahead - season], values[ahead])


def batches(some, scale, batch, **how):
    """Histories, labelled with what to add to the naive forecast and where it is known."""
    add = (some.targets - some.naive) / scale
    labels = np.float32(np.nan_to_num(add)), ~np.isnan(add)
    return train.buckets(some.histories, batch, labels=labels, **how)


def addition(cell, params, batch):
    """Read from the final carry, or from both if there are two directions: [B, S]."""
    carry, _ = unroll(cell, params["cell"], None, batch.xs, lengths=batch.lengths)
    memory = jnp.concatenate(jax.tree.leaves(carry), axis=-1)
    return memory @ params["weights"] + params["bias"]


def loss(cell, params, carry, batch, key):
    wanted, known = batch.labels  # nothing is known in rows that fill the batch
    errors = jnp.abs(addition(cell, params, batch) - wanted)
    return None, {"loss": train.mean(errors, known)}


def learn(cell, settings, scale, past, near):
    """The params that are best on `near`. Initially they add nothing to the naive."""
    kc, kt = jax.random.split(jax.random.key(settings.seed))
    season, size = past.naive.shape[1], settings.hidden * (1 + settings.bidirectional)
    readout = dict(weights=jnp.zeros((size, season)), bias=jnp.zeros(season))
    rate = optax.cosine_decay_schedule(settings.rate, settings.steps)
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    cut = partial(batches, batch=settings.batch, widths=[2 * season, 3 * season])
    data, valid = cut(past, scale, seed=settings.seed), cut(near, scale, epochs=1)
    how = dict(steps=settings.steps, steps_per_call=10, log_every=50, valid_every=50)
    state = train.init(dict(cell=cell.init(kc, features=2), **readout), adam, kt)
    return train.fit(partial(loss, cell), adam, state, data, valid=valid, **how).params


def run(settings):
    """Name -> absolute errors [N, S] in the last years, NaN where the value is missing."""
    values, season, years = load(settings.series)
    n, a, b = (int(share * len(values)) for share in (1, 0.65, 0.8))
    scale = np.nanmean(np.abs(values[season:a] - values[: a - season]))
    cut = partial(windows, values, season, scale, np.random.default_rng(settings.seed))
    past, near, future = map(cut, ((0, a), (a, b), (b, n)))
    cell = gru(settings.hidden)
    cell = bidirectional(cell) if settings.bidirectional else cell
    params = learn(cell, settings, scale, past, near)
    whole = batches(future, scale, len(future.origins), widths=[3 * season])[0]
    add, last = jax.jit(partial(addition, cell))(params, whole), future.origins - 1
    said = {"GRU": future.naive + scale * add, "seasonal naive": future.naive}
    growth = fill(values)[last] - fill(values)[last - season]
    said["naive + growth"] = future.naive + growth[:, None]
    errors = {name: np.abs(one - future.targets) for name, one in said.items()}
    table = rich.table.Table(settings.series, "mean absolute error", "share of naive")
    for name, error in errors.items():
        share = np.nanmean(error) / np.nanmean(errors["seasonal naive"])
        table.add_row(name, f"{np.nanmean(error):.3f}", f"{share:.0%}")
    rich.print(table)
    draw(said, errors, years[b:], values[b:], settings)
    return errors


def draw(said, errors, years, values, settings):
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 4.5), layout="constrained")
    right.plot(years, values, "k.", ms=3)
    for (name, some), colour in zip(said.items(), plot.COLOURS, strict=False):
        error = np.nanmean(errors[name], axis=0)
        left.plot(range(1, len(error) + 1), error, color=colour, label=name)
        for n in range(0, len(some), 2 * len(error)):
            right.plot(years[n : n + len(error)], some[n], color=colour)
    plot.clip_outliers(left)
    plot.clip_outliers(right)
    left.set(xlabel="steps ahead", title="mean absolute error", ylim=0)
    right.set(xlabel="year", title="forecasts of every other season, made at its start")
    left.legend()
    settings.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(settings.out / f"{settings.series}.png", dpi=120)
    print("picture:", settings.out / f"{settings.series}.png")


if __name__ == "__main__":
    run(tyro.cli(Settings, description=__doc__))
