"""Every cell on the gated engine and on the plain scan: forward and backward pass.

    python -m benchmarks.cells
    python -m benchmarks.cells --cells lstm slstm --seconds 20

All of a run are timed in turn. The table is a ratio to the LSTM and to a cell's own scan.
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

T, B, D, H = 128, 32, 64, 128
IMAGES = (16, 8, 16, 16, 16)  # T, B, rows, columns, channels

VECTORS = {
    "simple_rnn": jaxrnn.simple_rnn(H),
    "lstm": jaxrnn.lstm(H),
    "gru": jaxrnn.gru(H),
    "gru, reset before": jaxrnn.gru(H, reset_after=False),
    "peephole_lstm": jaxrnn.peephole_lstm(H),
    "coupled_lstm": jaxrnn.coupled_lstm(H),
    "projected_lstm, P=64": jaxrnn.projected_lstm(H, H // 2),
    "layer_norm_lstm": jaxrnn.layer_norm_lstm(H),
    "layer_norm_gru": jaxrnn.layer_norm_gru(H),
    "dreamer_gru": jaxrnn.dreamer_gru(H),
    "mgu": jaxrnn.mgu(H),
    "mgu, reset before": jaxrnn.mgu(H, reset_after=False),
    "janet": jaxrnn.janet(H),
    "ugrnn": jaxrnn.ugrnn(H),
    "ind_rnn": jaxrnn.ind_rnn(H),
    "antisymmetric_rnn": jaxrnn.antisymmetric_rnn(H),
    "antisymmetric_rnn, gate": jaxrnn.antisymmetric_rnn(H, gate=True),
    "cornn": jaxrnn.cornn(H),
    "lem": jaxrnn.lem(H),
    "leaky_rnn": jaxrnn.leaky_rnn(H),
    "slstm, 4 heads": jaxrnn.slstm(H, heads=4),
}
OF_IMAGES = {
    "conv_lstm, 3x3": jaxrnn.conv_lstm(16, (3, 3)),
    "conv_gru, 3x3": jaxrnn.conv_gru(16, (3, 3)),
    "conv_gru, 3x3, reset before": jaxrnn.conv_gru(16, (3, 3), reset_after=False),
}
CELLS = VECTORS | OF_IMAGES


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    cells: tuple[str, ...] = tuple(CELLS)
    seconds: float = 120.0  # for the rounds of all
    out: pathlib.Path = pathlib.Path("benchmarks/results/cells.json")


def run_of(name: str, engine: str):
    """A call of the compiled forward and backward pass."""
    cell = CELLS[name]
    shape = IMAGES if name in OF_IMAGES else (T, B, D)
    xs = jax.random.normal(jax.random.key(1), shape)
    params = cell.init(jax.random.key(0), shape[-1])

    def loss(params, xs):
        return jnp.sum(jaxrnn.unroll(cell, params, None, xs, engine=engine)[1] ** 2)

    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(params, xs).compile()
    return lambda: jax.block_until_ready(compiled(params, xs))


def main(settings: Settings) -> None:
    names = tuple(dict.fromkeys(("lstm", *settings.cells)))
    runs = {f"{n}, {e}": run_of(n, e) for n in names for e in ("gated", "scan")}
    samples = timing.interleaved(runs, seconds=settings.seconds)
    reference = min(samples["lstm, gated"])
    rows = []
    for name in names:
        gated, scan = (min(samples[f"{name}, {e}"]) for e in ("gated", "scan"))
        features = IMAGES[-1] if name in OF_IMAGES else D
        params = CELLS[name].init(jax.random.key(0), features)
        rows.append(
            {
                "cell": name,
                "params": sum(a.size for a in params),
                "gated": samples[f"{name}, gated"],
                "scan": samples[f"{name}, scan"],
            }
        )
        print(
            f"{name}: {1e3 * gated:.1f} ms, scan/gated {scan / gated:.2f}, "
            f"{gated / reference:.2f} of the LSTM",
            flush=True,
        )
    found = machine() | {"T, B, D, H": [T, B, D, H], "images": IMAGES, "rows": rows}
    settings.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
