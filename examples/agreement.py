"""Why a basic RNN forgets: "The cats, which already ate the fish near the old house, ..."

    python examples/agreement.py                      about 2 minutes on 2 CPU cores
    python examples/agreement.py --distances mixed    short sentences among the long ones
    python examples/agreement.py --sentence "The dogs near my house" "..."
    python examples/agreement.py --tune               the search behind RATES

Six networks of equal size learn which verb follows, was or were. They are trained on long
distances only, 30 to 40 words between subject and verb, or on mixed distances, 3 to 40. At
long distances a network learns only if the gradient reaches the subject.
"""

import math
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import rich
import tyro
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import jaxrnn
from jaxrnn import initializers, plot, probe
from jaxrnn.tasks import agreement

SENTENCES = (
    "The cats, which already ate the fish near the old house, were full.",
    "The cat, which already ate the fish near the old houses, was full.",
    "My horse, which never saw the children that liked the farmers behind our barns",
)
SHOWN = "The {}, which already ate the fish near the old house beside our big grey barn"


@dataclass(frozen=True)
class Settings:
    distances: Annotated[
        Literal["far", "mixed", "both"], tyro.conf.arg(aliases=["--school"])
    ] = "far"
    """to train on: 30 to 40 words (far), 3 to 40 (mixed), or one after the other"""
    updates: int = 1500
    seeds: int = 5
    """each with weights and sentences of its own"""
    batch: int = 32
    features: int = 16
    """width of the embedding"""
    seed: int = 0
    tests: int = 400
    """sentences for each accuracy in the table"""
    sentence: tuple[str, ...] = SENTENCES
    """your own, in words of the vocabulary"""
    tune: bool = False
    """search the learning rates instead"""
    out: Path = Path("out/agreement")


belt = {"activation": "relu", "recurrent_init": initializers.identity()}
belt["kernel_init"] = jax.nn.initializers.normal(0.01)
CELLS = {  # of about 6,300 parameters each
    "simple RNN": jaxrnn.simple_rnn(72),
    "IRNN": jaxrnn.simple_rnn(72, **belt),
    "LSTM, bias 1": jaxrnn.lstm(32),
    "LSTM, open": jaxrnn.lstm(32, forget_bias=3.0),
    "GRU": jaxrnn.gru(38),
    "GRU, open": jaxrnn.gru(38, update_bias=3.0),
}
GRID = (1e-3, 3e-3, 1e-2, 3e-2)
RATES = {  # by cell; the least mean loss in --tune, with other seeds than the table's
    "far": (1e-3, 1e-3, 1e-3, 1e-2, 3e-2, 3e-2),
    "mixed": (1e-3, 1e-3, 1e-2, 1e-2, 3e-2, 3e-2),
}
RANGES = {"far": (30, 40), "mixed": (3, 40)}
TRAINED = {
    "far": "trained on long distances only ({} to {} words)".format(*RANGES["far"]),
    "mixed": "trained on mixed distances ({} to {} words)".format(*RANGES["mixed"]),
}
DISTANCES, SEVERAL = (5, 10, 20, 40, 80), (1, 3, 4, 4, 4)


class Params(NamedTuple):
    embedding: jax.Array
    cell: Any
    readout: jax.Array
    bias: jax.Array


class Trained(NamedTuple):
    cell: jaxrnn.Cell
    before: Params  # [seeds, ...]
    params: Params
    loss: np.ndarray  # [seeds], the mean over all updates
    learned: np.ndarray  # [seeds], updates until 98% were right
    ms: float  # per update of all seeds


def init(cell, features, key):
    ke, kc, kr = jax.random.split(key, 3)
    embedding = jax.random.normal(ke, (len(agreement.VOCABULARY), features))
    params = cell.init(kc, features)
    hidden = params.wh.shape[0]
    readout = jax.random.normal(kr, hidden) * hidden**-0.5
    return Params(embedding, params, readout, jnp.zeros(()))


def log_odds(cell, params, tokens, lengths):
    """Of were against was, read at the last word before the verb: [*batch]."""
    xs = params.embedding[tokens]
    _, hs = jaxrnn.unroll(cell, params.cell, None, xs, lengths=lengths)
    h = jnp.take_along_axis(hs, lengths[None, ..., None] - 1, axis=0)[0]
    return h @ params.readout + params.bias


def train(cell, rates, lessons, features, key, report):
    """A network for each learning rate, all at once by vmap.

    Of five on 2 CPU cores that takes 0.8 to 1.0 times as long as one after the other.
    """
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())

    def loss(params, sentences):
        odds = log_odds(cell, params, sentences.tokens, sentences.lengths)
        losses = optax.sigmoid_binary_cross_entropy(odds, sentences.target)
        return losses.mean(), jnp.mean((odds > 0) == sentences.target)

    def update(state, sentences):
        params, memory, rate = state
        scores, grads = jax.value_and_grad(loss, has_aux=True)(params, sentences)
        steps, memory = optimizer.update(grads, memory)
        params = jax.tree.map(lambda p, step: p - rate * step, params, steps)
        return (params, memory, rate), scores

    before = jax.vmap(partial(init, cell, features))(jax.random.split(key, len(rates)))
    state = before, jax.vmap(optimizer.init)(before), jnp.asarray(rates)
    updates = len(lessons.target)
    size = math.gcd(updates, 50)
    pieces = [
        jax.tree.map(lambda a, n=n: a[n : n + size], lessons)
        for n in range(0, updates, size)
    ]
    run = jax.jit(lambda state, piece: jax.lax.scan(jax.vmap(update), state, piece))
    run = run.lower(state, pieces[0]).compile()
    curve, seconds = [], []
    for piece in pieces:
        began = time.perf_counter()
        state, scores = jax.block_until_ready(run(state, piece))
        seconds.append((time.perf_counter() - began) / size)
        curve.append(np.mean(scores, axis=1))
        now, right = curve[-1].mean(axis=1)
        report(advance=size, scores=f"loss {now:.3f}, accuracy {right:6.1%}")
    losses, accuracies = np.stack(curve, axis=1)
    good = accuracies > 0.98
    learned = np.where(good.any(axis=0), size * (1 + good.argmax(axis=0)), np.inf)
    ms = 1e3 * np.median(seconds)
    return Trained(cell, before, state[0], losses.mean(axis=0), learned, ms)


def train_all(distances, rates, settings, key):
    """Every cell by its row of `rates`, all on the same sentences."""
    ki, kl = jax.random.split(key)
    keys = jax.random.split(kl, (settings.updates, len(rates[0])))
    draw = partial(agreement.draw, batch=settings.batch, distance=RANGES[distances])
    lessons = jax.jit(lambda keys: jax.lax.map(jax.vmap(draw), keys))(keys)
    text = "{task.description:12}", "{task.fields[scores]}"
    bar = TextColumn(text[0]), BarColumn(), TextColumn(text[1]), TimeElapsedColumn()
    models = {}
    with Progress(*bar) as progress:
        for (name, cell), some in zip(CELLS.items(), rates, strict=True):
            task = progress.add_task(name, total=settings.updates, scores="")
            report = partial(progress.update, task)
            models[name] = train(cell, some, lessons, settings.features, ki, report)
    return models


def tune(distances, settings):
    """Prints the mean loss over a whole training for each learning rate."""
    table = Table(f"mean loss, {TRAINED[distances]}", *map(str, GRID))
    rates = [np.repeat(GRID, 3)] * len(CELLS)
    key = jax.random.key(settings.seed + 1000)
    for name, model in train_all(distances, rates, settings, key).items():
        losses = model.loss.reshape(len(GRID), 3).mean(axis=1)
        table.add_row(name, *(f"{loss:.3f}" for loss in losses))
    rich.print(table)


def attend(distances, settings):
    """Trains every cell, then prints and draws the results."""
    kt, ke = jax.random.split(jax.random.key(settings.seed))
    rates = np.repeat(np.array(RATES[distances])[:, None], settings.seeds, axis=1)
    models = train_all(distances, rates, settings, kt)
    exam = agreement.exam(ke, settings.tests, DISTANCES, SEVERAL)
    scores = {}
    for name, model in models.items():
        right = (judge(model, exam.tokens, exam.lengths) > 0) == exam.target
        scores[name] = np.mean(right, axis=-1)  # [seeds, D, 2]
    baselines = agreement.baselines(exam)
    print_scores(distances, models, scores, baselines)
    print_answers(models, settings.sentence)
    settings.out.mkdir(parents=True, exist_ok=True)
    figures = {  # and how their titles begin
        "accuracy": (draw_accuracies(scores, baselines), "Was or were? Networks "),
        "gradient": (
            draw_gradients(models, exam.tokens[:42, 3, 1, :32]),
            "Gradient of the answer (median of seeds and sentences), networks ",
        ),
        "lstm": (draw_gates(models["LSTM, open"]), "LSTM, forget bias 3, "),
        "gru": (draw_gates(models["GRU, open"]), "GRU, update bias 3, "),
    }
    for name, (figure, title) in figures.items():
        figure.suptitle(f"{title}{TRAINED[distances]}", fontsize="x-large")
        figure.savefig(settings.out / f"{distances}-{name}.png", dpi=120)
        print("picture:", settings.out / f"{distances}-{name}.png")


def judge(model, tokens, lengths):
    """Log odds of were: [seeds, *batch]."""
    one = lambda params: log_odds(model.cell, params, tokens, lengths)
    return np.asarray(jax.jit(jax.vmap(one))(model.params))


# What is printed


def print_scores(distances, models, scores, baselines):
    title = (
        f"accuracy in %, without|with attractors, median of seeds\n{TRAINED[distances]}"
    )
    notes = (
        "attractors: nouns of the other number; size: parameters; ms: per update of "
    )
    notes += "all seeds; after: updates until 98% were right"
    table = Table(title=title, caption=notes, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("words\nattractors", no_wrap=True)
    words = [f"{d}\n0|{most}" for d, most in zip(DISTANCES, SEVERAL, strict=True)]
    for column in ("size", "ms", "after", *words):
        table.add_column(column)
    percents = lambda found: [f"{100 * a:.0f}|{100 * b:.0f}" for a, b in found]
    for name, model in models.items():
        size = sum(a[0].size for a in jax.tree.leaves(model.params))
        learned = np.median(model.learned)
        learned = f"{learned:.0f}" if learned < np.inf else "never"
        found = percents(np.median(scores[name], axis=0))
        table.add_row(name, f"{size:,}", f"{model.ms:.1f}", learned, *found)
    for name, found in baselines.items():
        table.add_row(name, "", "", "", *percents(found))
    rich.print(table)


def print_answers(models, sentences):
    for number, sentence in enumerate(sentences, 1):
        print(f"{number}: {sentence}")
    typed = [agreement.encode(sentence) for sentence in sentences]
    lengths = np.array([len(ids) for ids in typed])
    tokens = np.array([[*ids, *[0] * (max(lengths) - len(ids))] for ids in typed]).T
    table = Table("sentence", *map(str, range(1, 1 + len(typed))), box=SIMPLE_HEAD)
    for name, model in models.items():
        odds = np.median(judge(model, tokens, lengths), axis=0)
        sure = 1 / (1 + np.exp(-np.abs(odds)))
        answers = [agreement.VERBS[int(odd > 0)] for odd in odds]
        pairs = zip(answers, sure, strict=True)
        table.add_row(name, *(f"{verb} {share:.0%}" for verb, share in pairs))
    rich.print(table)


# What is drawn


def draw_accuracies(scores, baselines):
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    most = f"{min(SEVERAL)} to {max(SEVERAL)} nouns of the other number (attractors)"
    for i, title in enumerate(("no attractors in between", f"{most} in between")):
        found = {name: score[:, :, i] for name, score in scores.items()}
        how = {"title": title, "legend": i == 1, "ax": axes[i]}
        how["baselines"] = {name: line[:, i] for name, line in baselines.items()}
        plot.accuracy(DISTANCES, found, **how)
    return figure


def draw_gradients(models, tokens):
    figure, axes = plt.subplots(2, 2, sharey=True, figsize=(12, 8))
    figure.set_layout_engine("constrained")
    norms = {name: reach(model, tokens) for name, model in models.items()}
    for i, when in enumerate(("before training", "after training")):
        h = {name: getattr(norm, "h", norm) for name, norm in norms.items()}
        c = {name: getattr(norm, "c", None) for name, norm in norms.items()}
        for ax, lines, what in zip(axes[:, i], (h, c), "hc", strict=True):
            lines = {n: None if line is None else line[i] for n, line in lines.items()}
            title = f"with respect to {what}, {when}"
            plot.gradient_flow(lines, title=title, legend=i == 1, ax=ax)
    return figure


def reach(model, tokens):
    """Gradient norms of the log odds by word, before and after training: each [2, T].

    Medians over seeds and sentences. In float64, for float32 flushes them to zero.
    """

    def flow(params):
        odds = lambda carry, hs: jnp.sum(hs[-1] @ params.readout)
        xs = params.embedding[tokens]
        return probe.gradient_flow(model.cell, params.cell, None, xs, odds)

    with jax.enable_x64(True):
        wide = lambda *pair: np.stack(pair).astype(np.float64)
        both = jax.tree.map(wide, model.before, model.params)
        norms = jax.jit(jax.vmap(jax.vmap(flow)))(both)
        return jax.tree.map(lambda a: np.median(a, axis=(1, 3)), norms)


def draw_gates(model):
    """The first seed's memory and gates from subject to verb."""
    typed = [agreement.encode(SHOWN.format(subject)) for subject in ("cat", "cats")]
    params = jax.tree.map(lambda a: a[0], model.params)
    xs = params.embedding[np.stack(typed, axis=1)]
    watched = jaxrnn.with_carries(model.cell)
    _, (_, carries) = jaxrnn.unroll(watched, params.cell, None, xs)
    gates = probe.gates(model.cell, params.cell, None, xs[:, 1])
    name = "cell state c" if hasattr(carries, "c") else "state h"
    one, other = jnp.moveaxis(getattr(carries, "c", carries), 1, 0)
    memories = {"The cat, ...": one, "The cats, ...": other}
    words = agreement.decode(typed[1])
    return plot.contrast(memories, gates, words, name=name)[0].figure


if __name__ == "__main__":
    settings = tyro.cli(Settings, description=__doc__)
    try:  # an unknown word should not wait for the training
        [agreement.encode(sentence) for sentence in settings.sentence]
    except ValueError as error:
        sys.exit(str(error))
    for distances in RANGES if settings.distances == "both" else [settings.distances]:
        (tune if settings.tune else attend)(distances, settings)
