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
DISTANCES = {"far": "long distances only", "mixed": "mixed distances"}
LEARNED = 0.95  # right in more than that
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


def kinds(results, school, cell, settings) -> tuple[int, int, int]:
    """How many seeds learn; of them are right everywhere; and say the opposite somewhere.

    The opposite without attractors, where the last noun would be right.
    """
    with_, without = (
        np.stack(
            [accuracy(results, school, cell, d, settings, n) for d in settings["asked"]]
        )
        for n in (1, 0)
    )
    learned = with_[-2] > LEARNED
    everywhere = learned & (with_ > LEARNED).all(axis=0)
    opposite = learned & (without < 1 - LEARNED).any(axis=0)
    return int(learned.sum()), int(everywhere.sum()), int(opposite.sum())


def _drops(results) -> np.ndarray:
    """Accuracy lost with each unit: [seeds, units]."""
    lost = results["silenced"]
    whole, without = np.array(lost["whole"], float), np.array(lost["without"], float)
    return whole[:, None] - without


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
        f"trained on far sentences only, right at {far} words with attractors: {said}; "
        f"trained on mixed distances the simple RNN has {near}"
    )


def section(settings, results):
    rows = [
        "| trained on | cell | parameters | "
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
    seeds, far = settings["seeds"], settings["asked"][-2]
    of = {
        cell.name: kinds(results, "far", cell.name, settings) for cell in training.THREE
    }
    listed = lambda n: ", ".join(f"{name} {counts[n]}" for name, counts in of.items())
    (rnn,) = comparison.of_cell(results, "far", "simple RNN")
    chosen = rnn["chosen"]
    some = of["simple RNN"][0]
    folklore = (
        "No simple RNN learns this, as the course says."
        if some == 0
        else f"The course says that a simple RNN cannot learn this. {some} of {seeds} do, with "
        f"gradients clipped to {chosen['option']:g} and a learning rate of {chosen['rate']:g}. "
        "The rule compares medians, which say little about a cell that learns everything or "
        "nothing. Fisher's exact test, which is not part of the rule, gives p = "
        + ", ".join(
            f"{statistics.fisher(some, of[name][0], seeds):.2g} for the {name}"
            for name in ("GRU", "LSTM")
        )
        + ", each against the simple RNN."
    )
    flips = sum(counts[2] for counts in of.values())
    turned = (
        f"{flips} networks ({listed(2)}) are wrong in nearly all sentences of some other "
        "distance, even without attractors. This is not forgetting, which would be right in "
        "half of the sentences. The state contains the number, but after fewer or more words "
        "the readout reads the opposite. A network that is trained on distances of 30 to 40 "
        "steps need not store the number in a way that works at other distances."
        if flips
        else ""
    )
    mixed = [kinds(results, "mixed", cell.name, settings)[1] for cell in training.THREE]
    lesson = (
        "Trained on mixed distances, every network of every cell is right at every distance. "
        "A simple RNN can therefore *store* one bit for 80 words. It often fails to *learn* "
        f"this from far sentences only: {seeds - some} of {seeds} fail at the trained distance, "
        f"and {seeds - of['simple RNN'][1]} of {seeds} fail at some distance."
        if min(mixed) == seeds
        else "Trained on mixed distances, these numbers of networks, of "
        f"{seeds} each, are right at all distances: "
        + ", ".join(f"{c.name} {n}" for c, n in zip(training.THREE, mixed, strict=True))
        + "."
    )
    drops = _drops(results)
    return f"""\
"The cats, which already ate the fish near the old house, ... were full": the verb agrees with
a noun many words back. Nouns of the other number, called attractors, stand in between. Always
answering "were" is right in half of the sentences. Agreeing with the nearest noun is right in none
of the sentences with attractors, because that noun always has the other number. Networks are
trained on long distances only (*far*: 30 to 40 words before the verb) or on mixed distances
(*mixed*: 3 to 40 words).

{chr(10).join(rows)}

Trained on far sentences only, these numbers of networks, of {seeds} each, are right in more than
{LEARNED:.0%} at {far} words with attractors: {listed(0)}. {folklore}

Of those networks, these are right at all other distances too: {listed(1)}. {turned}

{lesson}

Which units store the number? In LSTMs that were trained on mixed distances we set one unit at a
time to zero ({settings["hidden"]} units, {len(drops)} seeds, {results["silenced"]["distance"]} words).
Lakretz and others (2019) did this to a language model and found that a few units stored the number.
Here {statistics.median((drops > 0.1).sum(axis=1)).show("{:.0f}")} units cost more than 10 points,
and the worst single unit costs {statistics.median(drops.max(axis=1)).show("{:.0%}")}. No single
unit is necessary. We did not test whether several units share the number. All cells have equal
parameters."""


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
            title=f"trained on {DISTANCES[school]}",
            legend=school == "mixed",
            ax=ax,
        )
        if school == "mixed":
            ax.legend(loc="lower left", frameon=False)
    lost = results["silenced"]
    most = _drops(results).max(axis=1).argmax()
    plot.ablation(
        np.array(lost["without"][most], float),
        lost["whole"][most],
        title="the LSTM with the worst unit",
        ylabel="accuracy",
        ax=axes[2],
    )
    axes[2].set_xticks(range(0, settings["hidden"], 4))
    return figure


EXPERIMENT = Experiment(
    name="agreement",
    title='"The cats, which already ate ..., were full": far words fail to be learned',
    rule="Trained on far sentences only, at 40 words with attractors, the median accuracy of "
    "the GRU and of the LSTM is above the simple RNN's at equal parameters, with 95% intervals that do "
    "not meet.",
    minutes=31,
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
