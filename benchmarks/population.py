"""A population of LSTMs by `train.sweep`, and the same LSTMs one after the other.

    python -m benchmarks.population                               ten minutes or more
    python -m benchmarks.population --members 64 --hidden 32      one case

Every contestant does the same updates of the same members: Adam with one learning rate
per member, the same batches, a squared error at every step. Members one after the other
use the compiled loop of `train.fit`, or torch (oneDNN). Compile time is not included. The
first losses of all are compared before anything is timed.
"""

import itertools
import json
import os
import pathlib
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import tyro

import jaxrnn
from benchmarks import report, timing
from benchmarks.machine import machine
from jaxrnn import train
from jaxrnn.train.loop import Plan, many
from jaxrnn.train.population import programs as compiled
from jaxrnn.train.step import make_step

T, B, F = 64, 16, 8


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    members: tuple[int, ...] = (1, 8, 64, 256)
    hidden: tuple[int, ...] = (32, 64)
    updates: int = 20
    slice: int = 8  # how many at a time, where there are more
    seconds: float = 20.0  # for the rounds of one case
    devices: int | None = None  # CPU devices; None: one per core
    out: pathlib.Path = pathlib.Path("benchmarks/results/population.json")


def ours(hidden):
    """The trial of a member; its params are those of its seed."""
    cell = jaxrnn.lstm(hidden)

    def loss(params, carry, batch, key):
        _, hs = jaxrnn.unroll(cell, params, carry, batch[0])
        return None, {"loss": train.mean((hs - batch[1]) ** 2)}

    def trial(hyper):
        key, optimizer = jax.random.key(0), optax.adam(hyper["rate"])
        params = cell.init(jax.random.key(hyper["seed"]), F)
        return train.Trial(loss, optimizer, train.init(params, optimizer, key))

    return trial


def torch_members(hidden, hypers, trial):
    """An LSTM and its optimizer for each member, with the same weights."""
    members = []
    for n in range(len(hypers["rate"])):
        hyper = {name: values[n] for name, values in hypers.items()}
        wx, wh, b = map(np.array, trial(hyper).state.params)
        layer = torch.nn.LSTM(F, hidden)
        layer.weight_ih_l0.data = torch.tensor(wx.T.copy())
        layer.weight_hh_l0.data = torch.tensor(wh.T.copy())
        layer.bias_ih_l0.data = torch.tensor(b)
        layer.bias_hh_l0.data = torch.zeros(4 * hidden)
        layer.bias_hh_l0.requires_grad_(False)  # one bias, as ours
        rate = float(hyper["rate"])
        members.append((layer, torch.optim.Adam(layer.parameters(), lr=rate)))
    return members


def torch_train(members, batches):
    """Every member through all batches; the first losses."""
    first = []
    for layer, optimizer in members:
        for n, (xs, ys) in enumerate(batches):
            optimizer.zero_grad(set_to_none=True)
            loss = ((layer(xs)[0] - ys) ** 2).mean()
            loss.backward()
            optimizer.step()
            first += [loss.item()] if n == 0 else []
    return first


def contestants(members, at_a_time, hidden, updates, devices):
    """name -> a function that trains all members and returns their first losses."""
    random = np.random.default_rng(0)
    draw = lambda width: random.normal(size=(updates, T, B, width)).astype(np.float32)
    data = draw(F), 0.5 * draw(hidden)
    stacked = jax.tree.map(jnp.asarray, data)
    rates = 10 ** np.linspace(-4, -2, members)
    hypers = {"rate": rates.astype(np.float32), "seed": np.arange(members)}
    trial = ours(hidden)

    def population(mesh, size):
        # As train.sweep does: every device has as many, the last slice is filled up.
        size += -size % (1 if mesh is None else devices)
        chosen = np.minimum(np.arange(members + -members % size), members - 1)
        parts = [
            {name: values[some] for name, values in hypers.items()}
            for some in np.split(chosen, len(chosen) // size)
        ]
        names = "steps_per_call log_every save_every valid_every keep max_nonfinite"
        counts = dict.fromkeys(names.split(), updates)
        plan = Plan.checked(steps=updates, patience=None, **counts)
        programs = compiled(trial, hypers, (), plan, mesh)

        def run():
            found = []
            for part in parts:
                state = programs.start(part)
                stopped = np.zeros(size, bool)
                _, means = programs.call(part, state, stopped, stacked, 0, updates)
                found.append(means["loss"].total / means["loss"].weight)
            return np.concatenate(found, axis=1)[0, :members]

        return run

    def member(hyper):
        made = trial(hyper)
        return many(make_step(made.loss, made.optimizer), None, updates)(
            made.state, stacked, 0, updates
        )[1]["loss"]

    one = jax.jit(member)

    def sequential():
        each = [
            one({name: values[n] for name, values in hypers.items()})
            for n in range(members)
        ]
        return np.array([mean.total[0] / mean.weight[0] for mean in each])

    batches = list(zip(*map(torch.tensor, data), strict=True))

    def in_torch():
        return np.array(torch_train(torch_members(hidden, hypers, trial), batches))

    runs = {"one by one": sequential, "torch": in_torch}
    for mesh in (None, train.data_mesh(devices)):
        where = "" if mesh is None else f" on {devices} devices"
        runs[f"all at once{where}"] = population(mesh, members)
        if members > at_a_time:
            runs[f"{at_a_time} at a time{where}"] = population(mesh, at_a_time)
    return runs


def main(settings: Settings) -> None:
    devices = settings.devices or os.cpu_count() or 1
    jax.config.update("jax_num_cpu_devices", devices)
    found = machine() | {"rows": []}
    for hidden, members in itertools.product(settings.hidden, settings.members):
        runs = contestants(members, settings.slice, hidden, settings.updates, devices)
        wanted = runs["one by one"]()
        for name, run in runs.items():
            np.testing.assert_allclose(run(), wanted, rtol=1e-4, err_msg=name)
        samples = timing.interleaved(runs, seconds=settings.seconds, least=3)
        case = dict(T=T, B=B, F=F, H=hidden, members=members, updates=settings.updates)
        found["rows"].append({**case, "devices": devices, "seconds": samples})
    print(report.population(found))
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
