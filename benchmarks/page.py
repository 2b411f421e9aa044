"""`docs/benchmarks.md` from the JSON that the benchmarks wrote; measures nothing.

    python -m benchmarks.page

Besides what `make bench` writes, it shows these where they are:

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
        "See [speed.md](speed.md#memory-that-stays).",
    ),
    Section("bfloat16 on a CPU", "matrix_bfloat16", report.matrix),
    Section("On a GPU", "matrix_gpu", report.matrix),
    Section(
        "Ragged rows",
        "ragged",
        report.ragged,
        "Lengths uniform in 1..T: `lengths=` beside Flax's `seq_lengths` and torch's "
        "packed sequences, forward and backward.",
    ),
    Section(
        "Long sequences",
        "long",
        report.long,
        "What `remat` saves and costs, forward and backward.",
    ),
    Section(
        "Populations",
        "population",
        report.population,
        "LSTMs with learning rates and seeds of their own, T=64, 16 rows, 8 features, "
        "Adam: in one program by `train.sweep`, one after the other, and in torch.",
    ),
    Section(
        "Time against size",
        "scaling",
        report.scaling,
        "Medians, and a band from the minimum to three of four rounds.",
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
        "`make bench` measures again, in an hour or more; each section names the command "
        "that wrote it. Every sample is in `benchmarks/results/`, and `python -m "
        "benchmarks.page` makes this page of them. Times are milliseconds, median "
        "(minimum) of interleaved rounds in one process; compilation is apart. A ratio "
        "is the median of the rounds' ratios and its 95% bootstrap interval; in the "
        "matrix it is above 1 where jaxrnn is faster. GFLOP/s count the matmuls alone, "
        "by jaxrnn's median. A peer that has no such cell is left out; in the matrix all "
        "are checked against float64 before they are timed, elsewhere against each other.",
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
