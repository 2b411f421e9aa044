"""`docs/benchmarks.md` from the JSON that the benchmarks wrote; measures nothing.

python -m benchmarks.page
"""

import json
import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import tyro

from benchmarks import report


class Section(NamedTuple):
    """One benchmark on the page: its title, JSON, command, and how it is shown."""

    title: str
    name: str
    command: str
    show: Callable
    text: str = ""


# All of glibc's memory kept by the process, so that no call fetches fresh pages.
MALLOC = "MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296"
SECTIONS = (
    Section("The matrix", "matrix", "python -m benchmarks", report.matrix),
    Section(
        "Large sizes, memory kept by the process",
        "matrix_malloc",
        f"{MALLOC} python -m benchmarks --cells gru lstm --sizes D256-H512 H1024 "
        "--modes backward --out benchmarks/results/matrix_malloc.json",
        report.matrix,
        "Temporaries of more than 32 MB are given back to the system after each call and "
        "fetched anew, page by page, in the next. Two variables of glibc keep them, for "
        "all libraries in the process alike; jaxrnn sets nothing of the kind by itself.",
    ),
    Section(
        "bfloat16 on a CPU",
        "matrix_bfloat16",
        "python -m benchmarks --cells gru lstm --sizes H64 D64-H128 H256 --modes forward "
        "backward --dtype bfloat16 --out benchmarks/results/matrix_bfloat16.json",
        report.matrix,
    ),
    Section(
        "On a GPU",
        "matrix_gpu",
        "python -m benchmarks --sizes H64 H256 H768 --dtype bfloat16 "
        "--out benchmarks/results/matrix_gpu.json",
        report.matrix,
    ),
    Section(
        "Ragged rows",
        "ragged",
        "python -m benchmarks.ragged",
        report.ragged,
        "Lengths uniform in 1..T: `lengths=` beside Flax's `seq_lengths` and torch's "
        "packed sequences, forward and backward.",
    ),
    Section(
        "Long sequences",
        "long",
        "python -m benchmarks.long",
        report.long,
        "What `remat` saves and costs, forward and backward.",
    ),
    Section(
        "Populations",
        "population",
        "python -m benchmarks.population",
        report.population,
        "LSTMs with learning rates and seeds of their own, T=64, 16 rows, 8 features, "
        "Adam: in one program by `train.sweep`, one after the other, and in torch.",
    ),
    Section(
        "Time against size",
        "scaling",
        "python -m benchmarks.scaling",
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
        "`make bench` measures all of this again, in about an hour; each section names "
        "its own command. Every sample is in `benchmarks/results/`, and `python -m "
        "benchmarks.page` makes this page of them. Times are milliseconds, median "
        "(minimum) of interleaved rounds in one process; compilation is apart. A ratio "
        "is the median of the rounds' ratios and its 95% bootstrap interval, above 1 "
        "where jaxrnn is faster. GFLOP/s count the matmuls alone, by jaxrnn's median. A "
        "peer that has no such cell is left out; all were checked against float64 "
        "before they were timed.",
    ]
    for section in SECTIONS:
        file = results / f"{section.name}.json"
        if not file.exists():
            continue
        text += ["", f"## {section.title}", ""]
        text += [section.text, ""] if section.text else []
        shown = section.show(json.loads(file.read_text()))
        text += [f"`{section.command}`", "", shown.rstrip("\n")]
    return "\n".join(text) + "\n"


def main(settings: Settings) -> None:
    settings.page.write_text(page(settings.results))
    print(f"wrote {settings.page}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
