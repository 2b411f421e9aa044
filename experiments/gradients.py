"""Far influence vanishes in the basic RNN; the LSTM's cell state is a conveyor belt."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxrnn
from experiments import statistics, training
from experiments.registry import Experiment
from experiments.training import Task
from jaxrnn import plot, probe
from jaxrnn.tasks import temporal_order

BIASES = (0.0, 1.0, 3.0)
GLOROT = jax.nn.initializers.glorot_uniform()


def lstm(bias):
    return training.LSTM._replace(
        name=f"LSTM, bias {bias:g}",
        make=lambda hidden, option: jaxrnn.lstm(hidden, forget_bias=bias),
        options=(bias,),
    )


CONTENDERS = {
    c.name: c
    for c in (
        training.RNN._replace(options=(1.0,)),
        training.RNN._replace(
            name="simple RNN, Glorot",
            options=(1.0,),
            make=lambda hidden, option: jaxrnn.simple_rnn(
                hidden, recurrent_init=GLOROT
            ),
        ),
        training.GRU._replace(options=(0.0,)),
        *map(lstm, BIASES),
        training.chrono(100.0),
    )
}
VOCABULARY = len(temporal_order.VOCABULARY)


def task(length: int) -> Task:
    draw = partial(temporal_order.draw, batch=32, length=length)
    return Task(draw, VOCABULARY, 4, "class")


def flow(contender, settings, params, option, keys) -> np.ndarray:
    """Norms of dL/dmemory by lag, from 1 on: medians over inputs, [members, lags].

    L is the cross-entropy of the answer at the last step, the memory an LSTM's c and
    otherwise h; in float64.
    """
    length = settings["length"]

    @jax.jit
    def one(params, option, key):
        cell = contender.make(settings["hidden"], option)
        batch = temporal_order.draw(key, settings["inputs"], length=length)
        xs = jax.nn.one_hot(batch.inputs, VOCABULARY, dtype=jnp.float64)
        answer = jnp.sum(batch.targets, axis=0)
        last = batch.lengths - 1

        def loss(carry, hs):
            h = jnp.take_along_axis(hs, last[None, :, None], axis=0)[0]
            said = h @ params["readout"]["kernel"] + params["readout"]["bias"]
            right = said - jax.nn.logsumexp(said, axis=-1, keepdims=True)
            return -jnp.take_along_axis(right, answer[:, None], axis=1).sum()

        norms = probe.gradient_flow(
            cell, params["cell"], None, xs, loss, lengths=batch.lengths
        )
        memory = norms.c if hasattr(norms, "c") else norms
        lags = jnp.arange(1, length)[:, None]
        return jnp.median(jnp.take_along_axis(memory, last - lags, axis=0), axis=1)

    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), params)
        found = [
            one(jax.tree.map(lambda a, n=n: a[n], wide), jnp.float64(option), key)
            for n, key in enumerate(keys)
        ]
    return np.array(found)


def summary(norms: np.ndarray) -> dict:
    """log10, relative to lag 1: the median and the extremes by lag, and of each member the
    slope and the values at a tenth, a half and all of the lags."""
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log10(norms / norms[:, :1]), -300)
    lags = np.arange(1, logs.shape[1] + 1)
    slopes = [np.polyfit(lags, row, 1)[0] for row in logs]
    bands = np.quantile(logs, [0, 0.5, 1], axis=0)
    at = logs[:, [len(lags) // 10 - 1, len(lags) // 2 - 1, -1]]
    parts = {"slopes": slopes, "log10": bands, "at": at}
    return {name: training.rounded(values) for name, values in parts.items()}


def fresh(name, settings, belt=False):
    """Of drawn weights; `belt`: without the recurrent kernel, so by the cell state alone."""
    contender = CONTENDERS[name]
    option = contender.options[0]
    of = task(settings["length"])
    seeds = np.arange(settings["draws"])
    cell = contender.make(settings["hidden"], option)
    begin = partial(training.begin, cell, of, settings["hidden"])
    params = jax.vmap(begin)(seeds)
    if belt:
        mine = params["cell"]
        params["cell"] = mine._replace(wh=jnp.zeros_like(mine.wh))
    keys = jax.random.split(jax.random.key(7), len(seeds))
    return summary(flow(contender, settings, params, option, keys))


def trained(name, settings):
    contender = CONTENDERS[name]
    of = task(settings["length"])
    hidden, every = settings["hidden"], settings["every"]
    chosen = training.tune(contender, hidden, of, settings["updates"], every)
    hypers = training.members(chosen, settings["seeds"])
    swept = training.population(
        contender, hidden, of, hypers, settings["updates"], every
    )
    keys = jax.random.split(jax.random.key(8), settings["seeds"])
    params, option = swept.state.params, contender.options[0]
    found = summary(flow(contender, settings, params, option, keys))
    right = training.rounded(swept.means["right"][:, -1])
    return found | {"chosen": chosen, "right": right}


def pieces(settings):
    made = {}
    for name in CONTENDERS:
        made[f"fresh: {name}"] = partial(fresh, name, settings)
    for bias in BIASES:
        name = f"LSTM, bias {bias:g}"
        made[f"belt: {name}"] = partial(fresh, name, settings, belt=True)
    for name in CONTENDERS:
        made[f"trained: {name}"] = partial(trained, name, settings)
    return made


def slope(results, when, name):
    return statistics.median(results[f"{when}: {name}"]["slopes"])


def verdict(settings, results):
    rnn = slope(results, "fresh", "simple RNN")
    better = [
        slope(results, "fresh", name).low > rnn.high
        for name in ("LSTM, bias 3", "LSTM, chrono")
    ]
    zero = slope(results, "fresh", "LSTM, bias 0")
    passes = all(better) and zero.high < rnn.low
    open_gate = slope(results, "fresh", "LSTM, bias 3")
    return passes, (
        "per step back, log10 of the gradient changes by "
        f"{rnn.show('{:.3f}')} in the simple RNN, by {open_gate.show('{:.3f}')} in an "
        f"LSTM with forget bias 3, and by {zero.show('{:.3f}')} in one with bias 0"
    )


def section(settings, results):
    lags = settings["length"] - 1
    rows = [
        f"| cell | slope, fresh | lag {lags // 10}, fresh | lag {lags}, fresh "
        f"| slope, trained | lag {lags}, trained | accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    show = lambda values: statistics.median(values).show("{:.3f}")
    for name in CONTENDERS:
        begun, done = results[f"fresh: {name}"], results[f"trained: {name}"]
        near, _, far = zip(*begun["at"], strict=True)
        last = [row[-1] for row in done["at"]]
        shown = (
            statistics.median(near).show("{:.1f}"),
            statistics.median(far).show("{:.1f}"),
        )
        rows.append(
            f"| {name} | {show(begun['slopes'])} | {shown[0]} | {shown[1]} "
            f"| {show(done['slopes'])} | {statistics.median(last).show('{:.1f}')} "
            f"| {statistics.accuracy(done['right'])} |"
        )
    belts = ["| forget bias b | log₁₀ σ(b) | cell state alone | whole gradient |"]
    belts += ["|---|---|---|---|"]
    for bias in BIASES:
        name = f"LSTM, bias {bias:g}"
        alone, whole = (
            show(results[f"{w}: {name}"]["slopes"]) for w in ("belt", "fresh")
        )
        analytic = -math.log10(1 + math.exp(-bias))
        belts.append(f"| {bias:g} | {analytic:.3f} | {alone} | {whole} |")
    learned = {
        name: sum(right > 0.9 for right in results[f"trained: {name}"]["right"])
        for name in CONTENDERS
    }
    counted = "; ".join(f"{name}: {n}" for name, n in learned.items())
    steeper = (
        slope(results, "fresh", "GRU").high < slope(results, "fresh", "simple RNN").low
    )
    against = (
        "The slope at initialisation does not predict this: the GRU's is steeper than the "
        f"simple RNN's, and {learned['GRU']} of {settings['seeds']} GRUs learned."
        if steeper and learned["GRU"] > settings["seeds"] / 2
        else ""
    )
    open_belt, open_whole = (
        statistics.median([row[-1] for row in results[f"{w}: LSTM, bias 3"]["at"]])
        for w in ("belt", "fresh")
    )
    return f"""\
The loss is computed at the end of {settings["length"]} steps. We measure the norm of its gradient with
respect to the memory after every step: an LSTM's cell state c, through all later steps, or else h.
We use float64, so that nothing underflows. The simple RNN is initialised with an orthogonal
recurrent kernel or with Glorot's. The numbers are log₁₀ of the norm relative to lag 1. The slope is
that of a straight line through all lags: -0.301 means that half is lost at each step, and -0.01
that a tenth is left after a hundred steps. There are {settings["draws"]} draws of the weights, with
{settings["inputs"]} sequences of the temporal order task for each draw. Then
{settings["seeds"]} networks are trained on the task for {settings["updates"]:,} updates. All have
{settings["hidden"]} units, and each cell chooses among four learning rates.

{chr(10).join(rows)}

*The cell state carries the gradient only if the forget gate is initialised near 1.* An LSTM's
gradient can vanish too. Its forget bias decides how fast: compare the rows of biases 0, 1 and 3.
Number of networks, of {settings["seeds"]} each, that are right in more than 90% after
{settings["updates"]:,} updates: {counted}.
Rows with about 25%, which is guessing, are networks that never learned. {against}

How much of the gradient goes through the cell state alone? Without the recurrent kernel there is
no other path, and the gradient is the product of the forget gates; σ(b)^k is that product for an
input of zero. The rest of the whole gradient goes from c through h into later gates and
candidates. At bias 3 and lag {lags}, the cell state alone has {open_belt.show("{:.1f}")} (log₁₀), and the
whole gradient has {open_whole.show("{:.1f}")}. An open forget gate is therefore necessary, but the
cell state is not the only path.

{chr(10).join(belts)}"""


def draw(settings, results):
    figure, axes = plt.subplots(
        1, 2, figsize=(11, 4.2), sharey=True, layout="constrained"
    )
    lags = np.arange(1, settings["length"])
    for ax, when, title in zip(
        axes, ("fresh", "trained"), ("at initialisation", "after training"), strict=True
    ):
        for bias in BIASES:
            line = -(lags - 1) * math.log10(1 + math.exp(-bias))
            label = "σ(b)^k for b = 0, 1, 3" if bias == BIASES[0] else None
            ax.plot(lags, line, color="0.75", linewidth=4, label=label)
        for (name, colour), marker in zip(
            zip(CONTENDERS, plot.COLOURS, strict=False), plot.MARKERS, strict=False
        ):
            low, middle, high = results[f"{when}: {name}"]["log10"]
            style = dict(color=colour, marker=marker, markevery=10, markersize=4)
            ax.plot(lags, middle, label=name, **style)
            ax.fill_between(lags, low, high, color=colour, alpha=0.1, linewidth=0)
        ax.set(title=title, xlabel="lag (steps)", ylim=(-12, 3))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("log₁₀ of the gradient, relative to lag 1")
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


EXPERIMENT = Experiment(
    name="gradients",
    title="Far influence vanishes in the basic RNN; the cell state is a conveyor belt",
    rule="At initialisation the slopes of the LSTM with forget bias 3 and with chrono "
    "biases are above the simple RNN's, with 95% intervals that do not meet; and the slope "
    "of the LSTM with bias 0 is below it.",
    minutes=12,
    settings={
        "length": 100,
        "hidden": 32,
        "draws": 20,
        "inputs": 32,
        "seeds": 10,
        "updates": 2000,
        "every": 100,
        **training.PROTOCOL,
    },
    quick={
        "length": 30,
        "hidden": 12,
        "draws": 4,
        "inputs": 8,
        "seeds": 3,
        "updates": 100,
        "every": 50,
        **training.PROTOCOL,
    },
    pieces=pieces,
    verdict=verdict,
    section=section,
    draw=draw,
)
