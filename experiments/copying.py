"""Copy memory with and without chrono initialisation."""

from functools import partial

import numpy as np

import jaxrnn
from experiments import comparison, statistics, training
from experiments.registry import Experiment
from experiments.training import Contender, Task
from jaxrnn import initializers
from jaxrnn.tasks import copying


def cells(blank: int) -> tuple[Contender, ...]:
    """With biases of 0 or 1, or with gates that start open for up to 1.5 or 3 blanks."""
    spans, usual = (1.5 * blank, 3.0 * blank), (0.0, 1.0)

    def chrono_gru(hidden, option):
        bias = initializers.chrono(option, gates="rzn")
        return jaxrnn.gru(hidden, bias_init=bias, update_bias=None)

    return (
        training.RNN,
        training.LSTM._replace(options=usual),
        training.chrono(*spans),
        training.GRU._replace(options=usual),
        training.GRU._replace(name="GRU, chrono", make=chrono_gru, options=spans),
    )


def task(blank: int, batch: int) -> Task:
    draw = partial(copying.draw, batch=batch, blank=blank)
    return Task(draw, copying.CLASSES, copying.CLASSES, "class")


def pieces(settings):
    found, equal = {}, ("parameters",)
    for blank in settings["blanks"]:
        of = {f"T={blank}": task(blank, settings["batch"])}
        found |= comparison.pieces(of, cells(blank), settings, equal=equal)
    return found


def ratio(result, blank):
    """Loss in the end over the baseline, of each seed."""
    return [
        None if loss is None else loss / copying.baseline(blank)
        for loss in comparison.last(result)
    ]


def found_by(results, blank, cell):
    """The loss in the end over the baseline: the median over seeds."""
    (result,) = comparison.of_cell(results, f"T={blank}", cell)
    return statistics.median(ratio(result, blank))


def verdict(settings, results):
    said, passes = [], True
    for blank in settings["blanks"]:
        usual = found_by(results, blank, "LSTM")
        chrono = found_by(results, blank, "LSTM, chrono")
        passes &= chrono.high < usual.low
        said.append(
            f"T={blank}: {chrono.show('{:.2f}')} of the baseline with chrono, "
            f"{usual.show('{:.2f}')} without"
        )
    return passes, "; ".join(said)


def section(settings, results):
    rows = [
        "| T | cell | parameters | final loss / baseline |",
        "|---|---|---|---|",
    ]
    for blank in settings["blanks"]:
        for label, result in comparison.of_task(results, f"T={blank}").items():
            middle = statistics.median(ratio(result, blank)).show("{:.2f}")
            rows.append(f"| {blank} | {label} | {result['parameters']:,} | {middle} |")
    better = [
        f"T={blank}"
        for blank in settings["blanks"]
        if found_by(results, blank, "GRU").high
        < found_by(results, blank, "LSTM, chrono").low
    ]
    lesson = (
        f"At {' and '.join(better)} the GRU is better without chrono biases than the LSTM with "
        "them."
        if better
        else ""
    )
    best = min(
        statistics.median(ratio(result, blank)).middle
        for blank in settings["blanks"]
        for result in comparison.of_task(results, f"T={blank}").values()
    )
    if best > 0.1:
        lesson += f" No cell solves it in so few updates: the best has {best:.2f} of the baseline."
    return f"""\
The input has ten symbols and then T blanks. Then the ten symbols must be repeated. A network
without memory has a loss of 10 ln 8 / (T + 20), the baseline, and losses are given relative to it.
The LSTM and the GRU have biases of 0 or 1 at first, whichever is better. Chrono biases (Tallec and
Ollivier 2018) initialise the gates that keep near 1, for time scales from 1 step to 1.5 or 3 T, and
the LSTM's input gate near 0 to the same degree. Chrono biases are larger than 1 and also spread
over the units; this experiment does not separate the two effects. Training has
{settings["updates"]:,} updates of {settings["batch"]} sequences, with {settings["seeds"]} seeds, at equal
parameters. Sizes are reduced: the papers have T of 500 and 2,000 and 128 units.

{chr(10).join(rows)}

{lesson}"""


def draw(settings, results):
    blanks = settings["blanks"]
    figure, axes = comparison.panels([f"T={blank}" for blank in blanks])
    for ax, blank in zip(axes, blanks, strict=True):
        found = comparison.of_task(results, f"T={blank}")
        over = {
            label: {
                "steps": result["steps"],
                "loss": np.array(result["loss"], float) / copying.baseline(blank),
            }
            for label, result in found.items()
        }
        comparison.curves(ax, over, 1.0)
        ax.set(ylabel="loss / baseline", ylim=(0, 1.5))
    comparison.legend(axes[-1])
    return figure


EXPERIMENT = Experiment(
    name="copying",
    title="Copy memory, with and without chrono initialisation",
    rule="At every T the median loss of the LSTM with chrono biases is below that of the "
    "LSTM with biases 0 or 1, with 95% intervals that do not meet.",
    minutes=80,
    settings={**comparison.SETTINGS, "batch": 32, "blanks": [30, 100]}
    | {"updates": 3000},
    quick={**comparison.QUICK, "batch": 8, "blanks": [10]},
    pieces=pieces,
    verdict=verdict,
    section=section,
    draw=draw,
)
