"""A user's own gated cells: forward and backward pass on the gated engine and the scan.

    python -m benchmarks.own_cells
    python -m benchmarks.own_cells --sizes H256 --seconds 20

An LSTM as it is, with a layer norm in each of the places where one can be written, and
with a value of the batch's shape in its state equation. `jaxrnn.Gated` says what each
costs and docs/engine.md has the table.
"""

import json
import pathlib
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import tyro

import jaxrnn
from benchmarks import timing, work
from benchmarks.machine import machine
from jaxrnn.cells import LSTMCarry, LSTMGates


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    sizes: tuple[str, ...] = ("D64-H128", "H256")
    seconds: float = 10.0  # for the rounds of one size
    out: pathlib.Path = pathlib.Path("benchmarks/results/own_cells.json")


def norm(scale: jax.Array, a: jax.Array) -> jax.Array:
    """Layer norm over the units (Ba et al. 2016, arXiv:1607.06450), with a gain alone."""
    return jax.nn.standardize(a, epsilon=1e-5) * scale


def cells(H: int, B: int) -> dict[str, jaxrnn.Cell]:
    """name -> a cell with params ``(LSTMParams, gains of the gates, gain of c)``."""
    lstm = jaxrnn.lstm(H)
    project, recur, gates, update, output = lstm.parts

    def init(key, features):
        return lstm.init(key, features), jnp.ones((4, H)), jnp.ones(H)

    plain = jaxrnn.Gated(
        project=lambda p, x: project(p[0], x),
        recur=lambda p, c, z: recur(p[0], c, z),
        gates=lambda p, c, pre: gates(p[0], c, pre),
        update=lambda p, c, g: update(p[0], c, g),
        output=lambda p, c: output(p[0], c),
    )

    def normed_update(p, carry, gates: LSTMGates):
        c = gates.f * carry.c + gates.i * gates.g
        return LSTMCarry(h=gates.o * jnp.tanh(norm(p[2], c)), c=c)

    def normed(p, pre):
        return tuple(map(norm, p[1], pre))

    def scaled(gain):
        new = lambda p, c, g: plain.update(p, c, g)
        return lambda p, c, g: jax.tree.map(lambda a: gain * a, new(p, c, g))

    variants = {
        "plain": {},
        "norm of c in update": dict(update=normed_update),
        "norm in gates": dict(
            gates=lambda p, c, pre: plain.gates(p, c, normed(p, pre))
        ),
        "norm in recur": dict(recur=lambda p, c, z: normed(p, plain.recur(p, c, z))),
        "a number in update": dict(update=scaled(0.99)),
        "an array [B, 1] in update": dict(update=scaled(jnp.full((B, 1), 0.99))),
    }

    def made(changed):
        parts = plain._replace(**changed)._asdict()
        return jaxrnn.gated(init=init, initial_carry=start, **parts)

    start = lambda p, x: lstm.initial_carry(p[0], x)
    return {name: made(changed) for name, changed in variants.items()}


def measure(size: str, seconds: float) -> dict:
    """Samples of each cell on both engines."""
    T, B, D, H = work.SIZES[size]
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    runs = {}
    for name, cell in cells(H, B).items():
        params = cell.init(jax.random.key(0), D)
        for engine in ("gated", "scan"):

            def loss(params, xs, cell=cell, engine=engine):
                return jnp.sum(
                    jaxrnn.unroll(cell, params, None, xs, engine=engine)[1] ** 2
                )

            compiled = jax.jit(jax.grad(loss, (0, 1))).lower(params, xs).compile()
            runs[f"{name}, {engine}"] = lambda f=compiled, p=params: (
                jax.block_until_ready(f(p, xs))
            )
    return timing.interleaved(runs, seconds=seconds)


def main(settings: Settings) -> None:
    found = machine() | {"rows": []}
    for size in settings.sizes:
        samples = measure(size, settings.seconds)
        found["rows"].append({"size": size, "seconds": samples})
        for name in dict.fromkeys(key.rsplit(",", 1)[0] for key in samples):
            gated, scan = (min(samples[f"{name}, {e}"]) for e in ("gated", "scan"))
            print(
                f"{size} {name}: {1e3 * gated:.1f} ms gated, {1e3 * scan:.1f} scan, "
                f"{scan / gated:.2f}",
                flush=True,
            )
    settings.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
