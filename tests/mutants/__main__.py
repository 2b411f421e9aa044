"""Plants every fault in a copy of the library and runs the tests that must find it.

    python -m tests.mutants                    all, two at a time: `make mutants`
    python -m tests.mutants --sample 10        a fixed sample
    python -m tests.mutants --names lstm       those whose module or name has this in it
    python -m tests.mutants --check            names those without a place or tests

A fault meets the tests that its module names, until the first that fails; what survives
them, the whole quick suite. Survivors are printed, and the exit status is 1. A fault with
which tests take four times as long as without, and half a minute more, hangs: it is found.
"""

import argparse
import ast
import concurrent.futures
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from tests.mutants.faults import MODULES, MUSEUM
from tests.mutants.planting import Fault, Module, function_in, planted

ROOT = pathlib.Path(__file__).parents[2]
COPIED = (
    "jaxrnn",
    "tests",
    "benchmarks",
    "experiments",
    "examples",
    "docs",
    "README.md",
    "CITATION.cff",
    "pyproject.toml",
)
PYTEST = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider")
# No traceback and no smallest failing case: each can take a minute to be made.
PYTEST += ("--tb=no", "--hypothesis-profile=found")
# The list of faults has no place for one that is planted already.
SUITE = ("-m", "not slow and not nightly", "-n", "2", "--ignore=tests/mutants")
NEVER = "never"


class Outcome(NamedTuple):
    """Fields:
    module, fault: what was planted.
    found: the first test that failed, or `NEVER`.
    seconds: until it did.
    """

    module: Module
    fault: Fault
    found: str
    seconds: float


def first_failure(folder: pathlib.Path, tests: tuple, limit: float) -> str | None:
    """The first test that fails there, or None; one that hangs has failed too.

    Raises ValueError where no test ran, or a fault is no program: it proves nothing.
    """
    # Its own modules before the installed ones, which are those of `ROOT`. Most programs
    # are those without the fault, and compiled already.
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "compiled"),
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "500",  # or the summary's lines end before the kind of an error
    }
    with subprocess.Popen(
        (*PYTEST, *tests),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return f"hangs: more than {limit:.0f} s"
    if process.returncode == 0:
        return None
    if process.returncode in (4, 5):  # no test of that name, and none left
        raise ValueError(f"{tests}: no test ran. Bring the list up to date.")
    lines = output.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    first = failed[0] if failed else lines[-1]
    if any(
        broken in first for broken in ("NameError", "SyntaxError", "IndentationError")
    ):
        raise ValueError(f"{first}: expected a fault that runs. Mend the list.")
    return first.split(" - ")[0]


def meet(module: Module, fault: Fault, limit: float, suite: bool) -> Outcome:
    """Plants one fault in a copy and runs the module's tests, then the quick suite."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for part in COPIED:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)
        path = folder / module.path
        path.write_text(planted(path.read_text(), fault))
        found = first_failure(folder, module.tests, limit)
        if found is None and suite:
            found = first_failure(folder, SUITE, 900)
    return Outcome(module, fault, found or NEVER, time.perf_counter() - start)


def misplaced(module: Module, fault: Fault) -> str | None:
    """Why the fault has no place in its module, or None."""
    try:
        planted((ROOT / module.path).read_text(), fault)
    except (ValueError, OSError) as error:
        found = files_with(fault.function)
        if found and module.path not in found:
            return f"{error} {fault.function} is in {', '.join(found)}."
        return str(error)
    return None


def without_tests(lists: Iterable[tuple], workers: int) -> list[str]:
    """Which lists of tests pytest finds no test for."""

    def one(tests):
        try:
            first_failure(ROOT, ("--collect-only", *tests), 100)
        except ValueError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(filter(None, pool.map(one, lists)))


def files_with(function: str) -> list[str]:
    """The files of the library that have a function of this name; none for a module's."""
    paths = sorted((ROOT / "jaxrnn").rglob("*.py")) if function else []
    trees = ((path, ast.parse(path.read_text())) for path in paths)
    return [
        str(path.relative_to(ROOT))
        for path, tree in trees
        if function_in(tree, function) is not None
    ]


def limits(modules: tuple, workers: int) -> dict:
    """Seconds for each module's tests, by how long they take where nothing is planted.

    Raises ValueError if they fail there.
    """

    def one(module):
        start = time.perf_counter()
        # All of the museum at once: each exhibit has its own test.
        tests = ("tests/museum", "-m", "") if module in MUSEUM else module.tests
        if failed := first_failure(ROOT, tests, 600):
            raise ValueError(f"{tests}: expected these to pass, but {failed}.")
        return 30 + 4 * (time.perf_counter() - start)

    museum = [module for module in modules if module in MUSEUM]
    apart = [module for module in modules if module not in MUSEUM] + museum[:1]
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        found = dict(zip(apart, pool.map(one, apart), strict=True))
    return {module: found.get(module, 60.0) for module in modules}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sample", type=int, help="so many, always the same")
    parser.add_argument(
        "--names", default="", help="a part of a module's or fault's name"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--no-suite", action="store_true", help="the module's tests alone"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="plant none, name those without a place or tests",
    )
    options = parser.parse_args()

    pairs = [
        (module, fault)
        for module in MODULES
        for fault in module.faults
        if options.names in f"{module.path} {fault.name}"
    ]
    lost = [f"{m.path}: {why}" for m, f in pairs if (why := misplaced(m, f))]
    if lost or options.check:
        lost += without_tests(dict.fromkeys(m.tests for m, _ in pairs), options.workers)
        print("\n".join(lost or [f"all {len(pairs)} have a place and tests"]))
        return 1 if lost else 0
    if options.sample:
        pairs = random.Random(0).sample(pairs, options.sample)
    if not pairs:
        raise ValueError(f"--names: no fault has {options.names!r} in its name.")
    console = Console()
    allowed = limits(tuple(dict.fromkeys(m for m, _ in pairs)), options.workers)
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        waiting = [
            pool.submit(meet, module, fault, allowed[module], not options.no_suite)
            for module, fault in pairs
        ]
        done = concurrent.futures.as_completed(waiting)
        outcomes = [one.result() for one in track(done, "faults", len(pairs))]
    for path in sorted({module.path for module, _ in pairs}):
        ours = [o for o in outcomes if o.module.path == path]
        found = sum(o.found != NEVER for o in ours)
        slowest = max(o.seconds for o in ours)
        console.print(f"{path}: {found} of {len(ours)}, at most {slowest:.0f} s")
    alive = [o for o in outcomes if o.found == NEVER]
    for o in alive:
        console.print(f"[red]survives[/red] {o.module.path}: {o.fault.name}")
    console.print(f"{len(outcomes) - len(alive)} of {len(outcomes)} found")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
