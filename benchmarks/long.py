"""Long sequences: time and memory of each `remat`, forward and backward.

    python -m benchmarks.long

Temporaries are as the compiler reports them. The part that hs and its cotangent take is
shown too, because no `remat` can save it.
"""

import json
import pathlib
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import jaxrnn
from benchmarks import report, timing, work
from benchmarks.machine import machine


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    cell: str = "lstm"
    lengths: tuple[int, ...] = (1024, 4096, 16384, 65536)
    B: int = 8
    H: int = 128
    seconds: float = 20.0  # for the rounds of one length
    out: pathlib.Path = pathlib.Path("benchmarks/results/long.json")


def compiled(one: work.Work, remat):
    """``(params, xs) -> gradients`` and its arguments."""
    numbers = work.draw(one)
    cell = work.CELLS[one.cell](one.H)

    def loss(params, xs):
        _, hs = jaxrnn.unroll(cell, params, None, xs, remat=remat)
        return jnp.mean(hs**2)

    args = jax.tree.map(jnp.asarray, (numbers.params, numbers.xs))
    return jax.jit(jax.grad(loss)).lower(*args).compile(), args


def main(settings: Settings) -> None:
    found = machine() | {"rows": []}
    for steps in settings.lengths:
        one = work.Work(settings.cell, steps, settings.B, settings.H, settings.H)
        choices = {"None": None, "auto": "auto", "sqrt": round(steps**0.5)}
        made = {name: compiled(one, remat) for name, remat in choices.items()}
        first = None
        for name, (program, args) in made.items():
            grads = np.asarray(program(*args).wh)
            first = grads if first is None else first
            error = np.abs(grads - first).max() / np.abs(first).max()
            assert error <= 1e-4, f"{name}: error {error:.1e}"
        runs = {
            name: lambda program=program, args=args: jax.block_until_ready(
                program(*args)
            )
            for name, (program, args) in made.items()
        }
        samples = timing.interleaved(runs, seconds=settings.seconds, least=3)
        outputs = 2 * 4 * steps * settings.B * settings.H
        for name, (program, _) in made.items():
            size = program.memory_analysis().temp_size_in_bytes
            row = {**one._asdict(), "remat": name, "temporary": size}
            found["rows"].append({**row, "outputs": outputs, "seconds": samples[name]})
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(json.dumps(found, indent=1))
    print(report.long(found))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
