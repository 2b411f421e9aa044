"""Populations of small networks: one way to train, tune and examine for all experiments.

A network is a cell and a linear readout. Members of a population differ in their seed (of
weights and of data: members of two cells with one seed read the same data) and in
hyperparameters. Learning rates and such are tuned by `tune`, with the same number of
configurations for each cell and with seeds that are reported nowhere.
"""

import bisect
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from jaxrnn import initializers, train
from jaxrnn.tasks import Batch

RATES = (3e-4, 1.4e-3, 6.5e-3, 3e-2)  # two decades
TUNING_SEEDS = (1000, 1001)
# What all experiments share, for their settings: results of another protocol are stale.
PROTOCOL = {
    "rates": list(RATES),
    "tuning seeds": list(TUNING_SEEDS),
    "optimizer": "Adam, constant for half of the updates, then down to a tenth; clip 1",
}


class Task(NamedTuple):
    """What is learned.

    Fields:
        draw: ``(key) -> Batch``, training data; or what `own` makes a batch of.
        features: how many symbols or numbers an input has; symbols go in one-hot.
        outputs: numbers the readout returns a step.
        kind: "number" (squared error), "class" (softmax) or "set" (a sigmoid for each).
        near: a number is right if it is off by less.
        own: ``(seed) -> (drawn) -> Batch``, for data that differ by seed; None: no such.
        uncut: whether a batch goes on where the one before ended: the carry is kept from
            update to update, and gradients end where a batch begins.
    """

    draw: Callable
    features: int
    outputs: int
    kind: str
    near: float = 0.04
    own: Callable | None = None
    uncut: bool = False


class Contender(NamedTuple):
    """A cell with what is tuned of it beside the learning rate.

    Fields:
        name: for tables and pictures.
        make: ``(hidden, option) -> Cell``; `option` is traced.
        options: two values of it.
        clips: whether it is the norm that gradients are clipped to; otherwise that is 1.
    """

    name: str
    make: Callable
    options: tuple[float, ...]
    clips: bool = False


BELT = {"activation": "relu", "recurrent_init": initializers.identity()}
BELT["kernel_init"] = jax.nn.initializers.normal(0.01)
RNN = Contender(
    "simple RNN",
    lambda hidden, option: jaxrnn.simple_rnn(hidden),
    (1.0, 0.1),
    clips=True,
)
IRNN = RNN._replace(
    name="IRNN", make=lambda hidden, option: jaxrnn.simple_rnn(hidden, **BELT)
)
GRU = Contender(
    "GRU",
    lambda hidden, option: jaxrnn.gru(hidden, update_bias=option),
    (0.0, 3.0),
)
LSTM = Contender(
    "LSTM",
    lambda hidden, option: jaxrnn.lstm(hidden, forget_bias=option),
    (1.0, 3.0),
)
THREE = (RNN, GRU, LSTM)


def chrono(*longest: float) -> Contender:
    """An LSTM whose gates start open for up to one of some numbers of steps."""
    return LSTM._replace(
        name="LSTM, chrono",
        make=lambda hidden, option: jaxrnn.lstm(
            hidden, bias_init=initializers.chrono(option), forget_bias=None
        ),
        options=longest,
    )


def count(contender: Contender, units: int, task: Task) -> int:
    """How many parameters there are."""
    return _count(contender, units, task._replace(draw=None, own=None))


@cache
def _count(contender, units, task) -> int:
    """Of a task without its data, so that all of a shape are counted once."""
    cell = contender.make(units, contender.options[0])
    shapes = jax.eval_shape(lambda: begin(cell, task, units, 0))
    return sum(shape.size for shape in jax.tree.leaves(shapes))


def width(contender: Contender, task: Task, like: int) -> int:
    """Units with as many parameters as an LSTM of `like` units, or just below."""
    most = count(LSTM, like, task)
    grows = partial(count, contender, task=task)
    return bisect.bisect_right(range(1, 20 * like), most, key=lambda h: grows(units=h))


def follow(
    cell: jaxrnn.Cell, task: Task, params: Any, carry: Any, batch: Batch
) -> tuple[Any, jax.Array]:
    """The carry after a batch, and the readout at every step, [T, B, outputs]."""
    xs = batch.inputs
    if jnp.issubdtype(xs.dtype, jnp.integer):
        xs = jax.nn.one_hot(xs, task.features, dtype=jnp.float32)
    # Under a vmap of many small members the plain scan takes 0.5 to 1.2 of the gated
    # engine's time: 0.95 for an LSTM of 32 units, 0.6 for one with layer norms.
    last, hs = jaxrnn.unroll(cell, params["cell"], carry, xs, engine="scan")
    return last, hs @ params["readout"]["kernel"] + params["readout"]["bias"]


def scores(task: Task, said: jax.Array, batch: Batch) -> dict:
    """Loss and whether it is right, of every step: [T, B]."""
    if task.kind == "number":
        off = (said - batch.targets)[..., 0]
        return {"loss": off**2, "right": jnp.abs(off) < task.near}
    if task.kind == "class":
        losses = optax.softmax_cross_entropy_with_integer_labels(said, batch.targets)
        return {"loss": losses, "right": said.argmax(-1) == batch.targets}
    losses = optax.sigmoid_binary_cross_entropy(said, batch.targets).sum(-1)
    return {"loss": losses, "right": ((said > 0) == (batch.targets > 0.5)).all(-1)}


def trial(
    contender: Contender, hidden: int, task: Task, steps: int
) -> Callable[[dict], train.Trial]:
    """``(hyper) -> Trial``, hyper of rate, option and seed."""

    def one(hyper):
        cell = contender.make(hidden, hyper["option"])
        pick = task.own(hyper["seed"]) if task.own else lambda batch: batch

        def loss(params, carry, drawn, key):
            batch = pick(drawn)
            last, said = follow(cell, task, params, carry, batch)
            found = scores(task, said, batch)
            return last if task.uncut else None, {
                name: train.mean(values.astype(jnp.float32), batch.mask)
                for name, values in found.items()
            }

        clip = hyper["option"] if contender.clips else 1.0
        # Constant for half of the updates, then down to a tenth: a sharper end for all.
        rate = optax.join_schedules(
            [
                lambda n: hyper["rate"],
                lambda n: hyper["rate"] * 0.1 ** (n / (steps - steps // 2)),
            ],
            [steps // 2],
        )
        optimizer = optax.chain(optax.clip_by_global_norm(clip), optax.adam(rate))
        key = jax.random.fold_in(jax.random.key(1), hyper["seed"])
        params, carry = begin(cell, task, hidden, hyper["seed"]), None
        if task.uncut:
            rows = jax.eval_shape(task.draw, key).inputs.shape[1]
            x = jax.ShapeDtypeStruct((rows, task.features), jnp.float32)
            carry = cell.initial_carry(params["cell"], x)
        return train.Trial(
            loss, optimizer, train.init(params, optimizer, key, carry=carry)
        )

    return one


def begin(cell: jaxrnn.Cell, task: Task, hidden: int, seed: Any) -> dict:
    """Fresh parameters."""
    of_cell, of_readout = jax.random.split(jax.random.fold_in(jax.random.key(0), seed))
    kernel = jax.nn.initializers.glorot_uniform()(of_readout, (hidden, task.outputs))
    readout = {"kernel": kernel, "bias": jnp.zeros(task.outputs)}
    return {"cell": cell.init(of_cell, task.features), "readout": readout}


def members(chosen: dict, seeds: int) -> dict:
    """Hyperparameters of the seeds 0, 1, ... with one rate and option."""
    same = lambda name: np.full(seeds, chosen[name], np.float32)
    return {"rate": same("rate"), "option": same("option"), "seed": np.arange(seeds)}


def population(
    contender: Contender,
    hidden: int,
    task: Task,
    hypers: dict,
    steps: int,
    log_every: int,
) -> train.Swept:
    """All members, trained at once."""
    return train.sweep(
        trial(contender, hidden, task, steps),
        hypers,
        task.draw,
        steps=steps,
        steps_per_call=log_every,
        log_every=log_every,
        progress=False,
    )


def tune(
    contender: Contender, hidden: int, task: Task, steps: int, log_every: int
) -> dict:
    """The best of eight configurations: 4 learning rates times 2 options.

    Returns:
        "rate" and "option" of the least loss in the last row, the mean over the tuning
        seeds, and "tried": all of them with that loss.
    """
    grid = train.grid(rate=RATES, option=contender.options, seed=TUNING_SEEDS)
    swept = population(contender, hidden, task, grid, steps, log_every)
    shape = (len(RATES) * len(contender.options), len(TUNING_SEEDS))
    losses = swept.means["loss"][:, -1].reshape(shape)
    losses = np.where(np.isfinite(losses), losses, np.inf).mean(axis=1)
    configurations = [
        {"rate": float(rate), "option": float(option)}
        for rate in RATES
        for option in contender.options
    ]
    best = configurations[int(np.argmin(losses))]
    tried = [
        {**c, "loss": rounded(loss)}
        for c, loss in zip(configurations, losses, strict=True)
    ]
    return {**best, "tried": tried}


def examine(
    contender: Contender,
    hidden: int,
    task: Task,
    swept: train.Swept,
    score: Callable[[Callable, Any], Any],
) -> Any:
    """``score(said, key)`` of each member, [members, ...].

    Args:
        contender, hidden, task, swept: as `population` had and returned them.
        score: from ``said``, which is ``(batch) -> outputs`` of a member, and a key of the
            member's own that no training has used.
    """

    @jax.jit
    @jax.vmap
    def one(params, option, seed):
        cell = contender.make(hidden, option)
        said = lambda batch: follow(cell, task, params, None, batch)[1]
        return score(said, jax.random.fold_in(jax.random.key(2), seed))

    hypers = swept.hypers
    found = one(swept.state.params, hypers["option"], hypers["seed"])
    return jax.tree.map(np.asarray, found)


def report(
    contender: Contender,
    hidden: int,
    task: Task,
    chosen: dict,
    seeds: int,
    steps: int,
    log_every: int,
    score: Callable | None = None,
) -> dict:
    """Trains seeds 0, 1, ... with a tuned configuration.

    Returns:
        Of each seed the curves "loss" and "right" [seeds, rows] and "steps" [rows], what
        `examine` found, under "score", and of a task that is not cut the greatest size of
        a number in the carry after training, under "memory" [seeds].
    """
    swept = population(
        contender, hidden, task, members(chosen, seeds), steps, log_every
    )
    found = {"steps": swept.steps.tolist()}
    found |= {name: rounded(mean) for name, mean in swept.means.items()}
    if task.uncut:
        ends = jax.tree.leaves(swept.state.carry)  # [seeds, rows, units] each
        found["memory"] = rounded(np.max([np.abs(a).max((1, 2)) for a in ends], axis=0))
    if score is not None:
        values = examine(contender, hidden, task, swept, score)
        found["score"] = jax.tree.map(rounded, values)
    return found


def rounded(values: Any) -> Any:
    """As lists of 5 digits, enough for a table; None for what is not finite."""

    def one(value):
        if isinstance(value, list):
            return [one(v) for v in value]
        return float(f"{value:.5g}") if np.isfinite(value) else None

    return one(np.asarray(values, np.float64).tolist())
