"""docs/cells.md: every cell, what it costs, and what it learns.

    python -m experiments.cells_page
    python -m experiments.cells_page --check

Of the results of `python -m experiments which_cell` and `python -m benchmarks.cells`.
"""

import argparse
import json
import sys
from typing import NamedTuple

from experiments import which_cell
from experiments.registry import FOLDER, load, results

PAGE = FOLDER.parent / "docs" / "cells.md"
TIMES = FOLDER.parent / "benchmarks" / "results" / "cells.json"


class Row(NamedTuple):
    """A cell in the first table.

    Fields:
        cell: as one calls it.
        paper: authors and year.
        computes: its equation in short.
        timed: its name in the benchmark's results.
    """

    cell: str
    paper: str
    computes: str
    timed: str


VECTORS = (
    Row("simple_rnn", "Elman 1990", "h' = φ(x W + h U)", "simple_rnn"),
    Row(
        "lstm",
        "Hochreiter & Schmidhuber 1997, Gers et al. 2000",
        "c' = f c + i g, h' = o tanh(c')",
        "lstm",
    ),
    Row(
        "peephole_lstm",
        "Gers & Schmidhuber 2000",
        "i and f also see c, o sees c'",
        "peephole_lstm",
    ),
    Row("coupled_lstm", "Greff et al. 2017", "f = 1 - i", "coupled_lstm"),
    Row(
        "projected_lstm(hidden, projection)",
        "Sak et al. 2014",
        "h' = (o tanh(c')) W, narrower than c",
        "projected_lstm, P=64",
    ),
    Row(
        "layer_norm_lstm",
        "Ba et al. 2016",
        "layer norms of x W, of h U and of c'",
        "layer_norm_lstm",
    ),
    Row(
        "slstm(hidden, heads=)",
        "Beck et al. 2024",
        "i = exp(ĩ), c' = f c + i g, n' = f n + i, h' = o c' / n'",
        "slstm, 4 heads",
    ),
    Row("gru", "Cho et al. 2014", "h' = (1 - z) n + z h, n sees r (h U)", "gru"),
    Row(
        "gru(hidden, reset_after=False)",
        "Cho et al. 2014",
        "n sees (r h) U, as in the paper",
        "gru, reset before",
    ),
    Row(
        "layer_norm_gru",
        "Ba et al. 2016",
        "layer norms of x W and of h U",
        "layer_norm_gru",
    ),
    Row(
        "dreamer_gru",
        "Hafner et al. 2023",
        "one layer norm over x W + h U",
        "dreamer_gru",
    ),
    Row("mgu", "Zhou et al. 2016", "one gate f keeps and resets", "mgu"),
    Row(
        "janet",
        "van der Westhuizen & Lasenby 2018",
        "the LSTM with the forget gate alone",
        "janet",
    ),
    Row("ugrnn", "Collins et al. 2017", "the GRU without a reset", "ugrnn"),
    Row(
        "ind_rnn",
        "Li et al. 2018",
        "h' = φ(x W + u h): a unit reads its own past alone",
        "ind_rnn",
    ),
    Row(
        "antisymmetric_rnn(hidden, gate=True)",
        "Chang et al. 2019",
        "h' = h + ε z tanh(x W + h (U - Uᵀ - γ)), without z by default",
        "antisymmetric_rnn, gate",
    ),
    Row(
        "cornn",
        "Rusch & Mishra 2021",
        "coupled oscillators, of position h and velocity v",
        "cornn",
    ),
    Row(
        "lem",
        "Rusch et al. 2022",
        "two states; learned gates set each unit's time step",
        "lem",
    ),
    Row(
        "leaky_rnn(hidden, tau=, dt=)",
        "Song et al. 2016",
        "v' = (1 - α) v + α (x W + h U), h' = φ(v'); excitatory and inhibitory units (`signs=`), connectivity (`mask=`)",
        "leaky_rnn",
    ),
)
OF_IMAGES = (
    Row(
        "conv_lstm(hidden, kernel)",
        "Shi et al. 2015",
        "the LSTM of images of 1 to 3 dimensions, by convolutions",
        "conv_lstm, 3x3",
    ),
    Row(
        "conv_gru(hidden, kernel)",
        "Ballas et al. 2016",
        "the GRU of images",
        "conv_gru, 3x3",
    ),
)

BEGIN = """\
# Cells

Made by `python -m experiments.cells_page` from measurements; do not edit.

h is the hidden state, which is also the output, and c is a cell state behind it; a prime marks the next step's. x W is an input projection and h U a recurrent
one; biases are left out. i, f, o, r and z are gates, g and n candidates, φ is an activation, and α, ε and γ are numbers.
"""
AFTER_TABLE = """\
Params, carries and gates are NamedTuples in `jaxrnn.cells`. The docstring of a cell's module has its equations. These pages go on:
[time](time.md) (lengths, masks, resets), [cells from cells](compositions.md), [noise](noise.md), [mixed precision](precision.md) and
[a cell of your own](own_cell.md).

## Initial values

Input kernels are Glorot-uniform and recurrent kernels orthogonal, *per gate*. (`ind_rnn` draws its recurrent weights uniformly, and `antisymmetric_rnn` its
recurrent kernel normally.) Biases are zero, except the LSTMs' forget bias and the keep gate of some cells, which are initialised to 1 (`forget_bias=`,
`update_bias=`); `coupled_lstm` has -1 on the input gate instead, for there f = 1 - i. `initializers` also has chrono biases (Tallec & Ollivier
2018), the identity (IRNN, Le et al. 2015) and torch's uniform draws. Every factory takes `kernel_init`, `recurrent_init`,
`bias_init` and `dtype`.
"""


def costs(rows: tuple[Row, ...], times: dict) -> list[str]:
    """A table of cells, time in units of the first's that is measured alike."""
    of = {row["cell"]: row for row in times["rows"]}
    reference = "lstm" if rows is VECTORS else rows[0].timed
    least = min(of[reference]["gated"])
    lines = [
        "| cell | paper | what it computes | params | time |",
        "|---|---|---|--:|--:|",
    ]
    for row in rows:
        found = of[row.timed]
        lines.append(
            f"| `{row.cell}` | {row.paper} | {row.computes} | {found['params']:,} "
            f"| {min(found['gated']) / least:.2f} |"
        )
    return lines


def catalogue(times: dict) -> str:
    """The tables of all cells."""
    T, B, D, H = times["T, B, D, H"]
    steps, rows, *image, channels = times["images"]
    size = "x".join(map(str, image))
    about = (
        f"Params at H={H} and D={D} (`projected_lstm` with a projection of {H // 2}, `slstm` "
        f"with 4 heads; `antisymmetric_rnn` without its gate has 16,448). Time is that of a forward and backward pass over T={T} steps of B={B} "
        "rows, divided by the LSTM's: minima, all cells in turn in one run (`python -m "
        f"benchmarks.cells`, {times['date']}, {times['cores']} cores of {times['cpu']}, JAX "
        f"{times['versions']['jax']}, largest float32 `jnp.dot` {times['dot_gflops']:.0f} "
        "GFLOP/s). A GPU is unmeasured."
    )
    of_images = (
        f"Convolutional cells: {size} images, {channels} channels in and hidden, kernels of 3x3, "
        f"T={steps} B={rows}; time divided by `conv_lstm`'s:"
    )
    vectors, images = ("\n".join(costs(rows, times)) for rows in (VECTORS, OF_IMAGES))
    return "\n\n".join((vectors, about, of_images, images))


def learned() -> str:
    """The section that compares what cells learn."""
    experiment = which_cell.EXPERIMENT
    settings, found = experiment.settings, results(experiment)
    lines = [f"## {experiment.title}"]
    if found is None:
        command = f"`python -m experiments {experiment.name}`"
        start = "Start with `lstm` or `gru`: [what they can and cannot do](claims.md)."
        text = f"{start} A comparison of all cells is not made yet: {command}."
        return "\n\n".join([*lines, text])
    made = load(experiment).values()
    minutes = sum(piece["seconds"] for piece in made) / 60
    machine = {piece["made"]["machine"] for piece in made}
    days = sorted({piece["made"]["on"] for piece in made})
    lines += [experiment.section(settings, found)]
    lines += [
        f"`python -m experiments {experiment.name}`: {minutes:.0f} min of one core, "
        f"{', '.join(sorted(machine))}, {' to '.join(dict.fromkeys((days[0], days[-1])))}."
    ]
    return "\n\n".join(lines)


def page() -> str:
    """All of it."""
    times = json.loads(TIMES.read_text())
    parts = (BEGIN.strip(), catalogue(times), AFTER_TABLE.strip(), learned())
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.cells_page", description=__doc__
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    made = page()
    if not parser.parse_args().check:
        PAGE.write_text(made)
        return 0
    if old := PAGE.read_text() != made:
        print(
            f"{PAGE}: not what the results say. Run python -m experiments.cells_page."
        )
    return int(old)


if __name__ == "__main__":
    sys.exit(main())
