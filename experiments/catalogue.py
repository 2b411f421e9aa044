"""All experiments, in the order of the page."""

from experiments import (
    adding,
    copying,
    counting,
    formal,
    gates,
    gradients,
    reber,
    temporal_order,
)

EXPERIMENTS = (
    gates.EXPERIMENT,
    gradients.EXPERIMENT,
    adding.EXPERIMENT,
    temporal_order.EXPERIMENT,
    reber.EXPERIMENT,
    counting.EXPERIMENT,
    copying.EXPERIMENT,
    formal.EXPERIMENT,
)
