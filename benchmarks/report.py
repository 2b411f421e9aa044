"""Tables in Markdown from samples."""

import statistics
from collections.abc import Callable

import numpy as np

from benchmarks.timing import ratio

TITLES = {
    "forward": "Forward",
    "backward": "Forward and backward: params, initial carry and inputs",
    "adam": "A whole step of Adam",
}
JAX_PEERS = ("linen", "nnx", "haiku", "equinox", "keras", "cudnn")


def line(row: dict) -> str:
    """One printed row while it runs: the minimum of each, in milliseconds."""
    times = [f"{n} {1e3 * min(s):.2f}" for n, s in row["seconds"].items()]
    return f"{row['cell']:11}{row['size']:10}{row['mode']:9}" + "  ".join(times)


def machine(found: dict) -> str:
    """The command, and what it was measured on."""
    versions = ", ".join(f"{k} {v}" for k, v in found["versions"].items())
    flags = found["environment"] or "none of XLA, JAX, MALLOC, GLIBC, OMP and MKL"
    return (
        f"`{found['command']}`\n\n"
        f"{found['date']}, {found['cpu']}, {found['cores']} cores, {found['device']}, "
        f"Python {found['python']}: {versions}. Environment: {flags}. One large float32 "
        f"`jnp.dot` reached {found['dot_gflops']:.0f} GFLOP/s in the same run."
    )


def matrix(found: dict) -> str:
    """The tables of `python -m benchmarks`."""
    text = [machine(found)]
    for mode, title in TITLES.items():
        rows = [row for row in found["rows"] if row["mode"] == mode]
        if not rows:
            continue
        text += ["", f"### {title}", "", *_times(rows, found["dot_gflops"])]
        text += ["", "Time divided by jaxrnn's:", "", *_ratios(rows)]
        if mode == "backward":
            split = [row for row in rows if _on_several(row, "jaxrnn")]
            text += _several(split) if split else []
            text += ["", "### Compiling, and memory", "", *_memory(rows)]
    return "\n".join(text) + "\n"


def best_peer(row: dict, several: bool = False) -> str | None:
    """The JAX peer with the least median, on one device or, if asked, on several."""
    names = [n for n in row["seconds"] if n.split(" on ")[0] in JAX_PEERS]
    there = [n for n in names if several or " on " not in n]
    return min(there, key=lambda n: statistics.median(row["seconds"][n]), default=None)


def _on_several(row: dict, name: str, by_xla: bool = False) -> str | None:
    for n in row["seconds"]:
        if n.startswith(f"{name} on ") and n.endswith("by XLA") == by_xla:
            return n
    return None


def _times(rows: list, dot: float) -> list[str]:
    names = [n for n in _names(rows) if " on " not in n]
    head = ["cell", "T, B, D, H", *names, "µs a step", "GFLOP/s", "of dot"]

    def cells(row):
        seconds = row["seconds"]
        ours = statistics.median(seconds["jaxrnn"])
        gflops = row["flops"] / ours / 1e9
        shown = [_ms(seconds[n]) if n in seconds else "" for n in names]
        step = f"{1e6 * ours / row['T']:.1f}"
        return [*_what(row), *shown, step, f"{gflops:.0f}", f"{gflops / dot:.0%}"]

    return table(head, [cells(row) for row in rows])


def _ratios(rows: list) -> list[str]:
    return _compare(
        rows,
        lambda row: "jaxrnn",
        {
            "best JAX peer": best_peer,
            "plain scan": lambda row: "plain scan",
            "torch": lambda row: "torch",
        },
    )


def _several(rows: list) -> list[str]:
    """The batch split over devices; each peer on one or on several, whichever is faster."""
    ours = lambda row: _on_several(row, "jaxrnn")
    count = ours(rows[0]).split()[-1]
    return [
        "",
        f"### The batch over {count} devices: forward and backward",
        "",
        "By `shard_map`, with one sum of the weight gradients at the end. The columns "
        "are times divided by jaxrnn's. JAX peers run on one device or on "
        f"{count}, whichever is faster for them:",
        "",
        *_compare(
            rows,
            ours,
            {
                "best JAX peer": lambda row: best_peer(row, several=True),
                "torch": lambda row: "torch",
                "jaxrnn on one": lambda row: "jaxrnn",
                "split by XLA": lambda row: _on_several(row, "jaxrnn", by_xla=True),
            },
            times=True,
        ),
    ]


def _compare(rows: list, ours: Callable, others: dict, times=False) -> list[str]:
    """Ratios of others to ours and their geometric means, by cell and over all."""
    compared: dict[tuple, list] = {}
    body = []
    for row in rows:
        seconds, shown = row["seconds"], []
        for title, choose in others.items():
            name = choose(row)
            if name not in seconds:
                shown.append("")
                continue
            r = ratio(seconds[name], seconds[ours(row)])
            for group in (row["cell"], "all"):
                compared.setdefault((group, title), []).append(r.median)
            label = f" {name}" if title == "best JAX peer" else ""
            shown.append(f"{r.median:.2f} [{r.low:.2f}, {r.high:.2f}]{label}")
        own = [_ms(seconds[ours(row)])] if times else []
        body.append([*_what(row), *own, *shown])
    for group in dict.fromkeys([row["cell"] for row in rows] + ["all"]):
        means = [compared.get((group, title)) for title in others]
        means = [f"{np.exp(np.mean(np.log(v))):.2f}" if v else "" for v in means]
        body.append([group, "geometric mean", *([""] if times else []), *means])
    return table(["cell", "T, B, D, H", *(["ms"] if times else []), *others], body)


def _memory(rows: list) -> list[str]:
    names = [n for n in _names(rows) if " on " not in n]

    def shown(row, n):
        seconds, temporary, peak = (
            row.get(k, {}).get(n) for k in ("compile", "temporary", "peak")
        )
        first = "" if seconds is None else f"{seconds:.2f} s, {temporary / 1e6:.1f}, "
        return first + ("" if peak is None else f"{peak / 1e6:.0f}")

    return [
        "Forward and backward: seconds to trace and compile, megabytes of temporaries "
        "as the compiler reports them, and the growth of the process during a call in "
        "megabytes (results and newly allocated memory).",
        "",
        *table(
            ["cell", "T, B, D, H", *names],
            [[*_what(row), *(shown(row, n) for n in names)] for row in rows],
        ),
    ]


def ragged(found: dict) -> str:
    body = [
        [*_what(row), name, _ms(seconds), *_ratio(seconds, row["seconds"]["jaxrnn"])]
        for row in found["rows"]
        for name, seconds in row["seconds"].items()
    ]
    head = ["cell", "T, B, D, H", "", "ms", "times jaxrnn's"]
    return "\n".join([machine(found), "", *table(head, body)]) + "\n"


def long(found: dict) -> str:
    by_length: dict[int, list] = {}
    for row in found["rows"]:
        by_length.setdefault(row["T"], []).append(row)
    body = []
    for rows in by_length.values():
        default, *_ = (row for row in rows if row["remat"] == "None")
        for row in rows:
            inner = row["temporary"] - row["outputs"]
            share = inner / (default["temporary"] - default["outputs"])
            body.append(
                [
                    *_what(row),
                    row["remat"],
                    _ms(row["seconds"]),
                    *_ratio(row["seconds"], default["seconds"]),
                    f"{row['temporary'] / 1e6:.1f}",
                    f"{row['outputs'] / 1e6:.1f}",
                    f"{share:.1%}",
                ]
            )
    head = ["cell", "T, B, D, H", "remat", "ms", "times None's", "MB of temporaries"]
    head += ["of them hs and its cotangent", "the rest, of None's"]
    return "\n".join([machine(found), "", *table(head, body)]) + "\n"


def population(found: dict) -> str:
    body = []
    for row in found["rows"]:
        for name, seconds in row["seconds"].items():
            each = row["members"] * row["updates"]
            size = [str(row[k]) for k in ("H", "members")]
            torch = _ratio(row["seconds"]["torch"], seconds)
            body.append([*size, name, _ms([s / each for s in seconds]), *torch])
    head = ["H", "members", "", "ms an update of a member", "torch takes, times it"]
    return "\n".join([machine(found), "", *table(head, body)]) + "\n"


def scaling(found: dict) -> str:
    return machine(found) + "\n\n![time against T, B and H](scaling.svg)\n"


def table(head: list, body: list) -> list[str]:
    rows = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _ratio(other: list, ours: list) -> list[str]:
    r = ratio(other, ours)
    return [f"{r.median:.2f} [{r.low:.2f}, {r.high:.2f}]"]


def _what(row: dict) -> list[str]:
    return [row["cell"], ", ".join(str(row[k]) for k in "TBDH")]


def _names(rows: list) -> list[str]:
    return list(dict.fromkeys(n for row in rows for n in row["seconds"]))


def _ms(seconds: list) -> str:
    return f"{1e3 * statistics.median(seconds):.2f} ({1e3 * min(seconds):.2f})"
