"""Which digit is it? Read pixel by pixel, by three cells of equal size.

    python examples/digits.py              about 40 seconds on 2 CPU cores
    python examples/digits.py --tune       the search behind RATES, 4 minutes
    python examples/digits.py --noise 0    overfits: worse on unseen digits

The digits of scikit-learn have 8x8 grey values. They are read as 64 steps of one number,
and the answer is read after the last step. The cells have the library's initial values
(orthogonal recurrent kernels, forget bias 1) and get the same updates on the same batches.
The learning rate is the best of four by validation loss. The params with the least
validation loss are tested.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import rich.table
import tyro
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import jaxrnn
from jaxrnn import plot, train


@dataclass(frozen=True)
class Settings:
    steps: int = 3000
    batch: int = 64
    noise: float = 0.2
    """in training: standard deviation of the noise added to pixels from 0 to 1"""
    seed: int = 0
    tune: bool = False
    out: Path = Path("out/digits")


CELLS = {"simple RNN": jaxrnn.simple_rnn(63), "LSTM": jaxrnn.lstm(32)}
CELLS["GRU"] = jaxrnn.gru(37)  # about 4,700 parameters each, readout included
GRID = (1e-3, 3e-3, 1e-2, 3e-2)
RATES = {"simple RNN": 3e-3, "LSTM": 1e-2, "GRU": 1e-2}  # by --tune


def split():
    """``(xs [64, N, 1], labels [N])`` for training, validation and test, 6 : 2 : 2."""
    images, labels = load_digits(return_X_y=True)
    cut = lambda rows, share: train_test_split(
        rows, test_size=share, stratify=labels[rows], random_state=0
    )
    rest, test = cut(np.arange(len(labels)), 0.2)
    xs = np.float32(images.T[..., None] / 16)
    return [(xs[:, rows], labels[rows]) for rows in (*cut(rest, 0.25), test)]


def logits(cell, params, xs):
    """Logits of the ten digits after each pixel: [64, N, 10]."""
    _, hs = jaxrnn.unroll(cell, params["cell"], None, xs)
    return hs @ params["readout"] + params["bias"]


def loss(cell, noise, params, carry, batch, key):
    xs, labels = batch
    if key is not None:  # in training
        xs = xs + noise * jax.random.normal(key, xs.shape, xs.dtype)
    last = logits(cell, params, xs)[-1]
    losses = optax.softmax_cross_entropy_with_integer_labels(last, labels)
    right = train.mean(last.argmax(axis=-1) == labels)
    return None, {"loss": train.mean(losses), "accuracy": right}


def trial(cell, settings, hyper):
    kc, kr, kt = jax.random.split(jax.random.key(hyper["seed"]), 3)
    params = {"cell": cell.init(kc, features=1), "bias": jnp.zeros(10)}
    hidden = params["cell"].wh.shape[0]
    params["readout"] = jax.random.normal(kr, (hidden, 10)) * hidden**-0.5
    rate = optax.cosine_decay_schedule(hyper["rate"], settings.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    state = train.init(params, optimizer, kt)
    return train.Trial(partial(loss, cell, settings.noise), optimizer, state)


def learn(name, settings, data, valid, test):
    """Test accuracies in % by pixel, parameters, ms per update, validation curve."""
    times = {}
    tell = lambda row: times.setdefault(row["step"], time.perf_counter())
    one = trial(CELLS[name], settings, {"rate": RATES[name], "seed": settings.seed})
    how = dict(steps=settings.steps, valid=[valid], valid_every=250, callback=tell)
    fitted = train.fit(*one, data, **how)
    seconds = np.diff([*times.values()]) / np.diff([*times])
    said = np.argmax(jax.jit(partial(logits, CELLS[name]))(fitted.params, test[0]), -1)
    ms = 1e3 * np.median(seconds) if seconds.size else np.nan  # without compiling
    rows = [row for row in fitted.history if row["split"] == "valid"]
    curve = [(row["step"], 100 * row["accuracy"]) for row in rows]
    size = sum(leaf.size for leaf in jax.tree.leaves(fitted.params))
    return 100 * np.mean(said == test[1], axis=1), size, ms, curve


def run(settings):
    """Name -> the result of `learn`, and the accuracy in % of the commonest digit."""
    rows, valid, test = split()
    data = train.arrays(rows, settings.batch, batch_axis=(1, 0), seed=settings.seed)
    if settings.tune:
        return tune(settings, data, valid)
    print("training one after the other:", *CELLS, sep="  ")
    found = {name: learn(name, settings, data, valid, test) for name in CELLS}
    commonest = 100 * np.mean(test[1] == np.bincount(rows[1]).argmax())
    table = rich.table.Table("", "test accuracy", "parameters", "ms per update")
    for name, (accuracies, size, ms, _) in found.items():
        table.add_row(name, f"{accuracies[-1]:.1f}%", f"{size:,}", f"{ms:.1f}")
    table.add_row("commonest digit", f"{commonest:.1f}%")
    rich.print(table)
    draw(found, commonest, settings.out / "digits.png")
    return found, commonest


def tune(settings, data, valid):
    hypers = train.grid(
        rate=GRID, seed=settings.seed + 100 + np.arange(2)
    )  # two others
    table = rich.table.Table("validation loss", *map(str, GRID))
    for name, cell in CELLS.items():
        one, how = partial(trial, cell, settings), dict(steps=settings.steps)
        losses = train.sweep(one, hypers, data, valid=[valid], **how).valid["loss"]
        table.add_row(name, *(f"{n:.3f}" for n in losses.reshape(-1, 2).mean(axis=1)))
    rich.print(table)


def draw(found, commonest, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    for name, colour in zip(found, plot.COLOURS, strict=False):
        accuracies, _, _, curve = found[name]
        right.plot(range(1, 65), accuracies, color=colour, label=name)
        left.plot(*zip(*curve, strict=True), "o-", color=colour)
    left.set(title="validation digits", xlabel="updates", ylabel="accuracy (%)")
    right.set(title="test digits, after each pixel", xlabel="pixels read, 8 per row")
    right.axhline(commonest, color="0.4", ls="--", label="commonest digit")
    right.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print("picture:", path)


if __name__ == "__main__":
    run(tyro.cli(Settings, description=__doc__))
