"""The adding problem, in both of its classic forms."""

from functools import partial

import numpy as np

from experiments import comparison, statistics, training
from experiments.registry import Experiment
from experiments.training import Contender, Task
from jaxrnn.tasks import adding

CELLS = (training.RNN, training.IRNN, training.GRU, training.LSTM)


def tasks(settings: dict) -> dict[str, Task]:
    batch = settings["batch"]
    le = {
        f"T={length}": partial(adding.draw, batch=batch, length=length)
        for length in settings["lengths"]
    }
    exact = partial(adding.draw_1997, batch=batch, length=settings["1997"])
    draws = {**le, f"1997, T={settings['1997']}": exact}
    return {name: Task(draw, 2, 1, "number") for name, draw in draws.items()}


def cells(length: int) -> tuple[Contender, ...]:
    """Those compared, and an LSTM whose gates start open for the length, or twice it."""
    return (*CELLS, training.chrono(float(length), 2.0 * length))


def length_of(name):
    return int(name.partition("T=")[2])


def pieces(settings):
    found = {}
    for name, task in tasks(settings).items():
        length = length_of(name)
        both = length <= settings["both matchings up to"]
        equal = comparison.EQUAL if both else ("parameters",)
        fewer = settings if both else settings | {"seeds": settings["seeds above"]}
        found |= comparison.pieces({name: task}, cells(length), fewer, equal=equal)
    return found


def baseline(name):
    length = length_of(name)
    exact = name.startswith("1997")
    return adding.baseline_1997(length) if exact else adding.BASELINE


def threshold(name):
    """A tenth of what always the mean has."""
    return baseline(name) / 10


def shares(results, name) -> dict[str, statistics.Interval]:
    """Of each cell the share of seeds that solve it, at equal parameters."""
    limit = threshold(name)
    return {c.name: comparison.share(results, name, c.name, limit) for c in CELLS}


def verdict(settings, results):
    passes, said = True, []
    for name in tasks(settings):
        found = shares(results, name)
        gated = max(found["GRU"].middle, found["LSTM"].middle)
        passes &= gated >= 0.5 and found["simple RNN"].middle <= 0.1
        said.append(
            f"{name}: " + ", ".join(f"{c} {s.middle:.0%}" for c, s in found.items())
        )
    return passes, "seeds that solve it, " + "; ".join(said)


def lesson(settings, results):
    """What the tables say, at equal parameters, where they do."""
    names = list(tasks(settings))
    le = [name for name in names if not name.startswith("1997")]
    solved = [shares(results, name) for name in names]

    def updates(cell):
        found = [comparison.of_cell(results, name, cell)[-1] for name in le]
        until = [
            statistics.time_to(result["steps"], result["loss"], threshold(name)).middle
            for name, result in zip(le, found, strict=True)
        ]
        return ", ".join("never" if np.isinf(t) else f"{t:,.0f}" for t in until)

    said = []
    if not any(by["simple RNN"].middle for by in solved):
        said += ["No simple RNN solves any form."]
    if all(by["GRU"].middle == 1 for by in solved):
        said += ["Every GRU solves every form."]
    said += [
        f"Median updates at {', '.join(le)}: GRU {updates('GRU')}; LSTM, forget bias 1 or 3, "
        f"{updates('LSTM')}; LSTM, chrono {updates('LSTM, chrono')}."
    ]
    said += [
        "Le and others report that the IRNN and the LSTM solve it up to T=300, and hardly at 400."
    ]
    return " ".join(said)


def section(settings, results):
    parts = [
        f"""\
Two numbers of a long sequence are marked, and the target at the end is their sum. Always answering
the mean has an error of 1/6 (1/25 in the form of 1997, where the sum is scaled). A seed solves the
task when its error is below a tenth of that. Training has {settings["updates"]:,} updates of
{settings["batch"]} new sequences, with {settings["seeds"]} seeds. Above T={settings["both matchings up to"]} there
are {settings["seeds above"]} seeds, and only equal parameters. Le, Jaitly and Hinton (2015) train 100 units
for many epochs over 100,000 sequences. Hochreiter and Schmidhuber's 93 weights needed 74,000
sequences, one per update. The figure ends at an error of 1, which the IRNN sometimes exceeds."""
    ]
    for name in tasks(settings):
        found = comparison.of_task(results, name)
        parts += [f"**{name}**", comparison.table(found, threshold(name))]
    return "\n\n".join([*parts, lesson(settings, results)])


def draw(settings, results):
    names = list(tasks(settings))
    figure, axes = comparison.panels(names, width=4.2)
    for ax, name in zip(axes, names, strict=True):
        shown = {
            cell.name: comparison.of_cell(results, name, cell.name)[-1]
            for cell in cells(length_of(name))
        }
        comparison.curves(ax, shown, baseline(name))
        ax.set(yscale="log", ylim=(1e-6, 1), ylabel="mean squared error")
    comparison.legend(axes[-1])
    return figure


SETTINGS = {**comparison.SETTINGS, "batch": 32, "lengths": [100, 200, 400], "1997": 100}
SETTINGS |= {"both matchings up to": 100, "seeds above": 10}
EXPERIMENT = Experiment(
    name="adding",
    title="The adding problem: two numbers far apart",
    rule="In every form at most 10% of the simple RNN's seeds get below a tenth of the "
    "error of always answering the mean, and at least half of the seeds of the GRU or the "
    "LSTM do; at equal parameters.",
    minutes=180,
    settings=SETTINGS,
    quick={**comparison.QUICK, "batch": 8, "lengths": [20], "1997": 30}
    | {"both matchings up to": 0, "seeds above": 3},
    pieces=pieces,
    verdict=verdict,
    section=section,
    draw=draw,
)
