"""Temporal order, experiments 6a and 6b of 1997."""

from functools import partial

import numpy as np

from experiments import comparison, statistics, training
from experiments.registry import Experiment
from experiments.training import Task
from jaxrnn.tasks import temporal_order

VOCABULARY = len(temporal_order.VOCABULARY)
NAMES = {2: "6a, four classes", 3: "6b, eight classes"}
SOLVED = 0.1  # cross-entropy; guessing has ln 4 and ln 8
PUBLISHED = {2: "31,390", 3: "571,100"}  # sequences of the LSTM of 1997


def tasks(settings):
    length, batch = settings["length"], settings["batch"]
    return {
        name: Task(
            partial(temporal_order.draw, batch=batch, symbols=symbols, length=length),
            VOCABULARY,
            2**symbols,
            "class",
        )
        for symbols, name in NAMES.items()
        if symbols in settings["symbols"]
    }


def pieces(settings):
    return comparison.pieces(tasks(settings), training.THREE, settings)


def verdict(settings, results):
    said, passes = [], True
    for name in tasks(settings):
        plain, gru, lstm = (
            comparison.share(results, name, cell.name, SOLVED).middle
            for cell in training.THREE
        )
        passes &= max(gru, lstm) >= 0.9 and plain <= 0.1
        said.append(f"{name}: simple RNN {plain:.0%}, GRU {gru:.0%}, LSTM {lstm:.0%}")
    return passes, "seeds that solve it, " + "; ".join(said)


def lesson(settings, results):
    """What the table says, where it does."""
    at = {
        (name, cell.name): comparison.of_cell(results, name, cell.name)[-1]
        for name in tasks(settings)
        for cell in training.THREE
    }
    until = {
        which: statistics.time_to(result["steps"], result["loss"], SOLVED)
        for which, result in at.items()
    }
    sequences = lambda which: (
        "never"
        if np.isinf(until[which].middle)
        else f"{until[which].middle * settings['batch']:,.0f}"
    )
    said = []
    if all(np.isinf(until[name, "simple RNN"].low) for name in tasks(settings)):
        said += [
            f"The simple RNN does not solve it in {settings['updates']:,} updates."
        ]
    alone = [
        name
        for name in tasks(settings)
        if comparison.share(results, name, "LSTM", SOLVED).middle < 0.9
        and comparison.share(results, name, "GRU", SOLVED).middle >= 0.9
    ]
    if alone:
        said += [f"In {' and in '.join(alone)}, only the GRU meets the rule."]
    for name in tasks(settings):
        gru, lstm = (name, "GRU"), (name, "LSTM")
        sooner = "faster" if until[gru].high < until[lstm].low else "not surely faster"
        rates = [at[which]["chosen"]["rate"] for which in (gru, lstm)]
        said += [
            f"In {name}, the GRU is {sooner} than the LSTM at equal parameters: after "
            f"{sequences(gru)} sequences against {sequences(lstm)}, with tuned learning rates "
            f"of {rates[0]:g} and {rates[1]:g}."
        ]
    return " ".join(said)


def section(settings, results):
    parts = [
        f"""\
Two or three symbols, X or Y, stand far apart among distractors. The target, at the end of
{settings["length"]} to {settings["length"] * 11 // 10} steps, is which of them came in which order.
Guessing is right in 25% or 12.5%. Hochreiter and Schmidhuber's LSTM had no forget gate and read
one sequence per update. It needed {PUBLISHED[2]} sequences for four classes and {PUBLISHED[3]}
for eight, until 2,000 in a row were right. Here an update has {settings["batch"]} sequences, and a
seed solves the task when its cross-entropy is below {SOLVED}. The numbers here and theirs are
therefore not comparable."""
    ]
    for name in tasks(settings):
        found = comparison.of_task(results, name)
        parts += [f"**{name}**", comparison.table(found, SOLVED)]
    return "\n\n".join([*parts, lesson(settings, results)])


def draw(settings, results):
    names = list(tasks(settings))
    figure, axes = comparison.panels(names)
    for ax, name in zip(axes, names, strict=True):
        classes = tasks(settings)[name].outputs
        found = comparison.of_task(results, name)
        comparison.curves(ax, found, 1 / classes, "right")
        ax.set(ylabel="accuracy", ylim=(0, 1.05))
    comparison.legend(axes[-1])
    return figure


EXPERIMENT = Experiment(
    name="temporal_order",
    title="Temporal order: gated cells learn which came first, the simple RNN does not",
    rule="At most 10% of the simple RNN's seeds solve it, and at least 90% of those of the "
    "GRU or the LSTM do; at equal parameters.",
    minutes=53,
    settings={**comparison.SETTINGS, "batch": 32, "length": 100, "symbols": [2, 3]},
    quick={**comparison.QUICK, "batch": 8, "length": 20, "symbols": [2]},
    pieces=pieces,
    verdict=verdict,
    section=section,
    draw=draw,
)
