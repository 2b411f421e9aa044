"""Which cell should I take? Every cell of vectors on four tasks, with equal parameters.

Not a claim of the page of claims: `experiments.cells_page` makes docs/cells.md of it.
"""

from functools import partial

import jax.numpy as jnp

import jaxrnn
from experiments import comparison, statistics, training
from experiments.agreement import task as agreement_task
from experiments.copying import task as copying_task
from experiments.registry import Experiment
from experiments.training import Contender, Task
from jaxrnn.tasks import adding, copying, digits

FORGETS, KEEPS = (1.0, 3.0), (0.0, 3.0)


def forgets(factory, **options) -> Contender:
    """A cell with a forget bias."""
    make = lambda hidden, bias: factory(hidden, forget_bias=bias, **options)
    return Contender(factory.__name__, make, FORGETS)


def keeps(factory, name: str = "", biases=KEEPS, **options) -> Contender:
    """A cell with a keep gate and the bias of it."""
    make = lambda hidden, bias: factory(hidden, update_bias=bias, **options)
    return Contender(name or factory.__name__, make, biases)


def clipped(factory, **options) -> Contender:
    """A cell without gates, of which the norm is chosen to which gradients are clipped."""
    make = lambda hidden, norm: factory(hidden, **options)
    return Contender(factory.__name__, make, (1.0, 0.1), clips=True)


def of_units(hidden, bias):
    """As wide in what it shows as another cell, and twice in its memory."""
    return jaxrnn.projected_lstm(2 * hidden, hidden, forget_bias=bias)


# With what is chosen of each, beside the learning rate.
CELLS = (
    clipped(jaxrnn.simple_rnn),
    forgets(jaxrnn.lstm),
    forgets(jaxrnn.peephole_lstm),
    forgets(jaxrnn.coupled_lstm),
    Contender("projected_lstm", of_units, FORGETS),
    forgets(jaxrnn.layer_norm_lstm),
    forgets(jaxrnn.slstm),
    keeps(jaxrnn.gru),
    keeps(jaxrnn.gru, "gru(reset_after=False)", reset_after=False),
    keeps(jaxrnn.layer_norm_gru),
    keeps(jaxrnn.dreamer_gru, biases=(1.0, 3.0)),
    forgets(jaxrnn.mgu),
    forgets(jaxrnn.janet),
    keeps(jaxrnn.ugrnn),
    clipped(jaxrnn.ind_rnn),
    Contender(
        "antisymmetric_rnn",
        lambda hidden, epsilon: jaxrnn.antisymmetric_rnn(
            hidden, gate=True, epsilon=epsilon
        ),
        (0.1, 1.0),
    ),
    Contender("cornn", lambda hidden, dt: jaxrnn.cornn(hidden, dt=dt), (0.05, 0.2)),
    Contender("lem", lambda hidden, dt: jaxrnn.lem(hidden, dt=dt), (0.2, 1.0)),
    Contender(
        "leaky_rnn",
        lambda hidden, tau: jaxrnn.leaky_rnn(
            hidden, tau=tau, dt=1.0, learn_tau=True, activation="tanh"
        ),
        (4.0, 40.0),
    ),
)
ADDING, COPY, AGREEMENT, DIGITS = TASKS = ("adding", "copy", "agreement", "digits")


def tasks(settings: dict) -> dict[str, Task]:
    batch = settings["batch"]
    draw = partial(adding.draw, batch=batch, length=settings["adding"])
    images = partial(digits.draw, batch=batch)
    return {
        ADDING: Task(draw, 2, 1, "number"),
        COPY: copying_task(settings["copy"], batch),
        AGREEMENT: agreement_task("far", settings),
        DIGITS: Task(images, 1, digits.CLASSES, "class"),
    }


def right(said, key):
    """Accuracy on the test images."""
    batch = digits.sequences(*digits.images("test"))
    hits = (said(batch).argmax(-1) == batch.targets) & batch.mask
    return jnp.sum(hits) / jnp.sum(batch.mask)


def pieces(settings):
    found = {}
    for name, task in tasks(settings).items():
        of = settings | {"updates": settings["updates of"][name]}
        score = right if name == DIGITS else None
        equal = ("parameters",)
        found |= comparison.pieces({name: task}, CELLS, of, score, equal)
    return found


def one(results: dict, name: str, cell: str) -> dict:
    (result,) = comparison.of_cell(results, name, cell)
    return result


def adding_solved(results, cell) -> statistics.Interval:
    """The share of seeds whose error gets below a tenth of always answering the mean."""
    return comparison.share(results, ADDING, cell, adding.BASELINE / 10)


def copied(results, cell, settings) -> statistics.Interval:
    """The loss in the end over that of memory of nothing."""
    most = copying.baseline(settings["copy"])
    losses = comparison.last(one(results, COPY, cell))
    return statistics.median([None if x is None else x / most for x in losses])


def agreed(results, cell) -> statistics.Interval:
    """Accuracy in the end, on sentences that were never seen."""
    return statistics.median(
        comparison.last(one(results, AGREEMENT, cell), "right"), "high"
    )


def recognised(results, cell) -> statistics.Interval:
    """Accuracy on the test images."""
    return statistics.median(one(results, DIGITS, cell)["score"], "high")


def verdict(settings, results):
    solved = [c.name for c in CELLS if adding_solved(results, c.name).middle >= 0.5]
    return None, f"most seeds solve the adding problem with {', '.join(solved)}"


def section(settings, results):
    rows = [
        f"| cell | parameters | adding, T={settings['adding']}: seeds that solve it "
        f"| copy, T={settings['copy']}: loss over baseline | agreement, 30 to 40 words "
        "apart | digits, 64 pixels |",
        "|---|---|---|---|---|---|",
    ]
    for cell in CELLS:
        name = cell.name
        rows.append(
            f"| `{name}` | {one(results, ADDING, name)['parameters']:,} "
            f"| {adding_solved(results, name).show('{:.0%}')} "
            f"| {copied(results, name, settings).show('{:.2f}')} "
            f"| {agreed(results, name).show('{:.0%}')} "
            f"| {recognised(results, name).show('{:.0%}')} |"
        )
    return "\n".join(rows)


SETTINGS = {"hidden": 32, "seeds": 10, "every": 50, "batch": 32} | training.PROTOCOL
SETTINGS |= {"adding": 200, "copy": 50, "tests": 200}
SETTINGS |= {
    "updates of": {ADDING: 1500, COPY: 1500, AGREEMENT: 1500, DIGITS: 1000},
}
QUICK = {**SETTINGS, "hidden": 8, "seeds": 2, "every": 10, "batch": 8, "adding": 20}
QUICK |= {"copy": 5, "updates of": dict.fromkeys(TASKS, 20)}
EXPERIMENT = Experiment(
    name="which_cell",
    title="Which cell should I take?",
    rule="None: a table, and advice no stronger than it.",
    minutes=300,
    settings=SETTINGS,
    quick=QUICK,
    pieces=pieces,
    verdict=verdict,
    section=section,
)
