"""How the time of forward and backward grows with T, B and H, one varied at a time.

    python -m benchmarks.scaling                measures, ten minutes or more, and draws
    python -m benchmarks.scaling --draw-only    draws what was measured before

D is fixed where H varies. Every size is measured as in the matrix: checked against
float64, then in interleaved rounds.
"""

import json
import pathlib
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import tyro
from matplotlib.figure import Figure

from benchmarks import __main__ as matrix
from benchmarks import contestants, work
from benchmarks.machine import machine
from jaxrnn.plot import COLOURS

MIDDLE = work.Work("lstm", T=128, B=32, D=128, H=128)
AXES = {"T": "T (steps)", "B": "B (rows of a batch)", "H": "H (units)"}


@dataclass(frozen=True)
class Settings:
    """What to measure, and where to draw it."""

    cell: Literal["simple_rnn", "gru", "lstm"] = "lstm"
    T: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024, 2048)
    B: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    H: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
    peers: tuple[str, ...] = ("plain scan", "linen", "haiku", "torch")
    seconds: float = 10.0  # for the rounds of one size
    draw_only: bool = False  # from `out`, as an earlier run wrote it
    out: pathlib.Path = pathlib.Path("benchmarks/results/scaling.json")
    picture: pathlib.Path = pathlib.Path("docs/scaling.svg")


def sizes(settings: Settings) -> list[work.Work]:
    """The middle point, once, then one of its sizes changed."""
    middle = MIDDLE._replace(cell=settings.cell)
    changed = [
        middle._replace(**{axis: size})
        for axis in AXES
        for size in getattr(settings, axis)
    ]
    return list(dict.fromkeys([middle, *changed]))


def along(axis: str, rows: list[dict]) -> list[dict]:
    """The rows in which the other sizes are the middle point's, by size."""
    others = {name: getattr(MIDDLE, name) for name in "TBDH" if name != axis}
    fitting = [row for row in rows if others.items() <= row.items()]
    return sorted(fitting, key=lambda row: row[axis])


def draw(found: dict) -> Figure:
    """One panel per axis: medians, with a band from the minimum to the third quartile."""
    names = dict.fromkeys(name for row in found["rows"] for name in row["seconds"])
    colours = dict(zip(names, COLOURS, strict=False))
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, len(AXES), sharey=True)
    for ax, (axis, label) in zip(panels, AXES.items(), strict=True):
        rows = along(axis, found["rows"])
        ideal(ax, axis, rows)
        for name, colour in colours.items():
            there = [row for row in rows if name in row["seconds"]]
            at = [row[axis] for row in there]
            low, middle, high = np.reshape(
                [1e3 * np.percentile(r["seconds"][name], [0, 50, 75]) for r in there],
                (-1, 3),
            ).T
            ax.plot(at, middle, ".-", color=colour, label=name)
            ax.fill_between(at, low, high, color=colour, alpha=0.25, linewidth=0)
        ticks = [row[axis] for row in rows]
        ax.set(xscale="log", yscale="log", xlabel=label)
        ax.set_xticks(ticks, map(str, ticks), rotation=45)
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    one = found["rows"][0]
    panels[0].set_ylabel(f"{one['cell']}, forward and backward (ms)")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=9, frameon=False)
    return figure


def ideal(ax: Any, axis: str, rows: list[dict]) -> None:
    """A line of slope 1, below all others at the largest size."""
    at = np.array([row[axis] for row in rows])
    end = 1e3 / 2 * min(min(seconds) for seconds in rows[-1]["seconds"].values())
    ax.plot(at, end * at / at[-1], color="0.7", linewidth=0.8, label="time ∝ size")


def measure(settings: Settings) -> None:
    found = machine() | {"rows": []}
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    asked = matrix.Settings(
        modes=("backward",),
        peers=settings.peers,
        split=(),
        seconds=settings.seconds,
    )
    for one in sizes(settings):
        (row,) = matrix.measure(one, asked)
        found["rows"].append(row)
        times = {n: 1e3 * np.median(s) for n, s in row["seconds"].items()}
        print(*one, *(f"{n} {ms:.2f}" for n, ms in times.items()), "ms", flush=True)
        settings.out.write_text(json.dumps(found, indent=1))
        jax.clear_caches()


def main(settings: Settings) -> None:
    unknown = [p for p in settings.peers if p not in contestants.NAMES[1:]]
    if unknown:
        known = contestants.NAMES[1:]
        raise SystemExit(f"expected peers among {known}, got {unknown}")
    if not settings.draw_only:
        measure(settings)
    figure = draw(json.loads(settings.out.read_text()))
    figure.savefig(settings.picture)
    print("picture:", settings.picture)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
