"""The matrix: jaxrnn and other libraries for each cell, size and mode.

    python -m benchmarks                                 everything, half an hour
    python -m benchmarks --sizes H64 H256 --cells lstm   a part of it
    python -m benchmarks --sizes H768 --dtype bfloat16   on a GPU

Every library is checked against float64 before it is timed, and each round runs all of
them. Writes JSON with every sample and prints the tables of `docs/benchmarks.md`.
`python -m benchmarks.page` writes that page from the JSON.
"""

import gc
import json
import math
import os
import pathlib
from dataclasses import dataclass
from typing import Literal

import jax
import tyro

from benchmarks import contestants, report, timing, work
from benchmarks.machine import machine, peak_bytes


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    cells: tuple[Literal["simple_rnn", "gru", "lstm"], ...] = tuple(work.CELLS)
    sizes: tuple[str, ...] = tuple(s for s in work.SIZES if s != "H768")
    modes: tuple[Literal["forward", "backward", "adam"], ...] = work.MODES
    peers: tuple[str, ...] = contestants.NAMES[1:]
    devices: int = os.cpu_count() or 1  # CPU devices over which a batch is split
    # contestants that run forward and backward on several devices
    split: tuple[str, ...] = ("jaxrnn", "linen", "haiku", "equinox")
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    tf32: bool = False  # let matmuls of float32 round to TF32, on a GPU
    seconds: float = 5.0  # for the rounds of one cell, size and mode
    out: pathlib.Path = pathlib.Path("benchmarks/results/matrix.json")


def entrants(one: work.Work, settings: Settings) -> dict:
    """name -> a contestant, checked, for each library that has the cell."""
    numbers = work.draw(one, settings.dtype)
    wanted = work.oracle(one, numbers)
    tolerance = work.TOLERANCE[settings.dtype] * (50 if settings.tf32 else 1)
    made = {}

    def enter(title, name, modes, **options):
        given = options | {"dtype": settings.dtype}
        entrant = contestants.make(name, one, numbers, modes, **given)
        if entrant is not None:
            work.check(title, entrant.result(), wanted, tolerance)
            made[title] = entrant

    for name in ("jaxrnn", *settings.peers):
        enter(name, name, settings.modes)
    devices = math.gcd(one.B, settings.devices)
    several = tuple(mode for mode in settings.modes if mode == "backward")
    if devices > 1 and several:
        for name in settings.split:
            enter(f"{name} on {devices}", name, several, devices=devices)
        if "jaxrnn" in settings.split:
            title, how = f"jaxrnn on {devices}, by XLA", {"automatic": True}
            enter(title, "jaxrnn", several, devices=devices, **how)
    return made


def measure(one: work.Work, settings: Settings) -> list[dict]:
    """One row per mode: samples, compile times and memory of every contestant."""
    made = entrants(one, settings)
    rows = []
    for mode in settings.modes:
        runs = {n: e.runs[mode] for n, e in made.items() if mode in e.runs}
        for run in runs.values():
            run()
            run()
        samples = timing.interleaved(runs, seconds=settings.seconds, least=5)
        rows.append(
            {
                **one._asdict(),
                "mode": mode,
                "dtype": settings.dtype,
                "flops": one.flops(mode),
                "seconds": samples,
                "compile": {n: made[n].compile.get(mode) for n in runs},
                "temporary": {n: made[n].temporary.get(mode) for n in runs},
                "peak": {n: peak_bytes(run) for n, run in runs.items()},
            }
        )
    return rows


def main(settings: Settings) -> None:
    unknown = [s for s in settings.sizes if s not in work.SIZES]
    unknown += [
        p for p in (*settings.peers, *settings.split) if p not in contestants.NAMES
    ]
    if unknown:
        known = [*work.SIZES, *contestants.NAMES[1:]]
        raise SystemExit(f"expected names among {known}, got {unknown}")
    jax.config.update("jax_num_cpu_devices", settings.devices)
    contestants.pin_precision(settings.tf32)
    found = machine() | {"rows": []}
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    for cell in settings.cells:
        for size in settings.sizes:
            rows = measure(work.Work(cell, *work.SIZES[size]), settings)
            found["rows"] += [{"size": size, **row} for row in rows]
            for row in found["rows"][-len(rows) :]:
                print(report.line(row), flush=True)
            settings.out.write_text(json.dumps(found, indent=1))
            jax.clear_caches()
            gc.collect()
    print(report.matrix(found))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
