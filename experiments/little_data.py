"""Little data for the GRU, more for the LSTM? And are the two equally good?"""

from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from experiments import statistics, training
from experiments.agreement import as_batch
from experiments.registry import Experiment
from experiments.training import Contender, Task
from jaxrnn import plot, train
from jaxrnn.tasks import Batch, agreement, digits

MARGIN = 0.02  # mean accuracies that differ by less are called equivalent
STOPS = (0.25, 1.0)  # parts of the updates: instead of a bias, when to stop is chosen
CELLS = tuple(
    cell._replace(options=(option,))
    for cell, option in ((training.RNN, 1.0), (training.GRU, 0.0), (training.LSTM, 1.0))
)


def pool(name: str, split: str, settings: dict) -> Batch:
    """All sequences of a split."""
    if name == "digits":
        return digits.sequences(*digits.images(split))
    keys = dict(zip(digits.SPLITS, jax.random.split(jax.random.key(9), 3), strict=True))
    size = settings["counts"][name][-1] if split == "train" else settings["tests"]
    return as_batch(agreement.draw(keys[split], size, distance=(3, 20)))


def task(name: str, count: int, settings: dict) -> Task:
    """Batches of a seed's own `count` sequences."""
    every = pool(name, "train", settings)
    size = len(every.lengths)

    def own(seed):
        key = jax.random.fold_in(jax.random.key(5), seed)
        mine = jax.random.permutation(key, size)[:count]

        def pick(rows):
            return Batch(
                *(a[:, mine[rows]] for a in every[:3]), every.lengths[mine[rows]]
            )

        return pick

    rows = lambda key: jax.random.randint(
        key, (settings["batch"],), 0, count, jnp.int32
    )
    if name == "digits":
        return Task(rows, 1, digits.CLASSES, "class", own=own)
    return Task(rows, len(agreement.VOCABULARY), 2, "class", own=own)


def right(said, key, batch):
    """Accuracy on fixed sequences."""
    hits = (said(batch).argmax(-1) == batch.targets) & batch.mask
    return jnp.sum(hits) / jnp.sum(batch.mask)


def learn(
    name: str, count: int, contender: Contender, units: int, settings: dict
) -> dict:
    """Chooses rate and stop by validation, then trains and tests the seeds."""
    of = task(name, count, settings)
    valid = partial(right, batch=pool(name, "valid", settings))
    test = partial(right, batch=pool(name, "test", settings))
    updates = {stop: round(stop * settings["updates"]) for stop in STOPS}

    def run(hypers, stop, score):
        steps = updates[stop]
        swept = training.population(contender, units, of, hypers, steps, steps)
        return training.examine(contender, units, of, swept, score)

    grid = train.grid(
        rate=contender.rates, option=contender.options, seed=training.TUNING_SEEDS
    )
    tried = []
    for stop in STOPS:
        accuracies = (
            run(grid, stop, valid).reshape(len(contender.rates), -1).mean(axis=1)
        )
        tried += [
            {"rate": rate, "stop": stop, "right": training.rounded(accuracy)}
            for rate, accuracy in zip(contender.rates, accuracies, strict=True)
        ]
    chosen = max(tried, key=lambda one: one["right"])
    seeds = np.arange(settings["seeds"])
    hypers = {
        "rate": np.full(len(seeds), chosen["rate"], np.float32),
        "option": np.full(len(seeds), contender.options[0], np.float32),
        "seed": seeds,
    }
    return {
        "parameters": training.count(contender, units, of),
        "chosen": {**chosen, "tried": tried},
        "right": training.rounded(run(hypers, chosen["stop"], test)),
    }


def pieces(settings):
    found = {}
    for name, counts in settings["counts"].items():
        for contender in CELLS:
            of = task(name, counts[0], settings)
            units = training.width(contender, of, settings["hidden"])
            for count in counts:
                piece = f"{name}: {contender.name}, {units} units, n={count}"
                found[piece] = partial(learn, name, count, contender, units, settings)
    return found


def accuracies(results, name, cell, settings):
    """[seeds, counts]."""
    columns = []
    for count in settings["counts"][name]:
        (one,) = [
            r
            for k, r in results.items()
            if k.startswith(f"{name}: {cell}, ") and k.endswith(f"n={count}")
        ]
        columns.append(np.array(one["right"], float))
    return np.stack(columns, axis=1)


def interaction(results, name, settings) -> statistics.Interval:
    """Points of accuracy that the LSTM gains on the GRU for ten times the data."""
    ahead = accuracies(results, name, "LSTM", settings) - accuracies(
        results, name, "GRU", settings
    )
    logs = np.log10(settings["counts"][name])
    slopes = 100 * np.array([np.polyfit(logs, row, 1)[0] for row in ahead])
    return statistics.bootstrapped(lambda a, axis: np.mean(a, axis=axis), slopes)


def p_equivalent(results, name, settings) -> float:
    """At the largest amount of data."""
    lstm, gru = (
        accuracies(results, name, cell, settings)[:, -1] for cell in ("LSTM", "GRU")
    )
    return statistics.equivalent(lstm, gru, MARGIN)


def verdict(settings, results):
    names = list(settings["counts"])
    gains = {name: interaction(results, name, settings) for name in names}
    said = "; ".join(
        f"{name}: for ten times the data the LSTM gains {gain.show('{:+.1f}')} points on the GRU"
        for name, gain in gains.items()
    )
    return all(gain.low > 0 for gain in gains.values()), said


def section(settings, results):
    rows = ["| task | cell | n | accuracy |", "|---|---|---|---|"]
    for name, counts in settings["counts"].items():
        for cell in CELLS:
            found = accuracies(results, name, cell.name, settings)
            for count, column in zip(counts, found.T, strict=True):
                middle = statistics.median(column).show("{:.1%}")
                rows.append(f"| {name} | {cell.name} | {count:,} | {middle} |")
    equal = []
    for name, counts in settings["counts"].items():
        p = p_equivalent(results, name, settings)
        word = "equivalent" if p < 0.05 else "not shown to be equivalent"
        equal.append(f"{name} at n={counts[-1]:,}: {word} (p = {p:.2g})")
    return f"""\
"With little data the GRU is better, with more the LSTM" goes back to one comparison on one
corpus of reviews (Yang, Yu and Zhou 2020). What it says is an interaction: the LSTM must gain
on the GRU as data grows. Two tasks, equal parameters, {settings["seeds"]} seeds with training
sets of their own, learning rate and early stopping chosen on validation data for each cell
and each n: handwritten digits pixel by pixel (64 steps), and agreement over 3 to 20 words.

{chr(10).join(rows)}

The interaction is the mean over seeds of the slope of the difference against log₁₀ n; where
its interval has 0 in it, the claim is *not supported*.

*Similar accuracy?* Two one-sided paired t tests with a margin of {100 * MARGIN:g} points,
stated ahead: {"; ".join(equal)}. A digit that is not MNIST: see `jaxrnn.tasks.digits`."""


def draw(settings, results, path):
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for ax, (name, counts) in zip(axes, settings["counts"].items(), strict=False):
        for cell, colour, marker in zip(
            CELLS, plot.COLOURS, plot.MARKERS, strict=False
        ):
            found = accuracies(results, name, cell.name, settings)
            middles = [statistics.median(column) for column in found.T]
            style = dict(color=colour, marker=marker, label=cell.name)
            ax.plot(counts, [m.middle for m in middles], **style)
            low, high = ([getattr(m, end) for m in middles] for end in ("low", "high"))
            ax.fill_between(counts, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.set(title=name, xlabel="training sequences", ylabel="accuracy", xscale="log")
        ax.grid(alpha=0.3)
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    figure.savefig(path)
    plt.close(figure)


EXPERIMENT = Experiment(
    name="little_data",
    title="Little data for the GRU, more for the LSTM?",
    rule="In both tasks the LSTM gains on the GRU as the training set grows: the 95% "
    "interval of the interaction is above 0. Otherwise: not supported.",
    minutes=30,
    settings={
        "hidden": 32,
        "seeds": 20,
        "updates": 1500,
        "batch": 32,
        "tests": 1000,
        "counts": {"digits": [100, 300, 1000], "agreement": [100, 1000, 10000]},
    },
    quick={
        "hidden": 6,
        "seeds": 3,
        "updates": 40,
        "batch": 8,
        "tests": 50,
        "counts": {"digits": [20, 60]},
    },
    pieces=pieces,
    verdict=verdict,
    section=section,
    draw=draw,
)
