"""What an experiment is, where its results lie, and how they are made and kept."""

import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from typing import Any, NamedTuple

FOLDER = pathlib.Path(__file__).parent
FULL, QUICK = FOLDER / "results", FOLDER.parent / "out" / "claims-quick"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")


class Experiment(NamedTuple):
    """A claim or a table.

    Fields:
        name: of its file, and of its results'.
        title: what is claimed or reproduced.
        rule: when it passes; written before the first run.
        minutes: that all pieces take, of one core.
        settings: sizes, seeds and updates, plain numbers and lists: results of other
            settings are made anew.
        quick: the settings of `--quick`.
        pieces: ``(settings) -> {name: run}``; a piece is what is made and saved at once,
            ``run() -> result``, plain numbers, lists and dicts.
        verdict: ``(settings, results) -> (passes, sentence)``; passes is None where only
            a part of the rule can be said.
        section: ``(settings, results) -> str``: Markdown for docs/claims.md.
        draw: ``(settings, results) -> figure``; None: no figure.
        alone: whether nothing else may run meanwhile, for it measures time.
    """

    name: str
    title: str
    rule: str
    minutes: float
    settings: dict
    quick: dict
    pieces: Callable[[dict], dict[str, Callable[[], Any]]]
    verdict: Callable[[dict, dict], tuple[bool | None, str]]
    section: Callable[[dict, dict], str]
    draw: Callable[[dict, dict], Any] | None = None
    alone: bool = False


def path_of(experiment: Experiment, quick: bool) -> pathlib.Path:
    """Where the results of an experiment lie."""
    return (QUICK if quick else FULL) / f"{experiment.name}.json"


def load(experiment: Experiment, quick: bool = False) -> dict[str, Any]:
    """``{piece: {"result", "seconds", "made"}}`` of those with the present settings."""
    path = path_of(experiment, quick)
    settings = experiment.quick if quick else experiment.settings
    if not path.exists():
        return {}
    saved = json.loads(path.read_text())
    return saved["pieces"] if saved["settings"] == _plain(settings) else {}


def results(experiment: Experiment, quick: bool = False) -> dict[str, Any] | None:
    """``{piece: result}``, or None where one is not made yet."""
    settings = experiment.quick if quick else experiment.settings
    saved = load(experiment, quick)
    names = _names(experiment.pieces, json.dumps(settings))
    if any(name not in saved for name in names):
        return None
    return {name: saved[name]["result"] for name in names}


def make(experiment: Experiment, piece: str, quick: bool = False) -> dict:
    """One piece's ``{"seconds", "made", "result"}``; seconds of one core."""
    settings = experiment.quick if quick else experiment.settings
    start = time.process_time()  # whatever else the machine does meanwhile
    result = _plain(experiment.pieces(settings)[piece]())
    seconds = round(time.process_time() - start, 1)
    return {"seconds": seconds, "made": _made(experiment), "result": result}


def run(
    experiments: Sequence[Experiment],
    submit: Callable[[Experiment, str], Future],
    quick: bool = False,
) -> Iterator[tuple[str, str, float]]:
    """Makes all pieces that are missing; yields each one's experiment, name and seconds.

    Every piece is written as soon as it is made: what is cut off goes on from there.

    Args:
        experiments: what to make.
        submit: begins `make`, somewhere, and returns at once.
        quick: at reduced size.
    """
    waiting = {}
    for experiment in experiments:
        settings = experiment.quick if quick else experiment.settings
        done = load(experiment, quick)
        for piece in experiment.pieces(settings):
            if piece not in done:
                waiting[submit(experiment, piece)] = experiment, piece
    try:
        for future in as_completed(waiting):
            experiment, piece = waiting[future]
            record = future.result()
            settings = experiment.quick if quick else experiment.settings
            done = load(experiment, quick) | {piece: record}
            ordered = {p: done[p] for p in experiment.pieces(settings) if p in done}
            content = {"settings": _plain(settings), "pieces": ordered}
            _write(path_of(experiment, quick), content)
            yield experiment.name, piece, record["seconds"]
    finally:
        for future in waiting:
            future.cancel()


@functools.cache
def _names(pieces: Callable, settings: str) -> tuple[str, ...]:
    """Of an experiment's pieces; to find widths of equal parameters takes seconds."""
    return tuple(pieces(json.loads(settings)))


def _made(experiment: Experiment) -> dict:
    """With what a result was made."""
    sources = sorted(FOLDER.parent.glob("jaxrnn/**/*.py"))
    sources += [FOLDER / "training.py", FOLDER / "comparison.py"]
    sources += [FOLDER / f"{experiment.name}.py"]
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources))
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "on": datetime.date.today().isoformat(),
        "code": code.hexdigest()[:12],
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **versions,
    }


def _plain(value: Any) -> Any:
    """As JSON has it; what is not finite is refused."""
    return json.loads(json.dumps(value, allow_nan=False))


def _write(path: pathlib.Path, content: dict) -> None:
    """All or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dump = lambda value: json.dumps(value, allow_nan=False)
    lines = [
        f"  {dump(name)}: {dump(piece)}" for name, piece in content["pieces"].items()
    ]
    pieces = ",\n".join(lines)
    text = (
        f'{{"settings": {dump(content["settings"])},\n "pieces": {{\n{pieces}\n}}}}\n'
    )
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}", delete=False
    ) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
