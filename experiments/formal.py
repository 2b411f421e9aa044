"""Bucket sort and parity, at lengths that were never trained."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments import comparison, statistics, training
from experiments.registry import Experiment
from experiments.training import Task
from jaxrnn.tasks import formal

# Of networks of 256 units after a million updates, trained at lengths 1 to 40 and asked at
# 41 to 500: the best of ten seeds and three learning rates (Delétang et al. 2023, table 1).
PUBLISHED = {
    "parity": {"simple RNN": 100, "LSTM": 100},
    "even_pairs": {"simple RNN": 100, "LSTM": 100},
    "cycle_navigation": {"simple RNN": 100, "LSTM": 100},
    "bucket_sort": {"simple RNN": 27.9, "LSTM": 99.3},
}


def task(name: str, settings: dict) -> Task:
    lengths = (1, settings["trained"])
    draw = partial(formal.TASKS[name], batch=settings["batch"], length=lengths)
    return Task(draw, formal.SYMBOLS[name], formal.ANSWERS[name], "class")


def score(said, key, name, settings):
    """Accuracy at each of the lengths that are asked."""

    def at(key, length):
        batch = formal.TASKS[name](key, settings["tests"], length=length)
        right = said(batch).argmax(-1) == batch.targets
        return jnp.sum(right & batch.mask) / jnp.sum(batch.mask)

    lengths = settings["asked"]
    keys = jax.random.split(key, len(lengths))
    return jnp.stack([at(k, n) for k, n in zip(keys, lengths, strict=True)])


def pieces(settings):
    found = {}
    for name in settings["tasks"]:
        asked = partial(score, name=name, settings=settings)
        of = {name: task(name, settings)}
        found |= comparison.pieces(of, training.THREE, settings, asked)
    return found


def beyond(result, settings):
    """Each seed's mean accuracy at lengths above the trained ones."""
    far = np.array(settings["asked"]) > settings["trained"]
    return np.array(result["score"], float)[:, far].mean(axis=1)


def at_equal(results, name, cell, settings):
    """The median accuracy beyond the trained lengths, at equal parameters."""
    result = comparison.of_cell(results, name, cell)[-1]
    return statistics.median(beyond(result, settings), "high")


def blind(name, settings):
    """The accuracy beyond of who sees the length alone."""
    far = [n for n in settings["asked"] if n > settings["trained"]]
    return float(np.mean([formal.baseline(name, n) for n in far]))


def verdict(settings, results):
    name = "bucket_sort"
    rnn, lstm = (at_equal(results, name, c, settings) for c in ("simple RNN", "LSTM"))
    level = blind(name, settings)
    return lstm.low > max(rnn.high, level), (
        f"bucket sort beyond the trained lengths: LSTM {lstm.show('{:.0%}')}, simple RNN "
        f"{rnn.show('{:.0%}')}, without the symbols {level:.0%}"
    )


def lesson(settings, results):
    """Up to which length the median LSTM is better than knowing the length alone."""
    (result,) = comparison.of_cell(results, "bucket_sort", "LSTM")
    found = np.median(np.array(result["score"], float), axis=0)
    worse = [
        length
        for length, right in zip(settings["asked"], found, strict=True)
        if right < formal.baseline("bucket_sort", length)
    ]
    if not worse:
        return "The LSTM is better than knowing the length alone at every length of the test."
    return (
        f"The LSTM's accuracy falls with length. At {worse[0]} symbols, "
        f"{worse[0] / settings['trained']:g} times the trained length, knowing the length alone "
        "is better."
    )


def section(settings, results):
    rows = [
        "| task | cell | parameters | at the trained lengths | beyond | published |",
        "|---|---|---|---|---|---|",
    ]
    for name in settings["tasks"]:
        task = name.replace("_", " ")
        for label, result in comparison.of_task(results, name).items():
            near = np.array(result["right"], float)[:, -1]
            known = PUBLISHED[name].get(result["cell"])
            rows.append(
                f"| {task} | {label} | {result['parameters']:,} "
                f"| {statistics.accuracy(near)} "
                f"| {statistics.accuracy(beyond(result, settings))} "
                f"| {'' if known is None else f'{known:g}%'} |"
            )
        rows.append(
            f"| {task} | without the symbols | | | {blind(name, settings):.0%} | |"
        )
    return f"""\
Networks are trained on 1 to {settings["trained"]} symbols and tested on up to {settings["asked"][-1]}. They have
{settings["updates"]:,} updates of {settings["batch"]} rows, and the table shows the median of {settings["seeds"]}
seeds. The published column is the best case under other conditions: Delétang and others (2023)
train 256 units for a million updates on 1 to 40 symbols, test at 41 to 500, and print the best of
ten seeds and three learning rates. The first of the sorted symbols are low and the last are high,
so a network that knows only the length is right in most places. The rows "without the symbols" are
the best possible accuracy of such a network.

{chr(10).join(rows)}

{lesson(settings, results)}"""


def draw(settings, results):
    names, asked = settings["tasks"], settings["asked"]
    figure, axes = comparison.panels([name.replace("_", " ") for name in names])
    for ax, name in zip(axes, names, strict=True):
        found = comparison.of_task(results, name)
        comparison.bands(ax, asked, {k: r["score"] for k, r in found.items()})
        level = [formal.baseline(name, n) for n in asked]
        ax.plot(asked, level, color="0.4", linestyle="--", label="without the symbols")
        ax.axvline(settings["trained"], color="0.6", linewidth=1)
        ax.set(xlabel="symbols", ylabel="accuracy", ylim=(0, 1.05))
    comparison.legend(axes[-1])
    return figure


EXPERIMENT = Experiment(
    name="formal",
    title="Bucket sort and parity: the LSTM sorts longer lists than it was taught",
    rule="Beyond the trained lengths the LSTM's median accuracy in sorting is above the "
    "simple RNN's, with 95% intervals that do not meet, and above what is possible from "
    "the length alone; at equal parameters.",
    minutes=58,
    settings={
        **comparison.SETTINGS,
        "batch": 64,
        "trained": 20,
        "asked": [5, 10, 20, 30, 40, 60, 80, 100],
        "tests": 200,
        "tasks": ["parity", "bucket_sort"],
        "updates": 4000,
        "every": 100,
    },
    quick={
        **comparison.QUICK,
        "batch": 8,
        "trained": 5,
        "asked": [3, 10],
        "tests": 20,
        "tasks": ["bucket_sort"],
    },
    pieces=pieces,
    verdict=verdict,
    section=section,
    draw=draw,
)
