"""A run's folder: its checkpoints, its rows, and the lock that makes it the only writer.

    folder/
      run.json                what the run is, so that no other goes on here
      lock                    held while a run writes here; the system frees it on any death
      checkpoints/<step>/     one Orbax checkpoint each, complete or absent
      checkpoints/saving/     what is being written
      metrics.jsonl           what the computation determines; the same bits on every rerun
      timing.jsonl            what the clock determines

A checkpoint appears by one rename of a finished one, so that a kill at any moment leaves
the old or the new. It is trusted only if the hash over all its values is the one that was
saved with it: a flipped bit that still decodes is found too. Values lie in it by name and
whole, so that a run goes on with another number of devices or processes.
"""

import contextlib
import fcntl
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrnn._extra import need
from jaxrnn.train.orbax import (
    brief,
    named,
    read_label,
    read_values,
    shaped,
    try_room,
    write_values,
)
from jaxrnn.train.processes import from_first, is_first_process, together


class Saved(NamedTuple):
    """What a checkpoint holds: a tree of NumPy arrays, and notes of JSON values."""

    step: int
    tree: Any
    notes: dict


class Folder:
    """The folder of one run, locked; to be closed.

    In a run of several processes each has one, and all call `save` and `restore`
    together. The first process reads and writes; where it cannot, all raise.

    Args:
        path: made if it does not exist.
        keep: how many checkpoints stay, the newest ones.

    Raises:
        BlockingIOError: if another run holds the folder.
        OSError: if it cannot be written to.
    """

    def __init__(self, path: str | os.PathLike, keep: int = 3):
        self.path = Path(path).absolute()
        self.checkpoints = self.path / "checkpoints"
        self._saving = self.checkpoints / "saving"
        self._keep = keep
        self._lock = None
        need("orbax.checkpoint")
        with together(), self._explained("cannot use {} as a run's folder"):
            if is_first_process():
                self.checkpoints.mkdir(parents=True, exist_ok=True)
                self._lock = _locked(self.path / "lock")
                shutil.rmtree(self._saving, ignore_errors=True)

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Frees the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def steps(self) -> list[int]:
        """The steps that a folder stands for, ascending; unread, so perhaps unusable."""
        found = [p for p in self.checkpoints.iterdir() if p.is_dir()]
        return sorted(int(p.name) for p in found if _is_step(p.name))

    def forget(self, step: int) -> None:
        """Deletes a checkpoint."""
        self._saving.mkdir(exist_ok=True)
        doomed = self._saving / str(step)  # half deleted is not half a one
        os.replace(self.checkpoints / str(step), doomed)
        shutil.rmtree(self._saving)

    def save(self, step: int, tree: Any, **notes: Any) -> None:
        """A checkpoint of `tree`, and of notes that are JSON.

        Raises:
            OSError: if it could not be written; earlier checkpoints are as they were.
        """
        values = named(tree)  # by all processes, as each may hold a part
        final, staged = self.checkpoints / str(step), self._saving / str(step)
        what = f"cannot save the checkpoint of step {step} in {{}}"
        with together(), self._explained(what):
            if is_first_process():
                self._saving.mkdir(exist_ok=True)
                try_room(self._saving / "room", values)
        with self._explained(what):
            write_values(staged, step, values, notes)
        with together(), self._explained(what):
            if is_first_process():
                if final.exists():
                    _set_aside(final)
                os.replace(staged, final)
                _sync(self.checkpoints)
                self._prune()
                self._saving.rmdir()

    def restore(self, like: Any) -> Saved | None:
        """The newest checkpoint that is whole and fits, or None if there is none at all.

        Args:
            like: a tree of the arrays' structure, shapes and dtypes.

        Newer ones that are damaged or another program's are passed over with a warning
        and renamed to ``<step>.unusable``; nothing is deleted.

        Raises:
            ValueError: if there are checkpoints and none can be used.
        """
        wanted = named(like)
        with together():
            found = self._newest(wanted)  # by all, as Orbax reads in step
        with together():
            step = -1 if found is None else found[0]
            if from_first(np.asarray(step)) != step:
                raise OSError(
                    f"{self.path}: not all processes can read the same there."
                )
        if found is None:
            return None
        what = "cannot set a checkpoint aside in {}"
        with together(), self._explained(what):
            if is_first_process():
                for newer in self.steps()[::-1]:
                    if newer > step:
                        _set_aside(self.checkpoints / str(newer))
        return Saved(step, shaped(found[1], like), found[2])

    def _newest(self, wanted: dict) -> tuple[int, dict, dict] | None:
        steps, reasons = self.steps()[::-1], []
        for step in steps:
            path = self.checkpoints / str(step)
            try:
                values, notes = read_values(path, step, wanted)
            except Exception as error:  # whatever a damaged file makes of a reader
                reasons.append(f"{path}: {brief(error)}")
                continue
            for reason in reasons:
                warnings.warn(
                    f"A checkpoint cannot be used, going on from step {step}: {reason}",
                    RuntimeWarning,
                    stacklevel=3,
                )
            return step, values, notes
        if reasons:
            raise ValueError(
                f"folder: none of the checkpoints in {self.checkpoints} can be used. Start "
                "in another folder, or mend this one. " + " | ".join(reasons)
            )
        for name in ("metrics.jsonl", "timing.jsonl"):
            rows = self.path / name
            if rows.exists() and rows.stat().st_size:
                raise ValueError(
                    f"folder: {self.path} holds a {name} and no checkpoint, so a run would "
                    "write over what is not its own. Choose another folder."
                )
        return None

    def _prune(self) -> None:
        """Deletes all but the newest checkpoints; only ones that this package wrote."""
        ours = []
        for step in self.steps():
            with contextlib.suppress(ValueError):
                read_label(self.checkpoints / str(step), step)
                ours.append(step)
        for step in ours[: -self._keep]:
            with contextlib.suppress(OSError):
                doomed = self._saving / str(step)  # half deleted is not half a one
                os.replace(self.checkpoints / str(step), doomed)
                shutil.rmtree(doomed)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Any failure as an OSError that says what could not be done, and what now."""
        try:
            yield
        except Exception as error:
            shutil.rmtree(self._saving, ignore_errors=True)
            kind = BlockingIOError if isinstance(error, BlockingIOError) else OSError
            steps = self.steps() if self.checkpoints.is_dir() else []
            last = f" The last good one is of step {steps[-1]}." if steps else ""
            raise kind(
                f"{what.format(self.path)}: {brief(error)}.{last} Make room or a place to "
                "write, and run again."
            ) from error


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if isinstance(error, BlockingIOError):
            raise BlockingIOError(
                "another run is writing there; wait for it"
            ) from error
        raise
    return lock


def _set_aside(path: Path) -> None:
    for number in range(1000):
        aside = path.with_name(f"{path.name}.unusable{number or ''}")
        if not aside.exists():
            path.rename(aside)
            return


def _sync(folder: Path) -> None:
    """The folder's entries reach the disk, so that the rename outlives the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_step(name: str) -> bool:
    return name.isascii() and name.isdigit() and str(int(name)) == name
