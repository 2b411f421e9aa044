"""Makes the results that are missing: see the package."""

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor

# At reduced size almost all of the time is XLA compiling, half of it at level 0.
if "--quick" in sys.argv:
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

from rich.console import Console

from experiments.catalogue import KNOWN, make_named
from experiments.registry import load, results, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("names", nargs="*", help="experiments; none: all")
    parser.add_argument("--quick", action="store_true", help="reduced")
    parser.add_argument(
        "--list", action="store_true", help="what there is, and is made"
    )
    parser.add_argument(
        "--jobs", type=int, default=2, help="pieces at once; each keeps one core busy"
    )
    options = parser.parse_args()
    for name in options.names:
        if name not in KNOWN:
            raise ValueError(f"names: expected some of {list(KNOWN)}, got {name!r}.")
    console = Console(highlight=False)
    chosen = [KNOWN[name] for name in options.names or KNOWN]
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
    spawn = multiprocessing.get_context("spawn")
    for alone in (False, True):
        some = [experiment for experiment in chosen if experiment.alone == alone]
        with ProcessPoolExecutor(1 if alone else options.jobs, spawn) as pool:
            begin = lambda e, piece: pool.submit(
                make_named, e.name, piece, options.quick
            )
            for name, piece, seconds in run(some, begin, options.quick):
                console.print(f"{name}: {piece}: {seconds:.0f} s")
    for experiment in chosen:
        settings = experiment.quick if options.quick else experiment.settings
        found = results(experiment, options.quick)
        if found is None:
            raise RuntimeError(f"{experiment.name}: a piece is missing after its run.")
        passes, sentence = experiment.verdict(settings, found)
        word = {True: "holds", False: "does not hold", None: "undecided"}[passes]
        if options.quick:
            word = "reduced, which decides nothing"
        console.print(f"[bold]{experiment.title}[/bold]: {word}: {sentence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
