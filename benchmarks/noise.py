"""Every kind of noise on the LSTM and the GRU: forward and backward pass, with and without.

    python -m benchmarks.noise
    python -m benchmarks.noise --kinds zoneout --seconds 20

All of a run are timed in turn; a noise's cost is its time over that of the cell without.
"""

import json
import pathlib
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import tyro

import jaxrnn
from benchmarks import timing
from benchmarks.machine import machine
from jaxrnn import noise

T, B, D, H = 128, 32, 64, 128

CELLS = {"lstm": jaxrnn.lstm(H), "gru": jaxrnn.gru(H)}
KINDS = {
    "none": lambda cell: cell,
    "dropout": lambda cell: noise.dropout(cell, 0.1),
    "variational, inputs and recurrent": lambda cell: noise.variational(
        cell, inputs=0.1, recurrent=0.1
    ),
    "variational, recurrent, resets": lambda cell: noise.variational(
        cell, recurrent=0.1
    ),
    "recurrent_dropout": lambda cell: noise.recurrent_dropout(cell, 0.1),
    "zoneout": lambda cell: noise.zoneout(cell, 0.1),
    "weight_drop": lambda cell: noise.weight_drop(cell, 0.1),
    "gaussian, inputs": lambda cell: noise.gaussian(cell, inputs=0.1),
    "gaussian, carry": lambda cell: noise.gaussian(cell, carry=0.1),
    "gaussian, pre": lambda cell: noise.gaussian(cell, pre=0.1),
}


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    cells: tuple[str, ...] = tuple(CELLS)
    kinds: tuple[str, ...] = tuple(KINDS)
    seconds: float = 120.0  # for the rounds of all
    out: pathlib.Path = pathlib.Path("benchmarks/results/noise.json")


def run_of(cell: jaxrnn.Cell, resets: bool):
    """A call of the compiled forward and backward pass."""
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    params = cell.init(jax.random.key(0), D)
    begins = jax.random.bernoulli(jax.random.key(2), 0.05, (T, B)) if resets else None

    def loss(params, xs, key):
        _, hs = jaxrnn.unroll(cell, params, None, xs, key=key, resets=begins)
        return jnp.sum(hs**2)

    key = jax.random.key(3)
    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(params, xs, key).compile()
    return lambda: jax.block_until_ready(compiled(params, xs, key))


def main(settings: Settings) -> None:
    kinds = tuple(dict.fromkeys(("none", *settings.kinds)))
    runs = {
        (cell, kind): run_of(KINDS[kind](CELLS[cell]), kind.endswith("resets"))
        for cell in settings.cells
        for kind in kinds
    }
    if any(kind.endswith("resets") for kind in kinds):
        runs |= {(cell, "none, resets"): run_of(CELLS[cell], True) for cell in CELLS}
    names = {f"{cell}, {kind}": run for (cell, kind), run in runs.items()}
    samples = timing.interleaved(names, seconds=settings.seconds)
    for cell, kind in runs:
        plain = "none, resets" if kind.endswith("resets") else "none"
        times = samples[f"{cell}, {kind}"], samples[f"{cell}, {plain}"]
        cost, least = timing.ratio(*times), min(times[0]) / min(times[1])
        print(
            f"{cell}, {kind}: {1e3 * min(times[0]):.1f} ms, {least:.2f} of the cell "
            f"without (median {cost.median:.2f}, {cost.low:.2f} to {cost.high:.2f})",
            flush=True,
        )
    found = machine() | {"T, B, D, H": [T, B, D, H], "seconds": samples}
    settings.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
