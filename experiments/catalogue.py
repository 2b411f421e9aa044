"""All experiments, in the order of the page."""

from experiments import (
    adding,
    agreement,
    copying,
    cost,
    counting,
    formal,
    gates,
    gradients,
    little_data,
    reber,
    speed,
    temporal_order,
    which_cell,
    word_problem,
)
from experiments.registry import make

EXPERIMENTS = (
    gates.EXPERIMENT,
    gradients.EXPERIMENT,
    agreement.EXPERIMENT,
    adding.EXPERIMENT,
    temporal_order.EXPERIMENT,
    reber.EXPERIMENT,
    counting.EXPERIMENT,
    copying.EXPERIMENT,
    formal.EXPERIMENT,
    word_problem.EXPERIMENT,
    speed.EXPERIMENT,
    little_data.EXPERIMENT,
    cost.EXPERIMENT,
)
# And one that another page is made of.
KNOWN = {one.name: one for one in (*EXPERIMENTS, which_cell.EXPERIMENT)}


def make_named(name: str, piece: str, quick: bool) -> dict:
    """`registry.make`, where an experiment cannot be handed to another process."""
    return make(KNOWN[name], piece, quick)
