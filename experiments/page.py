"""docs/claims.md, an article made of the results."""

import argparse
import pathlib
import sys

import matplotlib

from experiments.catalogue import EXPERIMENTS
from experiments.registry import FOLDER, Experiment, load, results

DOCS = FOLDER.parent / "docs"
PAGE = DOCS / "claims.md"
BEGIN = """\
# What RNN, LSTM and GRU can and cannot do

Made by `python -m experiments.page` from the files in `experiments/results/`; do not edit.

A course on recurrent networks makes a few claims in passing: the basic RNN forgets; the LSTM's
cell state is a conveyor belt along which gradients flow; a gate at 0 lets nothing through and
at 1 everything; the GRU is simpler and about as good. Here each of them is tested, and the
field's classic tables are made again beside them.

How: every cell has the same number of configurations to choose from (4 learning rates, 2
values of one more hyperparameter), chosen with seeds that are reported nowhere. Cells of equal
width and of equal parameters are both shown. Seeds are paired: the n-th network of two cells
reads the same data. Numbers are medians over seeds with a 95% bootstrap interval, never the
best; a run that does not reach a threshold counts as "never" and is not left out. What passes
as a success was written down before the run and stands with each claim as *the rule*. Sizes
are smaller than the published ones, so that all of it runs on 2 CPU cores in an afternoon.

`make claims` makes what is missing, `python -m experiments NAME` one experiment; delete its
file in `experiments/results/` to make it anew.
"""


def part(experiment: Experiment) -> str:
    """One experiment's section."""
    command = f"`python -m experiments {experiment.name}`"
    lines = [f"## {experiment.title}", f"*The rule.* {experiment.rule}"]
    found = results(experiment)
    if found is None:
        lines += [f"Not made yet: {command}, about {experiment.minutes:g} minutes."]
        return "\n\n".join(lines)
    passes, sentence = experiment.verdict(experiment.settings, found)
    word = {True: "It holds", False: "It does not hold", None: "Undecided"}[passes]
    lines += [f"**{word}**: {sentence}."]
    lines += [experiment.section(experiment.settings, found)]
    if experiment.draw is not None:
        lines += [f"![{experiment.title}](claims/{experiment.name}.png)"]
    saved = load(experiment)
    if not saved:
        return "\n\n".join([*lines, f"{command}."])
    minutes = sum(piece["seconds"] for piece in saved.values()) / 60
    made = [piece["made"] for piece in saved.values()]
    days = sorted({m["on"] for m in made})
    versions = sorted({f"JAX {m['jax']}" for m in made})
    lines += [
        f"{command}: {minutes:.0f} minutes on {made[0]['machine']}, {', '.join(versions)}, "
        f"{days[0] if len(days) == 1 else f'{days[0]} to {days[-1]}'}."
    ]
    return "\n\n".join(lines)


def page() -> str:
    """All of it."""
    return "\n\n".join([BEGIN.strip(), *map(part, EXPERIMENTS)]) + "\n"


def figures() -> list[pathlib.Path]:
    """Where the figure of each experiment that is made lies."""
    return [
        DOCS / "claims" / f"{experiment.name}.png"
        for experiment in EXPERIMENTS
        if experiment.draw is not None and results(experiment) is not None
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.page", description=__doc__
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    if parser.parse_args().check:
        agree = PAGE.exists() and PAGE.read_text() == page()
        missing = [str(path) for path in figures() if not path.exists()]
        if not agree:
            print(f"{PAGE}: not what the results say. Run python -m experiments.page.")
        if missing:
            print(f"missing: {', '.join(missing)}. Run python -m experiments.page.")
        return 0 if agree and not missing else 1
    matplotlib.use("Agg")
    for experiment in EXPERIMENTS:
        found = results(experiment)
        if experiment.draw is not None and found is not None:
            path = DOCS / "claims" / f"{experiment.name}.png"
            path.parent.mkdir(exist_ok=True)
            experiment.draw(experiment.settings, found, path)
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
