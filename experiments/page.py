"""docs/claims.md, an article made of the results."""

import argparse
import hashlib
import pathlib
import sys

import matplotlib
import matplotlib.pyplot as plt
from PIL import Image

from experiments.catalogue import EXPERIMENTS
from experiments.registry import FOLDER, Experiment, load, path_of, results

DOCS = FOLDER.parent / "docs"
PAGE = DOCS / "claims.md"
BEGIN = """\
# What RNN, LSTM and GRU can and cannot do

Made by `python -m experiments.page` from the files in `experiments/results/`; do not edit.

A course on recurrent networks makes a few claims in passing: the basic RNN forgets; the LSTM's
cell state is a conveyor belt along which gradients flow; a gate at 0 lets nothing through and
at 1 everything; the GRU is simpler and about as good. This page tests each of them. It also
reproduces the field's classic tables.

**Tuning.** Every cell chooses among the same 4 learning rates and 2 values of one option (4
learning rates alone where a table varies the option itself). The option is the norm to which the
simple RNN's gradients are clipped (1 or 0.1), the update bias of the GRU (0 or 3), the forget
bias of the LSTM (1 or 3), or what a section says. Two seeds choose, for as many updates as are
reported; their results are reported nowhere. This is a small budget. Where a cell chose 0.03, the
largest rate, a larger one might have been better.

**Numbers.** Seeds are paired: network n of each cell reads the same data. Numbers are medians
over seeds with a 95% bootstrap interval; of two middle values the worse is taken. A run that does
not reach a threshold counts as "never", and one that diverges as the worst. No run is left out.
Verdicts are at equal parameters unless they say otherwise. Where a table has equal widths too, it
shows both. Lines in the figures are medians, and bars and bands reach from the worst seed to the
best, unless the section says otherwise.

**Rules.** What passes was written down before the runs and is printed with each claim as *the
rule*. Where a rule was changed after a run, its section says so. Some runs came before: first
looks at reduced size, and runs that were thrown away. They had other learning rates and another
length of tuning. Sizes are smaller than the published ones. Published figures are quoted from
their papers or, for the oldest papers, from later ones.

`make claims` runs missing experiments, and `python -m experiments NAME` runs one. Cached results
are reused; to repeat an experiment, delete its file in `experiments/results/`.
"""


def said(experiment: Experiment, found: dict) -> tuple[str, str]:
    """The verdict, and what it is about."""
    passes, sentence = experiment.verdict(experiment.settings, found)
    words = {True: "It holds", False: "It does not hold", None: "Undecided"}
    return words[passes], sentence


def summary() -> str:
    """All verdicts in a table."""
    rows = ["| claim or table | as the rule has it |", "|---|---|"]
    for experiment in EXPERIMENTS:
        found = results(experiment)
        word = "Not made yet" if found is None else said(experiment, found)[0]
        rows.append(f"| {experiment.title} | {word} |")
    return "\n".join(rows)


def tuned(found: dict) -> list[str]:
    """What each contender chose, to be opened by who asks."""
    rows = []
    for piece, result in found.items():
        chosen = result.get("chosen", {})
        values = [f"{name} {n:g}" for name, n in chosen.items() if name != "tried"]
        rows += [f"| {piece} | {', '.join(values)} |"] * bool(values)
    table = "\n".join(["| piece | chosen |", "|---|---|", *rows])
    opened = f"<details><summary>What was tuned</summary>\n\n{table}\n\n</details>"
    return [opened] if rows else []


def part(experiment: Experiment) -> str:
    """One experiment's section."""
    command = f"`python -m experiments {experiment.name}`"
    lines = [f"## {experiment.title}", f"*The rule.* {experiment.rule}"]
    found = results(experiment)
    if found is None:
        lines += [
            f"Not made yet: {command}, about {experiment.minutes:g} minutes of one core."
        ]
        return "\n\n".join(lines)
    word, sentence = said(experiment, found)
    lines += [f"**{word}**: {sentence}."]
    lines += [experiment.section(experiment.settings, found)]
    if experiment.draw is not None:
        lines += [f"![{experiment.title}](claims/{experiment.name}.png)"]
    lines += tuned(found)
    saved = load(experiment)
    if not saved:
        return "\n\n".join([*lines, f"{command}."])
    minutes = sum(piece["seconds"] for piece in saved.values()) / 60
    made = [piece["made"] for piece in saved.values()]
    days = sorted({m["on"] for m in made})
    versions = sorted({f"JAX {m['jax']}" for m in made})
    codes = sorted({m["code"] for m in made})
    lines += [
        f"{command}: {minutes:.0f} min of one core, {made[0]['machine']}, {', '.join(versions)}, "
        f"{days[0] if len(days) == 1 else f'{days[0]} to {days[-1]}'}, code "
        f"{', '.join(codes)}."
    ]
    return "\n\n".join(lines)


def page() -> str:
    """All of it."""
    return "\n\n".join([BEGIN.strip(), summary(), *map(part, EXPERIMENTS)]) + "\n"


def digest(experiment: Experiment) -> str:
    """Of the results that a figure shows; it stands in the figure's file."""
    return hashlib.sha256(path_of(experiment, False).read_bytes()).hexdigest()


def drawn() -> dict[pathlib.Path, Experiment]:
    """The figures that there should be."""
    return {
        DOCS / "claims" / f"{experiment.name}.png": experiment
        for experiment in EXPERIMENTS
        if experiment.draw is not None and results(experiment) is not None
    }


def says(path: pathlib.Path) -> str | None:
    """The digest in a figure's file."""
    if not path.exists():
        return None
    with Image.open(path) as image:
        return image.info.get("Results")


def stale() -> list[str]:
    """What does not say what the results say."""
    page_holds = PAGE.exists() and PAGE.read_text() == page()
    old = [path for path, e in drawn().items() if says(path) != digest(e)]
    return [str(path) for path in ([] if page_holds else [PAGE]) + old]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.page", description=__doc__
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    if parser.parse_args().check:
        for path in stale():
            print(f"{path}: not what the results say. Run python -m experiments.page.")
        return int(bool(stale()))
    matplotlib.use("Agg")
    (DOCS / "claims").mkdir(exist_ok=True)
    for path, experiment in drawn().items():
        figure = experiment.draw(experiment.settings, results(experiment))
        figure.savefig(path, metadata={"Results": digest(experiment)})
        plt.close(figure)
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
