"""Two versions of the library, forward and backward pass, timed in one run.

    python -m benchmarks.versions --before ../old-checkout
    python -m benchmarks.versions --before ../old-checkout --sizes H64 --cells lstm

Each version exports its program of each cell and size in a process of its own. Both
programs are then compiled and timed here, in turn. Where both compile to the same
instructions there is nothing to time but noise, and the row says so. A ratio above 1 means
that this checkout is faster.
"""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import jax
import numpy as np
import tyro
from jax import export

from benchmarks import timing, work
from benchmarks.machine import machine

ROOT = pathlib.Path(__file__).parents[1]


@dataclass(frozen=True)
class Settings:
    """What to compare."""

    before: pathlib.Path  # a checkout of the other version
    cells: tuple[str, ...] = tuple(work.CELLS)
    sizes: tuple[str, ...] = tuple(s for s in work.SIZES if s != "H768")
    seconds: float = 5.0  # for the rounds of one cell and size
    out: pathlib.Path = pathlib.Path("benchmarks/results/versions.json")


# Run in each version: argv is the size's numbers, then where to write.
PROGRAM = """
import sys, jax
from jax import export
from benchmarks import work
import jaxrnn
cell, *numbers, path = sys.argv[1:]
one = work.Work(cell, *map(int, numbers))
numbers = work.draw(one)
layer = work.CELLS[cell](one.H)
def both(numbers):
    run = lambda *args: jaxrnn.unroll(layer, *args)
    (carry, hs), back = jax.vjp(run, *numbers[:3])
    return hs, carry, back((numbers.dcarry, numbers.dhs))
flat = lambda *leaves: jax.tree.leaves(both(jax.tree.unflatten(tree, leaves)))
leaves, tree = jax.tree.flatten(numbers)
exported = export.export(jax.jit(flat))(*leaves)
open(path, "wb").write(bytes(exported.serialize()))
"""


def exported(checkout: pathlib.Path, one: work.Work) -> export.Exported:
    """The program of `one` as the version in that folder makes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "program"
        arguments = [one.cell, *map(str, one[1:]), str(path)]
        environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
        command = [sys.executable, "-c", PROGRAM, *arguments]
        subprocess.run(command, cwd=checkout, env=environment, check=True)
        return export.deserialize(bytearray(path.read_bytes()))


def compare(one: work.Work, settings: Settings) -> dict:
    """One row: the samples of both versions, and the ratio of their minima."""
    programs = {
        "before": exported(settings.before, one),
        "after": exported(ROOT, one),
    }
    leaves = jax.tree.map(jax.numpy.asarray, jax.tree.leaves(work.draw(one)))
    compiled = {
        n: jax.jit(p.call).lower(*leaves).compile() for n, p in programs.items()
    }
    texts = {_instructions(program) for program in compiled.values()}
    results = [[np.asarray(a) for a in run(*leaves)] for run in compiled.values()]
    for a, b in zip(*results, strict=True):
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()
    runs = {
        name: lambda run=run: jax.block_until_ready(run(*leaves))
        for name, run in compiled.items()
    }
    samples = timing.interleaved(runs, seconds=settings.seconds)
    before, after = samples["before"], samples["after"]
    return {
        **one._asdict(),
        "same program": len(texts) == 1,
        "ratio of minima": min(before) / min(after),
        "ratio of medians": statistics.median(before) / statistics.median(after),
        "seconds": samples,
    }


def _instructions(program: jax.stages.Compiled) -> str:
    """The compiled program without the names of the source that it comes from."""
    text = re.sub(r", metadata=\{[^}]*\}", "", program.as_text() or "")
    names = r"\n(FileNames|FunctionNames|FileLocations|StackFrames)\n(\d.*\n)*"
    return re.sub(names, "", text)


def main(settings: Settings) -> None:
    found = machine() | {"before": str(settings.before.name), "rows": []}
    for cell in settings.cells:
        for size in settings.sizes:
            row = compare(work.Work(cell, *work.SIZES[size]), settings)
            found["rows"].append({"size": size, **row})
            same = ", same program" if row["same program"] else ""
            print(
                f"{cell} {size}: {1e3 * min(row['seconds']['after']):.2f} ms, before/after "
                f"{row['ratio of minima']:.3f} (minima) {row['ratio of medians']:.3f} "
                f"(medians){same}",
                flush=True,
            )
            jax.clear_caches()
            settings.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
