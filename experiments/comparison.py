"""Cells compared on tasks: at equal width and with equal parameters, tuned alike."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from experiments import statistics, training
from experiments.training import Contender, Task
from jaxrnn import plot

EQUAL = ("width", "parameters")
SETTINGS = {"hidden": 32, "seeds": 20, "updates": 2000, "every": 50}
SETTINGS |= training.PROTOCOL
QUICK = {**SETTINGS, "hidden": 8, "seeds": 3, "updates": 40, "every": 20}


def entries(
    contenders: Sequence[Contender],
    task: Task,
    hidden: int,
    equal: Sequence[str] = EQUAL,
) -> dict:
    """``{label: (contender, units)}``: an LSTM's width, and an LSTM's parameters."""
    found = {}
    for contender in contenders:
        widths = {
            "width": hidden,
            "parameters": training.width(contender, task, hidden),
        }
        for units in (widths[what] for what in equal):
            found[f"{contender.name}, {units} units"] = (contender, units)
    return found


def compare(
    contender: Contender,
    units: int,
    task: Task,
    settings: dict,
    score: Callable | None = None,
) -> dict:
    """Tunes and trains: a piece's result.

    Returns:
        "cell", "units", "parameters", "chosen" (see `training.tune`), the curves and the
        score (see `training.report`).
    """
    steps = settings["updates"], settings["every"]
    chosen = training.tune(contender, units, task, *steps)
    seeds = settings["seeds"]
    found = training.report(contender, units, task, chosen, seeds, *steps, score)
    about = {"cell": contender.name, "units": units, "chosen": chosen}
    return {**about, "parameters": training.count(contender, units, task), **found}


def pieces(
    tasks: dict[str, Task],
    contenders: Sequence[Contender],
    settings: dict,
    score: Callable | None = None,
    equal: Sequence[str] = EQUAL,
) -> dict[str, Callable]:
    """A piece for each task and entry, named "task: label"."""
    return {
        f"{name}: {label}": partial(compare, *entry, task, settings, score)
        for name, task in tasks.items()
        for label, entry in entries(contenders, task, settings["hidden"], equal).items()
    }


def of_task(results: dict, name: str) -> dict[str, Any]:
    """``{label: result}`` of one task."""
    start = f"{name}: "
    return {k[len(start) :]: r for k, r in results.items() if k.startswith(start)}


def of_cell(results: dict, name: str, cell: str) -> list[dict]:
    """A cell's results of one task, one a width; the last has equal parameters."""
    return [r for r in of_task(results, name).values() if r["cell"] == cell]


def last(result: dict, name: str = "loss") -> list:
    """Each seed's mean over the last row of updates."""
    return [row[-1] for row in result[name]]


def solved(result: dict, threshold: float) -> tuple[int, int]:
    """How many seeds got below a loss at some time, and how many there are."""
    first = statistics.first_below(result["steps"], result["loss"], threshold)
    return int((first < float("inf")).sum()), len(first)


def share(results: dict, name: str, cell: str, threshold: float) -> statistics.Interval:
    """The share of seeds that get below a loss, at equal parameters."""
    return statistics.share(*solved(of_cell(results, name, cell)[-1], threshold))


def table(results: dict, threshold: float, form: str = "{:.2g}") -> str:
    """Markdown: of each entry its loss in the end, how many seeds solve it and how soon."""
    rows = [
        "| cell | parameters | final loss | seeds below "
        f"{threshold:.2g} | updates until then |",
        "|---|---|---|---|---|",
    ]
    for label, result in results.items():
        done, of = solved(result, threshold)
        sure = statistics.share(done, of).show("{:.0%}").partition(" ")[2]
        until = statistics.time_to(result["steps"], result["loss"], threshold)
        rows.append(
            f"| {label} | {result['parameters']:,} "
            f"| {statistics.median(last(result)).show(form)} | {done} of {of} {sure} "
            f"| {until.show('{:,.0f}')} |"
        )
    return "\n".join(rows)


def panels(names: Sequence[str], width: float = 5):
    """A figure and its axes, one below each name."""
    size = (width * len(names), 3.8)
    figure, axes = plt.subplots(
        1, len(names), figsize=size, layout="constrained", squeeze=False
    )
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(name)
        ax.grid(alpha=0.3)
    return figure, axes[0]


def legend(ax) -> None:
    """Beside the axes, where it covers no data."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def bands(ax, at: Sequence, values: dict, **style) -> None:
    """A line for each label: the median over seeds, and from the worst to the best.

    Args:
        ax: matplotlib axes.
        at: [N], where.
        values: label -> [seeds, N].
        style: of all lines.
    """
    for (label, found), colour, marker in zip(
        values.items(), plot.COLOURS, plot.MARKERS, strict=False
    ):
        found = np.array(found, float)
        line = {"color": colour, "marker": marker, "markersize": 4} | style
        ax.plot(at, np.median(found, axis=0), label=label, **line)
        low, high = found.min(axis=0), found.max(axis=0)
        ax.fill_between(at, low, high, color=colour, alpha=0.12, linewidth=0)


def curves(ax, results: dict, baseline: float, name: str = "loss") -> None:
    """What was learned when: `bands` over the updates; who diverged is drawn as the worst."""
    (steps,) = {tuple(result["steps"]) for result in results.values()}
    shown = {k: np.array(r[name], float) for k, r in results.items()}
    worst = max(np.nanmax(found) for found in shown.values())
    shown = {k: np.nan_to_num(found, nan=worst) for k, found in shown.items()}
    bands(ax, steps, shown, marker="")
    ax.axhline(baseline, color="0.4", linestyle="--", label="baseline")
    ax.set(xlabel="updates", ylabel=name)
