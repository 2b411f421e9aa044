"""`docs/benchmarks.md` from the JSON that the benchmarks wrote; measures nothing.

    python -m benchmarks.page

Besides what `make bench` writes, it shows these files if they exist:

    matrix_memory.json      a part of the matrix with the variables of docs/speed.md set
    matrix_bfloat16.json    with --dtype bfloat16
    matrix_gpu.json         on a machine with a GPU

written by `python -m benchmarks ... --out benchmarks/results/<name>`.
"""

import json
import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import tyro

from benchmarks import report


class Section(NamedTuple):
    """One benchmark on the page: its title, its JSON, and how it is shown."""

    title: str
    name: str
    show: Callable
    text: str = ""


SECTIONS = (
    Section("The matrix", "matrix", report.matrix),
    Section(
        "Large sizes, memory kept by the process",
        "matrix_memory",
        report.matrix,
        "[speed.md](speed.md#memory-that-stays) explains the variables.",
    ),
    Section("bfloat16 on a CPU", "matrix_bfloat16", report.matrix),
    Section("On a GPU", "matrix_gpu", report.matrix),
    Section(
        "Ragged rows",
        "ragged",
        report.ragged,
        "Lengths uniform in 1..T: `lengths=` compared with Flax's `seq_lengths` and "
        "torch's packed sequences, forward and backward.",
    ),
    Section(
        "Long sequences",
        "long",
        report.long,
        "Memory and time with `remat`, forward and backward.",
    ),
    Section(
        "Populations",
        "population",
        report.population,
        "LSTMs that each have their own learning rate and seed, T=64, 16 rows, 8 "
        "features, Adam: in one program by `train.sweep`, one after another, and in torch.",
    ),
    Section(
        "Time against size",
        "scaling",
        report.scaling,
        "Medians, with a band from the minimum to the third quartile of the rounds.",
    ),
)


@dataclass(frozen=True)
class Settings:
    """Where from and where to."""

    results: pathlib.Path = pathlib.Path("benchmarks/results")
    page: pathlib.Path = pathlib.Path("docs/benchmarks.md")


def page(results: pathlib.Path) -> str:
    text = [
        "# Benchmarks",
        "",
        "`make bench` repeats the measurements, in an hour or more. Each section names "
        "its command. All samples are in `benchmarks/results/`, and `python -m "
        "benchmarks.page` writes this page from them.",
        "",
        "Times are milliseconds, median (minimum) of interleaved rounds in one process, "
        "without compilation. A ratio is the median of the rounds' ratios, with its 95% "
        "bootstrap interval. In the matrix it is above 1 where jaxrnn is faster. GFLOP/s "
        "count the matmuls alone, by jaxrnn's median. A peer without such a cell is left "
        "out. In the matrix all results are checked against float64 before they are "
        "timed, and elsewhere against each other.",
    ]
    for section in SECTIONS:
        file = results / f"{section.name}.json"
        if not file.exists():
            continue
        text += ["", f"## {section.title}", ""]
        text += [section.text, ""] if section.text else []
        shown = section.show(json.loads(file.read_text()))
        text += [shown.rstrip("\n")]
    return "\n".join(text) + "\n"


def main(settings: Settings) -> None:
    settings.page.write_text(page(settings.results))
    print(f"wrote {settings.page}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
