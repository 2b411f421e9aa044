"""From samples to tables."""

import statistics

import numpy as np

from benchmarks.timing import ratio

TITLES = {
    "forward": "Forward",
    "backward": "Forward and backward: params, initial carry and inputs",
    "adam": "A whole step of Adam",
}
JAX_PEERS = ("linen", "nnx", "haiku", "equinox", "keras")


def line(row: dict) -> str:
    """One row for the eye, while it runs: milliseconds, the minimum of each."""
    times = [f"{n} {1e3 * min(s):.2f}" for n, s in row["seconds"].items()]
    return f"{row['cell']:11}{row['size']:10}{row['mode']:9}" + "  ".join(times)


def best_peer(row: dict) -> str | None:
    """The JAX peer with the least median."""
    there = [name for name in JAX_PEERS if name in row["seconds"]]
    return min(there, key=lambda n: statistics.median(row["seconds"][n]), default=None)


def page(found: dict) -> str:
    """Markdown: the machine, then a table for each mode."""
    versions = ", ".join(f"{k} {v}" for k, v in found["versions"].items())
    flags = found["environment"] or "none of XLA, JAX, MALLOC, OMP and MKL"
    text = [
        "# Benchmarks",
        "",
        "Written by `python -m benchmarks --page docs/benchmarks.md`, which measures and "
        "checks all of it again; every sample is in `benchmarks/results/`.",
        "",
        f"{found['date']}, {found['cpu']}, {found['cores']} cores, {found['device']}, "
        f"Python {found['python']}: {versions}. Environment: {flags}. One large float32 "
        f"`jnp.dot` reaches {found['dot_gflops']:.0f} GFLOP/s here.",
        "",
        "Milliseconds, median (minimum) of interleaved rounds. Ratios are the median of "
        "the rounds' ratios and its 95% bootstrap interval. GFLOP/s count the matmuls "
        "alone, by jaxrnn's median. A peer that has no such cell is left out.",
    ]
    for mode, title in TITLES.items():
        rows = [row for row in found["rows"] if row["mode"] == mode]
        if rows:
            text += ["", f"## {title}", "", *_times(rows, found["dot_gflops"])]
            text += ["", "How many times as long as jaxrnn:", "", *_ratios(rows)]
    compiled = [row for row in found["rows"] if row["mode"] == "backward"]
    if compiled:
        text += ["", "## Compiling forward and backward", "", *_compile(compiled)]
    return "\n".join(text) + "\n"


def _times(rows: list, dot: float) -> list[str]:
    names = _names(rows)
    head = ["cell", "T, B, D, H", *names, "GFLOP/s", "of dot"]
    lines = [_row(head), _row(["---"] * len(head))]
    for row in rows:
        seconds = row["seconds"]
        gflops = row["flops"] / statistics.median(seconds["jaxrnn"]) / 1e9
        shown = [_ms(seconds[n]) if n in seconds else "" for n in names]
        lines.append(
            _row([*_what(row), *shown, f"{gflops:.0f}", f"{gflops / dot:.0%}"])
        )
    return lines


def _ratios(rows: list) -> list[str]:
    head = ["cell", "T, B, D, H", "best JAX peer", "plain scan", "torch"]
    lines = [_row(head), _row(["---"] * len(head))]
    compared: dict[str, list] = {name: [] for name in head[2:]}
    for row in rows:
        seconds, shown = row["seconds"], []
        for title, name in zip(head[2:], (best_peer(row), *head[3:]), strict=True):
            if name not in seconds:
                shown.append("")
                continue
            r = ratio(seconds[name], seconds["jaxrnn"])
            compared[title].append(r.median)
            label = f" {name}" if name != title else ""
            shown.append(f"{r.median:.2f} [{r.low:.2f}, {r.high:.2f}]{label}")
        lines.append(_row([*_what(row), *shown]))
    means = [np.exp(np.mean(np.log(v))) if v else np.nan for v in compared.values()]
    return [*lines, _row(["geometric mean", "", *(f"{m:.2f}" for m in means)])]


def _what(row: dict) -> list[str]:
    return [row["cell"], ", ".join(str(row[k]) for k in "TBDH")]


def _compile(rows: list) -> list[str]:
    names = [n for n in _names(rows) if n != "torch"]
    lines = [_row(["cell", "T, B, D, H", *names]), _row(["---"] * (2 + len(names)))]
    for row in rows:
        shown = []
        for n in names:
            seconds, size_of = row["compile"].get(n), row["temporary"].get(n)
            shown.append(
                "" if seconds is None else f"{seconds:.2f}, {size_of / 1e6:.1f}"
            )
        lines.append(_row([*_what(row), *shown]))
    return ["Seconds to trace and compile, and megabytes of temporaries.", "", *lines]


def _names(rows: list) -> list[str]:
    return list(dict.fromkeys(n for row in rows for n in row["seconds"]))


def _ms(seconds: list) -> str:
    return f"{1e3 * statistics.median(seconds):.2f} ({1e3 * min(seconds):.2f})"


def _row(cells: list) -> str:
    return "| " + " | ".join(cells) + " |"
