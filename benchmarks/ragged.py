"""Ragged rows, lengths uniform in 1..T: `lengths=` and torch's packed sequences.

    python -m benchmarks.ragged

Forward and backward with respect to params and inputs, and Flax's `seq_lengths` too. The
gradients of the inputs are compared before anything is timed.
"""

import json
import os
import pathlib
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import torch
import tyro

import jaxrnn
from benchmarks import report, timing, work
from benchmarks.machine import machine
from jaxrnn import convert

PEERS = {
    "gru": (nn.GRUCell, torch.nn.GRU),
    "lstm": (nn.OptimizedLSTMCell, torch.nn.LSTM),
}


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    T: int = 128
    B: int = 32
    D: int = 64
    H: int = 128
    seconds: float = 15.0  # for the rounds of one cell
    out: pathlib.Path = pathlib.Path("benchmarks/results/ragged.json")


def contestants(one: work.Work) -> dict:
    """name -> a call that returns the gradient of the inputs ``[T, B, D]``."""
    numbers = work.draw(one)
    lengths = np.random.default_rng(1).integers(1, one.T + 1, one.B)
    inside = np.arange(one.T)[:, None] < lengths
    dhs = np.where(inside[..., None], numbers.dhs, 0)
    cell = work.CELLS[one.cell](one.H)
    flax_cell, torch_layer = PEERS[one.cell]

    def ours(params, xs):
        return jaxrnn.unroll(cell, params, None, xs, lengths=jnp.asarray(lengths))[1]

    rnn = nn.RNN(flax_cell(one.H), time_major=True)

    def flax(params, xs):
        variables = {"params": {"cell": params}}
        return rnn.apply(variables, xs, seq_lengths=jnp.asarray(lengths))

    def graded(run, params):
        loss = lambda params, xs: jnp.sum(run(params, xs) * dhs)
        grad = jax.jit(jax.grad(loss, (0, 1)))
        return lambda: jax.block_until_ready(grad(params, numbers.xs))[1]

    torch.set_num_threads(os.cpu_count() or 1)
    layer = torch_layer(one.D, one.H)
    state = convert.to_torch(cell, numbers.params)
    layer.load_state_dict({k: torch.from_numpy(a) for k, a in state.items()})
    xs = torch.from_numpy(numbers.xs).requires_grad_()
    there, sizes = torch.from_numpy(dhs), torch.from_numpy(lengths)

    def packed():
        layer.zero_grad(set_to_none=True)
        xs.grad = None
        rows = torch.nn.utils.rnn.pack_padded_sequence(xs, sizes, enforce_sorted=False)
        hs, _ = torch.nn.utils.rnn.pad_packed_sequence(layer(rows)[0])
        hs.backward(there[: len(hs)])
        return xs.grad

    return {
        "jaxrnn": graded(ours, numbers.params),
        "linen": graded(flax, convert.to_linen(cell, numbers.params)),
        "torch": packed,
    }


def main(settings: Settings) -> None:
    found = machine() | {"rows": []}
    for cell in PEERS:
        one = work.Work(cell, settings.T, settings.B, settings.D, settings.H)
        runs = contestants(one)
        wanted = np.asarray(runs["jaxrnn"]())
        for name, run in runs.items():
            error = np.abs(np.asarray(run()) - wanted).max() / np.abs(wanted).max()
            assert error <= 1e-4, f"{name}: error {error:.1e}"
        samples = timing.interleaved(runs, seconds=settings.seconds)
        found["rows"].append({**one._asdict(), "seconds": samples})
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(json.dumps(found, indent=1))
    print(report.ragged(found))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
