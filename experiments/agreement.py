"""The cat, which already ate ..., was full: agreement across a distance."""

from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxrnn
from experiments import comparison, statistics, training
from experiments.registry import Experiment
from experiments.training import Task
from jaxrnn import plot, probe
from jaxrnn.tasks import Batch, agreement

SCHOOLS = {"far": (30, 40), "mixed": (3, 40)}
ASKED = {5: 1, 10: 3, 20: 4, 40: 4, 80: 4}  # distance -> attractors, the second time


def as_batch(sentences: agreement.Agreement) -> Batch:
    """The verb wanted at the last word before it."""
    steps = jnp.arange(len(sentences.tokens))[:, None]
    mask = steps == sentences.lengths - 1
    return Batch(sentences.tokens, sentences.target * mask, mask, sentences.lengths)


def _draw(key, batch, distance):
    return as_batch(agreement.draw(key, batch, distance=distance))


def task(school: str, settings: dict) -> Task:
    draw = partial(_draw, batch=settings["batch"], distance=SCHOOLS[school])
    return Task(draw, len(agreement.VOCABULARY), 2, "class")


def score(said, key, settings):
    """Accuracy by distance, without attractors and with: [distances, 2]."""

    def at(key, distance, attractors):
        sentences = agreement.draw(
            key, settings["tests"], distance=distance, attractors=attractors
        )
        batch = as_batch(sentences)
        right = (said(batch).argmax(-1) == batch.targets) & batch.mask
        return jnp.sum(right) / jnp.sum(batch.mask)

    keys = iter(jax.random.split(key, 2 * len(settings["asked"])))
    return jnp.stack(
        [
            jnp.stack([at(next(keys), d, 0), at(next(keys), d, ASKED[d])])
            for d in settings["asked"]
        ]
    )


def silenced(settings):
    """Accuracy of trained LSTMs with each unit silenced in turn, and with all: seeds."""
    of, units = task("mixed", settings), settings["hidden"]
    steps = settings["updates"], settings["every"]
    chosen = training.tune(training.LSTM, units, of, *steps)
    hypers = training.members(chosen, settings["silenced"])
    swept = training.population(training.LSTM, units, of, hypers, *steps)
    distance = settings["asked"][-2]

    @jax.jit
    def one(params, seed):
        cell = training.LSTM.make(units, chosen["option"])
        key = jax.random.fold_in(jax.random.key(4), seed)
        sentences = agreement.draw(
            key, settings["tests"], distance=distance, attractors=ASKED[distance]
        )
        xs = jax.nn.one_hot(sentences.tokens, len(agreement.VOCABULARY))

        def right(carry, hs):
            said = carry.h @ params["readout"]["kernel"] + params["readout"]["bias"]
            return jnp.mean(said.argmax(-1) == sentences.target)

        options = {"lengths": sentences.lengths}
        whole = right(*jaxrnn.unroll(cell, params["cell"], None, xs, **options))
        return whole, probe.ablation(cell, params["cell"], None, xs, right, **options)

    found = [one(swept.member(n).params, seed) for n, seed in enumerate(hypers["seed"])]
    return {
        "distance": distance,
        "whole": training.rounded([whole for whole, _ in found]),
        "without": training.rounded([without for _, without in found]),
    }


def pieces(settings):
    of = {school: task(school, settings) for school in SCHOOLS}
    asked = partial(score, settings=settings)
    equal = ("parameters",)
    found = comparison.pieces(of, training.THREE, settings, asked, equal)
    return found | {"silenced": partial(silenced, settings)}


def accuracy(results, school, cell, distance, settings, attractors=1):
    """Of each seed, with attractors."""
    (result,) = comparison.of_cell(results, school, cell)
    at = settings["asked"].index(distance)
    return np.array(result["score"], float)[:, at, attractors]


def verdict(settings, results):
    far = settings["asked"][-2]
    middles = {
        (school, cell.name): statistics.median(
            accuracy(results, school, cell.name, far, settings), "high"
        )
        for school in SCHOOLS
        for cell in training.THREE
    }
    rnn = middles["far", "simple RNN"]
    gated = [middles["far", name] for name in ("GRU", "LSTM")]
    passes = all(interval.low > rnn.high for interval in gated)
    said = ", ".join(
        f"{name} {middles['far', name].show('{:.0%}')}"
        for name in ("simple RNN", "GRU", "LSTM")
    )
    near = middles["mixed", "simple RNN"].show("{:.0%}")
    return passes, (
        f"learned from far sentences only, right at {far} words with attractors: {said}; "
        f"with near sentences among them the simple RNN has {near}"
    )


def section(settings, results):
    rows = [
        "| school | cell | parameters | "
        + " | ".join(f"{d} words" for d in settings["asked"])
        + " |",
        "|---|---|---|" + "---|" * len(settings["asked"]),
    ]
    for school in SCHOOLS:
        for label, result in comparison.of_task(results, school).items():
            at = partial(accuracy, results, school, result["cell"], settings=settings)
            cells = [statistics.accuracy(at(d)) for d in settings["asked"]]
            rows.append(
                f"| {school} | {label} | {result['parameters']:,} | {' | '.join(cells)} |"
            )
    lost = results["silenced"]
    drops = np.array(lost["whole"], float)[:, None] - np.array(lost["without"], float)
    counts = (drops > 0.1).sum(axis=1)
    far = settings["asked"][-2]
    holds = statistics.median(
        accuracy(results, "mixed", "simple RNN", far, settings), "high"
    )
    lesson = (
        "In the mixed school the simple RNN carries the one bit as far as anyone: what it "
        "cannot do is *learn* it from far sentences alone, not *hold* it."
        if holds.low > 0.9
        else "In the mixed school the simple RNN does not carry the bit that far either."
    )
    return f"""\
"The cats, which already ate the fish near the old house, ... were full": the verb agrees with
a noun many words back, and nouns of the other number stand in between. Always "were" is
right in half of the sentences, the last noun in none of those asked here. In the *far* school
all sentences have 30 to 40 words before the verb, in the *mixed* school 3 to 40.

{chr(10).join(rows)}

{lesson}

Which units hold the number? Silencing one unit of the mixed school's LSTM at a time
({settings["hidden"]} units, {len(counts)} seeds, {lost["distance"]} words), as Lakretz and
others (2019) did to a language model, costs more than 10 points for
{statistics.median(counts).show("{:.0f}")} units; the worst single unit costs
{statistics.median(drops.max(axis=1)).show("{:.0%}")}. Equal parameters throughout."""


def draw(settings, results):
    figure, axes = plt.subplots(1, 3, figsize=(14, 3.8), layout="constrained")
    for ax, school in zip(axes, SCHOOLS, strict=False):
        found = {
            cell.name: np.stack(
                [
                    accuracy(results, school, cell.name, d, settings)
                    for d in settings["asked"]
                ],
                axis=1,
            )
            for cell in training.THREE
        }
        plot.accuracy(
            settings["asked"],
            found,
            title=f"{school} school",
            legend=school == "mixed",
            ax=ax,
        )
        if school == "mixed":
            ax.legend(loc="lower left", frameon=False)
    lost = results["silenced"]
    plot.ablation(
        np.array(lost["without"][0], float),
        lost["whole"][0],
        title="one LSTM without each unit",
        ylabel="accuracy",
        ax=axes[2],
    )
    axes[2].tick_params(axis="x", labelsize=6)
    return figure


EXPERIMENT = Experiment(
    name="agreement",
    title='"The cats, which already ate ..., were full": far words fail to be learned',
    rule="In the far school, at 40 words with attractors, the median accuracy of the GRU and "
    "of the LSTM is above the simple RNN's at equal parameters, with 95% intervals that do "
    "not meet.",
    minutes=15,
    settings={
        **comparison.SETTINGS,
        "batch": 32,
        "asked": list(ASKED),
        "tests": 200,
        "silenced": 10,
    },
    quick={
        **comparison.QUICK,
        "batch": 8,
        "asked": [5, 10, 20],
        "tests": 20,
        "silenced": 2,
    },
    pieces=pieces,
    verdict=verdict,
    section=section,
    draw=draw,
)
