"""A population of LSTMs under `train.sweep`, against as many trained one after the other.

    python benchmarks/population.py [--members 64] [--slice 8] [--hidden 32] [--out FILE]

Every contestant makes the same updates of the same members: Adam with a learning rate of
its own for each, on the same batches, the loss a squared error at every step. Members one
after the other run through the compiled loop of `train.fit`, and through torch (oneDNN).
Rounds are interleaved and compilation is apart; ratios are of the minima, the median
beside them. Before anything is timed, the first losses of all are compared. Writes JSON.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

import jaxrnn
from jaxrnn import train
from jaxrnn.train.fit import many
from jaxrnn.train.step import make_step
from jaxrnn.train.sweep import _programs

T, B, F = 64, 16, 8


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


def contestants(members, some, hidden, updates, devices):
    """name -> a function that trains all members and returns their first losses."""
    random = np.random.default_rng(0)
    draw = lambda width: random.normal(size=(updates, T, B, width)).astype(np.float32)
    data = draw(F), 0.5 * draw(hidden)
    stacked = jax.tree.map(jnp.asarray, data)
    rates = 10 ** np.linspace(-4, -2, members)
    hypers = {"rate": rates.astype(np.float32), "seed": np.arange(members)}
    trial = ours(hidden)

    def population(mesh, size):
        parts = [
            {name: values[n : n + size] for name, values in hypers.items()}
            for n in range(0, members, size)
        ]
        programs = _programs(trial, hypers, (), updates, mesh, 5)

        def run():
            found = []
            for part in parts:
                state = programs.start(part)
                _, means = programs.call(part, state, stacked, 0, updates)
                found.append(means["loss"].total / means["loss"].weight)
            return np.concatenate(found, axis=1)[0]

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
        runs[f"{some} at a time{where}"] = population(mesh, some)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--slice", type=int, default=8, help="divides the members")
    parser.add_argument("--hidden", type=int, nargs="+", default=[32])
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--devices", type=int, default=os.cpu_count())
    parser.add_argument("--out", default="benchmarks/results/population.json")
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", options.devices)
    report = {
        "versions": {m.__name__: m.__version__ for m in (jax, jaxrnn, torch)},
        "python": platform.python_version(),
        "device": str(jax.devices()[0]),
        "cores": os.cpu_count(),
        "torch threads": torch.get_num_threads(),
        "environment": {
            k: v for k, v in os.environ.items() if k.startswith(("XLA_", "MALLOC_"))
        },
        "unit": "seconds",
        "cases": [],
    }
    for hidden in options.hidden:
        runs = contestants(
            options.members, options.slice, hidden, options.updates, options.devices
        )
        want = runs["one by one"]()
        for name, run in runs.items():
            np.testing.assert_allclose(run(), want, rtol=1e-4, err_msg=name)
        samples = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                samples[name].append(time.perf_counter() - start)
        sizes = dict(T=T, B=B, F=F, H=hidden)
        counts = dict(members=options.members, updates=options.updates)
        report["cases"].append({**sizes, **counts, "samples": samples})
        each = 1e3 / options.members / options.updates
        low = {name: min(times) for name, times in samples.items()}
        mid = {name: statistics.median(times) for name, times in samples.items()}
        print(
            f"H={hidden}: ms an update of a member, and torch's time over it (median)"
        )
        for name in runs:
            ratio = f"{low['torch'] / low[name]:.2f} ({mid['torch'] / mid[name]:.2f})"
            print(f"  {name:28}{each * low[name]:8.3f}  {ratio}")
    out = pathlib.Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1))
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
