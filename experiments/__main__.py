"""Makes the results that are missing: see the package."""

import argparse
import os
import sys
import time

# At reduced size almost all of the time is XLA compiling, half of it at level 0.
if "--quick" in sys.argv:
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

from rich.console import Console

from experiments.catalogue import EXPERIMENTS
from experiments.registry import load, results, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("names", nargs="*", help="experiments; none: all")
    parser.add_argument("--quick", action="store_true", help="reduced")
    parser.add_argument(
        "--list", action="store_true", help="what there is, and is made"
    )
    options = parser.parse_args()
    known = {experiment.name: experiment for experiment in EXPERIMENTS}
    for name in options.names:
        if name not in known:
            raise ValueError(f"names: expected some of {list(known)}, got {name!r}.")
    console = Console(highlight=False)
    chosen = [known[name] for name in options.names or known]
    if options.list:
        for experiment in chosen:
            settings = experiment.quick if options.quick else experiment.settings
            made, wanted = load(experiment, options.quick), experiment.pieces(settings)
            minutes = sum(made[name]["seconds"] for name in wanted if name in made) / 60
            console.print(
                f"{experiment.name:16} {sum(n in made for n in wanted)} of {len(wanted)} "
                f"pieces, {minutes:.1f} minutes of about {experiment.minutes:g}"
            )
        return 0
    for experiment in chosen:
        console.print(f"[bold]{experiment.name}[/bold]: {experiment.title}")
        began = time.perf_counter()
        for piece, seconds in run(experiment, options.quick):
            console.print(f"  {piece}: {seconds:.0f} s")
        settings = experiment.quick if options.quick else experiment.settings
        found = results(experiment, options.quick)
        if found is None:
            raise RuntimeError(f"{experiment.name}: a piece is missing after its run.")
        passes, sentence = experiment.verdict(settings, found)
        word = {True: "holds", False: "does not hold", None: "undecided"}[passes]
        if options.quick:
            word = "reduced, which decides nothing"
        seconds = time.perf_counter() - began
        console.print(f"  {word}: {sentence} ({seconds:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
