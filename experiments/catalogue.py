"""All experiments, in the order of the page."""

from experiments import adding, gates, gradients

EXPERIMENTS = (
    gates.EXPERIMENT,
    gradients.EXPERIMENT,
    adding.EXPERIMENT,
)
