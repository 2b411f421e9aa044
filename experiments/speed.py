"""The GRU trains faster than the LSTM; and what gates cost."""

import time
from functools import partial

import jax
import matplotlib.pyplot as plt
import numpy as np

import jaxrnn
from experiments import adding, comparison, statistics, temporal_order
from experiments.registry import Experiment, results
from jaxrnn import plot

CELLS = {"simple RNN": jaxrnn.simple_rnn, "GRU": jaxrnn.gru, "LSTM": jaxrnn.lstm}


def timed(hidden: int, settings: dict) -> dict:
    """Milliseconds of a gradient, by cell, of interleaved rounds; compiled beforehand."""
    runs = {}
    shape = (settings["length"], settings["batch"], settings["features"])
    xs = jax.random.normal(jax.random.key(0), shape)
    for name, make in CELLS.items():
        cell = make(hidden)
        params = cell.init(jax.random.key(1), settings["features"])

        def loss(params, cell=cell):
            return (jaxrnn.unroll(cell, params, None, xs)[1] ** 2).mean()

        gradient = jax.jit(jax.grad(loss))
        jax.block_until_ready(gradient(params))
        runs[name] = partial(gradient, params)
    times = {name: [] for name in runs}
    order = list(runs.items())
    for _ in range(settings["rounds"]):
        order.reverse()
        for name, run in order:
            start = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: [float(f"{t:.4g}") for t in row] for name, row in times.items()}


def pieces(settings):
    return {f"H={h}": partial(timed, h, settings) for h in settings["widths"]}


def ratio(found, one="GRU", other="LSTM") -> statistics.Interval:
    """Of the times of two cells, the median of the rounds' ratios."""
    return statistics.bootstrapped(
        lambda a, b, axis: np.median(a / b, axis=axis), found[one], found[other]
    )


def races() -> dict:
    """``{task: {cell: updates to the threshold of each seed}}``, at equal width."""
    found = {}
    for experiment, name, limit in (
        (adding.EXPERIMENT, "T=100", adding.threshold("T=100")),
        (temporal_order.EXPERIMENT, temporal_order.NAMES[2], temporal_order.SOLVED),
    ):
        made = results(experiment)
        if made is None:
            continue
        raced = {c: comparison.of_cell(made, name, c)[0] for c in ("GRU", "LSTM")}
        found[f"{experiment.name}, {name}"] = {
            cell: statistics.first_below(result["steps"], result["loss"], limit)
            for cell, result in raced.items()
        }
    return found


def faster(updates, milliseconds) -> statistics.Interval:
    """The median over seeds of GRU over LSTM in wall-clock to the threshold.

    Infinity over infinity counts as 1: neither got there.
    """
    gru, lstm = (updates[cell] * milliseconds[cell] for cell in ("GRU", "LSTM"))

    def quotient(a, b, axis):
        both = np.isinf(a) & np.isinf(b)
        return np.median(np.where(both, 1, a / np.where(both, 1, b)), axis=axis)

    return statistics.bootstrapped(quotient, gru, lstm)


def with_open_gates() -> str:
    """What remains of the race where the LSTM's gates start open too, if that is less."""
    made = results(adding.EXPERIMENT)
    if made is None:
        return ""
    name = "T=100"
    gru, lstm, chrono = (
        statistics.time_to(result["steps"], result["loss"], adding.threshold(name))
        for cell in ("GRU", "LSTM", "LSTM, chrono")
        for result in comparison.of_cell(made, name, cell)[:1]
    )
    if chrono.high >= lstm.low:
        return ""
    return f"""

Much of this comes from the initial gates. In adding, {name}, with chrono biases and as many units, the
LSTM needs {chrono.show("{:,.0f}")} updates, and the GRU, whose update bias was tuned,
{gru.show("{:,.0f}")}."""


def verdict(settings, results):
    steps = {name: ratio(found) for name, found in results.items()}
    first = results[f"H={settings['widths'][0]}"]
    medians = {cell: np.median(times) for cell, times in first.items()}
    clocks = {task: faster(race, medians) for task, race in races().items()}
    said = "time of a gradient, GRU over LSTM: " + ", ".join(
        f"{name} {r.show('{:.2f}')}" for name, r in steps.items()
    )
    for task, clock in clocks.items():
        said += f"; to the threshold of {task}: {clock.show('{:.2f}')}"
    passes = all(r.high < 1 for r in [*steps.values(), *clocks.values()])
    return passes if len(clocks) == 2 else None, said


def section(settings, results):
    rows = [
        "| units | simple RNN, ms | GRU, ms | LSTM, ms | GRU / LSTM | simple RNN / LSTM |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in results.items():
        times = " | ".join(f"{np.median(found[cell]):.2f}" for cell in CELLS)
        rows.append(
            f"| {name[2:]} | {times} | {ratio(found).show('{:.2f}')} "
            f"| {ratio(found, 'simple RNN').show('{:.2f}')} |"
        )
    races_of = [
        "| task | GRU, updates | LSTM, updates | estimated wall-clock, GRU / LSTM |",
        "|---|---|---|---|",
    ]
    medians = {
        cell: np.median(times)
        for cell, times in results[f"H={settings['widths'][0]}"].items()
    }
    for task, race in races().items():
        until = " | ".join(statistics.median(race[c]).show("{:,.0f}") for c in race)
        races_of.append(
            f"| {task} | {until} | {faster(race, medians).show('{:.2f}')} |"
        )
    return f"""\
"Faster" can mean three quantities: the time per update, the number of updates to a threshold, and
their product. By the number of multiplications the GRU's gradient costs 3/4 of the LSTM's at equal
width. Measured with {settings["length"]} steps, batch {settings["batch"]},
{settings["features"]} features and {settings["rounds"]} interleaved rounds; lines on the bars are 95% intervals.

{chr(10).join(rows)}

The updates to the threshold are those of the sections above, at equal width, each cell with its
own tuned learning rate. Multiplied by the median time of a gradient of {settings["widths"][0]} units
they estimate the wall-clock time, without optimizer and readout.

{chr(10).join(races_of)}{with_open_gates()}"""


def draw(settings, results):
    figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
    at = np.arange(len(results))
    for n, (cell, colour) in enumerate(zip(CELLS, plot.COLOURS, strict=False)):
        of_lstm = [ratio(found, cell) for found in results.values()]
        middle = np.array([r.middle for r in of_lstm])
        ends = np.array([[r.middle - r.low, r.high - r.middle] for r in of_lstm]).T
        ax.bar(at + 0.25 * (n - 1), middle, 0.23, yerr=ends, color=colour, label=cell)
    ax.set_xticks(at, list(results))
    ax.set(ylabel="time of a gradient / LSTM's")
    ax.grid(alpha=0.3, axis="y")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


EXPERIMENT = Experiment(
    name="speed",
    title="The GRU trains faster than the LSTM",
    rule="At every width the ratio GRU/LSTM of the time of a gradient is below 1, and so "
    "is that of the estimated wall-clock to the threshold in the adding problem at T=100 and in "
    "temporal order with four classes: all 95% intervals below 1.",
    minutes=1,
    settings={
        "widths": [32, 128, 512],
        "length": 100,
        "batch": 32,
        "features": 8,
        "rounds": 40,
    },
    quick={"widths": [16], "length": 20, "batch": 8, "features": 8, "rounds": 5},
    pieces=pieces,
    verdict=verdict,
    section=section,
    draw=draw,
    alone=True,
)
