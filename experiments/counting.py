"""Counting: after n letters a, exactly n letters b."""

from functools import partial

import jax.numpy as jnp
import numpy as np

from experiments import comparison, statistics, training
from experiments.registry import Experiment
from experiments.training import Task
from jaxrnn import plot
from jaxrnn.tasks import counting


def task(settings: dict) -> Task:
    draw = partial(counting.draw, batch=settings["batch"], n=(1, settings["trained"]))
    return Task(draw, 3, len(counting.NEXT), "set")  # S, a and b go in


def score(said, key, settings):
    """Whether each n from 1 on is accepted."""
    most = settings["asked"]
    batch = counting.strings(jnp.arange(1, most + 1), most=most)
    right = ((said(batch) > 0) == (batch.targets > 0.5)).all(-1)
    return jnp.all(right | ~batch.mask, axis=0)


def first_failure(result, settings):
    """Of each seed the first n that is not accepted; infinity: none of those asked."""
    failed = ~np.array(result["score"], bool)
    return np.where(failed.any(axis=1), failed.argmax(axis=1) + 1.0, np.inf)


def pieces(settings):
    asked = partial(score, settings=settings)
    of = {"a^n b^n": task(settings)}
    return comparison.pieces(of, training.THREE, settings, asked)


def at_equal(results, cell, settings):
    """The median of the first n that fails, at equal parameters."""
    result = comparison.of_cell(results, "a^n b^n", cell)[-1]
    return statistics.median(first_failure(result, settings), "high")


def verdict(settings, results):
    cells = "LSTM", "GRU", "simple RNN"
    found = {cell: at_equal(results, cell, settings) for cell in cells}
    beyond = f"over {settings['asked']}"
    said = ", ".join(f"{c} {m.show('{:.0f}', beyond)}" for c, m in found.items())
    lstm, gru, rnn = found.values()
    passes = lstm.low > max(gru.high, rnn.high, settings["trained"])
    return passes, f"first n that fails, trained to {settings['trained']}: {said}"


def section(settings, results):
    trained, beyond = settings["trained"], f"over {settings['asked']}"
    rows = [
        f"| cell | parameters | first n that fails | seeds right up to {trained} |",
        "|---|---|---|---|",
    ]
    for label, result in comparison.of_task(results, "a^n b^n").items():
        first = first_failure(result, settings)
        middle = statistics.median(first, "high").show("{:.0f}", beyond)
        whole = int((first > trained).sum())
        rows.append(
            f"| {label} | {result['parameters']:,} | {middle} | {whole} of {len(first)} |"
        )
    made = comparison.of_cell(results, "a^n b^n", "LSTM")[-1]
    all_of_them = int(np.isinf(first_failure(made, settings)).sum())
    return f"""\
The input has n letters a, then n letters b, then the end. The target at each step is the set of
letters that may follow. For an n that was not in the training data this needs counting. Weiss,
Goldberg and Yahav (2018) argue that an LSTM's cell state, to which 1 can be added, can be a
counter, while the GRU's state is an average that stays in (-1, 1). They report an LSTM of 10 units
that accepts up to n=256 and a GRU that fails at 39, both trained below 100. Here n is 1 to
{trained} in training and up to {settings["asked"]} in the test, with {settings["seeds"]} seeds, at equal
width and at equal parameters.

{chr(10).join(rows)}

Learned counters are not exact: {all_of_them} of {settings["seeds"]} LSTMs accept all n of the
test."""


def draw(settings, results):
    figure, (ax,) = comparison.panels([""], width=8)
    found = comparison.of_task(results, "a^n b^n")
    for (label, result), colour in zip(found.items(), plot.COLOURS, strict=False):
        share = np.array(result["score"], float).mean(axis=0)
        ax.plot(np.arange(1, len(share) + 1), share, color=colour, label=label)
    ax.axvline(settings["trained"], color="0.6", linewidth=1)
    ax.set(xlabel="n", ylabel="share of seeds that accept", ylim=(-0.02, 1.05))
    comparison.legend(ax)
    return figure


EXPERIMENT = Experiment(
    name="counting",
    title="Counting: the LSTM counts further than the GRU",
    rule="The median of the first n that is not accepted is greater for the LSTM than for "
    "the GRU and the simple RNN, with 95% intervals that do not meet, and greater than all "
    "n that were trained; at equal parameters.",
    minutes=11,
    settings={
        **comparison.SETTINGS,
        "hidden": 10,
        "batch": 32,
        "trained": 30,
        "asked": 200,
        "seeds": 20,
        "updates": 4000,
        "every": 100,
    },
    quick={**comparison.QUICK, "hidden": 4, "batch": 8, "trained": 5, "asked": 12},
    pieces=pieces,
    verdict=verdict,
    section=section,
    draw=draw,
)
