"""What the derivative of `jaxrnn.sigmoid` costs: python -m benchmarks.sigmoid

A training step's gradients, with `jaxrnn.sigmoid` in the gates and with
`jax.nn.sigmoid`, in interleaved rounds. The second is timed twice: how far its two
times are apart is what this machine's noise makes of nothing.
"""

import json
import pathlib
import statistics
import time
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import tyro

import jaxrnn
from benchmarks import timing, work
from benchmarks.machine import machine


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    cells: tuple[str, ...] = ("lstm", "gru")
    hidden: tuple[int, ...] = (32, 128, 512)
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    T: int = 64
    B: int = 32
    seconds: float = 20.0  # for the rounds of one size
    clock: Literal["wall", "cpu"] = "wall"  # cpu: of all threads, on a busy machine
    out: pathlib.Path = pathlib.Path("benchmarks/results/sigmoid.json")


def lstm(sigmoid):
    def gates(params, carry, pre):
        i, f, g, o = pre
        return jaxrnn.cells.LSTMGates(sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o))

    return gates


def gru(sigmoid):
    def gates(params, h, pre):
        r, z, n, hn = pre
        r = sigmoid(r)
        return jaxrnn.cells.GRUGates(r, sigmoid(z), jnp.tanh(n + r * hn))

    return gates


def gradients(one: work.Work, dtype: str, sigmoid):
    """A call that computes the gradients of one batch."""
    cell = work.CELLS[one.cell](one.H)
    parts = cell.parts._replace(gates={"lstm": lstm, "gru": gru}[one.cell](sigmoid))
    cell = jaxrnn.gated(
        init=cell.init, initial_carry=cell.initial_carry, **parts._asdict()
    )
    numbers = work.draw(one, dtype)
    args = jax.tree.map(lambda a: jnp.asarray(a, dtype), (numbers.params, numbers.xs))

    def loss(params, xs):
        _, hs = jaxrnn.unroll(cell, params, None, xs)
        return jnp.mean(hs.astype(jnp.float32) ** 2)

    program = jax.jit(jax.grad(loss, (0, 1))).lower(*args).compile()
    call = lambda: jax.block_until_ready(program(*args))
    call()
    return call


def main(settings: Settings) -> None:
    found = machine() | {"clock": settings.clock, "rows": []}
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[settings.clock]
    for dtype in settings.dtypes:
        for cell in settings.cells:
            for hidden in settings.hidden:
                one = work.Work(cell, settings.T, settings.B, hidden, hidden)
                plain = gradients(one, dtype, jax.nn.sigmoid)
                ours = gradients(one, dtype, jaxrnn.sigmoid)
                runs = {"jax.nn": plain, "ours": ours, "jax.nn again": plain}
                seconds = timing.interleaved(
                    runs, seconds=settings.seconds, clock=clock
                )
                row = {**one._asdict(), "dtype": dtype, "seconds": seconds}
                found["rows"].append(row)
                said = []
                for name in ("ours", "jax.nn again"):
                    ratio = timing.ratio(seconds[name], seconds["jax.nn"])
                    least = min(seconds[name]) / min(seconds["jax.nn"])
                    said.append(f"{name} {ratio.median:.3f} (least {least:.3f})")
                each = 1e3 * statistics.median(seconds["jax.nn"])
                print(f"{dtype} {cell} H={hidden}, {each:.1f} ms:", ", ".join(said))
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
