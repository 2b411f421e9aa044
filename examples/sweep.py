"""Learning rate against forget bias: which LSTMs learn to remember?

    python examples/sweep.py                        90 networks, one program, every core
    python examples/sweep.py --distance 40 --seeds 5

The task is agreement: a subject, words in between, then was or were. Every square of the
picture is the median of a few LSTMs that differ only in their seeds. All of them are
trained by one compiled program. If the forget gate is initialised near 0.5, the gradient
vanishes before it reaches the subject. If it is initialised near 1, most learning rates
work.
"""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
import rich
import tyro

import jaxrnn
from jaxrnn import train
from jaxrnn.tasks import agreement


@dataclass(frozen=True)
class Settings:
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
    biases: tuple[float, ...] = (-1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
    seeds: int = 3
    distance: int = 20  # words between subject and verb
    steps: int = 300
    batch: int = 32
    hidden: int = 32
    features: int = 16  # width of the embedding
    tests: int = 1000  # sentences for each accuracy
    at_a_time: int = 10  # trained together: on a CPU, a few are faster than all
    devices: int = os.cpu_count() or 1  # CPU devices, which share the members
    out: Path = Path("out/sweep")


def trial(s, hyper):
    """One LSTM: it reads the sentence and answers from its last state."""
    cell = jaxrnn.lstm(s.hidden, forget_bias=hyper["forget_bias"])
    ke, kc, kr = jax.random.split(jax.random.key(hyper["seed"]), 3)
    embedding = jax.random.normal(ke, (len(agreement.VOCABULARY), s.features))
    readout = jax.random.normal(kr, (s.hidden,)) * s.hidden**-0.5
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(hyper["learning_rate"])
    )

    def loss(params, carry, sentences, key):
        embedding, cell_params, readout = params
        xs, lengths = embedding[sentences.tokens], sentences.lengths
        carry_end, _ = jaxrnn.unroll(cell, cell_params, carry, xs, lengths=lengths)
        odds = carry_end.h @ readout
        losses = optax.sigmoid_binary_cross_entropy(odds, sentences.target)
        right = (odds > 0) == sentences.target
        return None, {"loss": train.mean(losses), "accuracy": train.mean(right)}

    params = embedding, cell.init(kc, s.features), readout
    # The same key for all members, so that all read the same sentences.
    return train.Trial(
        loss, optimizer, train.init(params, optimizer, jax.random.key(0))
    )


def run(s):
    """The trained population and its accuracies [biases, rates, seeds]."""
    draw = partial(agreement.draw, distance=s.distance)
    hypers = train.grid(
        forget_bias=s.biases, learning_rate=s.rates, seed=range(s.seeds)
    )
    swept = train.sweep(
        partial(trial, s),
        hypers,
        partial(draw, batch=s.batch),
        steps=s.steps,
        valid=[draw(jax.random.key(1), batch=s.tests)],
        at_a_time=s.at_a_time,
        mesh=train.data_mesh(),
    )
    shape = len(s.biases), len(s.rates), s.seeds
    return swept, swept.valid["accuracy"].reshape(shape)


def draw_map(s, accuracies):
    """Median accuracy over seeds, one square for each pair."""
    figure, ax = plt.subplots(layout="constrained")
    shown = 100 * np.median(accuracies, axis=-1)
    how = dict(vmin=50, vmax=100, cmap="viridis", origin="lower", aspect="auto")
    image = ax.imshow(shown, **how)
    for (y, x), value in np.ndenumerate(shown):
        colour = "black" if value > 80 else "white"
        ax.text(x, y, f"{value:.0f}", ha="center", va="center", color=colour)
    ax.set_xticks(range(len(s.rates)), [f"{rate:g}" for rate in s.rates])
    ax.set_yticks(range(len(s.biases)), [f"{bias:g}" for bias in s.biases])
    ax.set(xlabel="learning rate", ylabel="initial forget bias")
    ax.set_title(f"accuracy (%) at {s.distance} words, median of {s.seeds} seeds")
    figure.colorbar(image, ax=ax)
    return figure


def main(s):
    swept, accuracies = run(s)
    rich.print(swept.table())
    for bias, row in zip(s.biases, np.median(accuracies, axis=-1), strict=True):
        print(f"forget bias {bias:4}: best median accuracy {row.max():6.1%}")
    s.out.mkdir(parents=True, exist_ok=True)
    draw_map(s, accuracies).savefig(s.out / "map.png", dpi=120)
    print("picture:", s.out / "map.png")
    return accuracies


if __name__ == "__main__":
    settings = tyro.cli(Settings, description=__doc__)
    jax.config.update("jax_num_cpu_devices", settings.devices)
    main(settings)
