"""The matrix: cells by sizes by modes, jaxrnn beside its peers.

    python -m benchmarks                                 everything, an hour or more
    python -m benchmarks --sizes H64 H256 --cells lstm   a part of it

Contestants are checked against float64 before they are timed, and take turns in every
round. Writes JSON with every sample, and a page of tables.
"""

import gc
import json
import pathlib
from dataclasses import dataclass
from typing import Literal

import jax
import tyro

from benchmarks import contestants, report, timing, work
from benchmarks.machine import machine


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    cells: tuple[Literal["simple_rnn", "gru", "lstm"], ...] = tuple(work.CELLS)
    sizes: tuple[str, ...] = tuple(work.SIZES)
    modes: tuple[Literal["forward", "backward", "adam"], ...] = work.MODES
    peers: tuple[str, ...] = contestants.NAMES[1:]
    seconds: float = 15.0  # for the rounds of one cell, size and mode
    out: pathlib.Path = pathlib.Path("benchmarks/results/matrix.json")
    page: pathlib.Path | None = None  # the tables, in Markdown


def measure(one: work.Work, settings: Settings) -> list[dict]:
    """One row a mode: samples, compile times and temporaries of every contestant."""
    numbers = work.draw(one)
    wanted = work.oracle(one, numbers)
    entrants = {}
    for name in ("jaxrnn", *settings.peers):
        entrant = contestants.make(name, one, numbers, settings.modes)
        if entrant is None:
            continue
        work.check(name, entrant.result(), wanted)
        entrants[name] = entrant
    rows = []
    for mode in settings.modes:
        runs = {name: entrant.runs[mode] for name, entrant in entrants.items()}
        for run in runs.values():
            run()
            run()
        samples = timing.interleaved(runs, seconds=settings.seconds)
        rows.append(
            {
                **one._asdict(),
                "mode": mode,
                "flops": one.flops(mode),
                "seconds": samples,
                "compile": {n: e.compile.get(mode) for n, e in entrants.items()},
                "temporary": {n: e.temporary.get(mode) for n, e in entrants.items()},
            }
        )
    return rows


def main(settings: Settings) -> None:
    unknown = [s for s in settings.sizes if s not in work.SIZES]
    unknown += [p for p in settings.peers if p not in contestants.NAMES]
    if unknown:
        known = [*work.SIZES, *contestants.NAMES[1:]]
        raise SystemExit(f"expected names among {known}, got {unknown}")
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
    page = report.page(found)
    print(page)
    if settings.page:
        settings.page.write_text(page)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
