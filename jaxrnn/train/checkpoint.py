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
import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.extra import need
from jaxrnn.train import parallel

FORMAT = "jaxrnn.train 2"


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
        with parallel.together(), self._explained("cannot use {} as a run's folder"):
            if first():
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
        values = _named(tree)  # by all processes, as each may hold a part
        final, staged = self.checkpoints / str(step), self._saving / str(step)
        what = f"cannot save the checkpoint of step {step} in {{}}"
        with parallel.together(), self._explained(what):
            if first():
                self._saving.mkdir(exist_ok=True)
                _try_room(self._saving / "room", values)
        with self._explained(what):
            _write(staged, step, values, notes)
        with parallel.together(), self._explained(what):
            if first():
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
        wanted = _named(like)
        with parallel.together():
            found = self._newest(wanted)  # by all, as Orbax reads in step
        with parallel.together():
            step = -1 if found is None else found[0]
            if parallel.from_first(np.asarray(step)) != step:
                raise OSError(
                    f"{self.path}: not all processes can read the same there."
                )
        if found is None:
            return None
        what = "cannot set a checkpoint aside in {}"
        with parallel.together(), self._explained(what):
            if first():
                for newer in self.steps()[::-1]:
                    if newer > step:
                        _set_aside(self.checkpoints / str(newer))
        return Saved(step, _shaped(found[1], like), found[2])

    def _newest(self, wanted: dict) -> tuple[int, dict, dict] | None:
        steps, reasons = self.steps()[::-1], []
        for step in steps:
            path = self.checkpoints / str(step)
            try:
                values, notes = _read(path, step, wanted)
            except Exception as error:  # whatever a damaged file makes of a reader
                reasons.append(f"{path}: {_brief(error)}")
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
                _about(self.checkpoints / str(step), step)
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
                f"{what.format(self.path)}: {_brief(error)}.{last} Make room or a place to "
                "write, and run again."
            ) from error


def first() -> bool:
    """Whether this is the run's first process, which reads and writes for all."""
    return jax.process_index() == 0


def write_tree(path: Path, tree: Any) -> None:
    """One Orbax checkpoint of `tree` at `path`, which must not exist."""
    values = _named(tree)
    with parallel.together():
        if first():
            _try_room(path.with_name(f"{path.name}.room"), values)
    _write(path, 0, values, {})


def read_tree(path: str | os.PathLike, like: Any) -> Any:
    """What `write_tree` wrote, in the structure of `like`.

    Raises:
        ValueError: if it is damaged, or holds something else than `like`.
    """
    values, _ = _read(Path(path).absolute(), 0, _named(like))
    return _shaped(values, like)


def _try_room(path: Path, values: dict) -> None:
    """Raises an OSError where a joint save could not be written.

    In it the other processes would wait for the first, which fails alone.
    """
    if jax.process_count() == 1:
        return
    try:
        with path.open("wb") as file:
            for value in values.values():
                file.write(value.tobytes())
            file.write(bytes(2**16))  # for what describes them
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)


def _orbax(name: str, before: str) -> Callable:
    """A function of Orbax by its name, which was another `before` 0.12."""
    v1 = need("orbax.checkpoint").v1
    if hasattr(v1, name):
        return getattr(v1, name)

    def quietly(*args, **options):
        wrong = lambda record: (
            not str(record.msg).startswith("TensorStore data files not")
        )
        logger = logging.getLogger("absl")
        logger.addFilter(wrong)  # 0.11.36 looks for a file by a wrong name, and warns
        try:
            return getattr(v1, before)(*args, **options)
        finally:
            logger.removeFilter(wrong)

    return quietly


def _write(path: Path, step: int, values: dict, notes: dict) -> None:
    """Called by all processes; the first one's notes are the ones that are kept."""
    notes = json.loads(json.dumps(notes))  # as they will be read
    about = {"format": FORMAT, "step": step, "hash": _hash(values, notes)}
    values = {name: value for name, value in values.items() if value.size}
    about = about | {"notes": notes}
    _orbax("save", "save_pytree")(path, values, custom_metadata=about)


def _read(path: Path, step: int, wanted: dict) -> tuple[dict, dict]:
    about = _about(path, step)
    values = _orbax("load", "load_pytree")(path)
    values = {name: np.asarray(value) for name, value in values.items()}
    values |= {name: value for name, value in wanted.items() if not value.size}
    for name in {**wanted, **values}:
        if name not in values or name not in wanted:
            where = "a value that is not expected" if name in values else "no value"
            raise ValueError(f"{where}: {name}")
        have, want = values[name], wanted[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            raise ValueError(
                f"{name}: expected {want.dtype} {list(want.shape)}, "
                f"got {have.dtype} {list(have.shape)}"
            )
    values = {name: values[name] for name in wanted}
    if _hash(values, about["notes"]) != about["hash"]:
        raise ValueError("it is damaged: its values are not those that were saved")
    return values, about["notes"]


def _shaped(values: dict, like: Any) -> Any:
    tree = jax.tree.unflatten(jax.tree.structure(like), values.values())
    return parallel.with_keys(tree, like)


def _about(path: Path, step: int) -> dict:
    try:
        about = _orbax("metadata", "pytree_metadata")(path).custom_metadata
    except Exception as error:
        raise ValueError(f"it is no complete checkpoint ({error})") from error
    form = about.get("format") if isinstance(about, dict) else None
    if form != FORMAT:
        known = isinstance(form, str) and form.startswith("jaxrnn.train ")
        whose = "another version's of jaxrnn" if known else "another program's"
        raise ValueError(f"it is {whose} checkpoint")
    if about["step"] != step:
        raise ValueError(f"it is the checkpoint of step {about['step']}, copied")
    return about


def _brief(error: Exception) -> str:
    """What an error says, on one line; storage libraries say pages."""
    said = " ".join(f"{error}".split()) or type(error).__name__
    return said if len(said) < 300 else f"{said[:200]} ... {said[-90:]}"


def _named(tree: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree.leaves_with_path(parallel.to_host(tree))
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _hash(values: dict[str, np.ndarray], notes: dict) -> str:
    said = hashlib.sha256(json.dumps(notes, sort_keys=True).encode())
    for name, value in values.items():
        said.update(f"{name} {value.dtype} {value.shape} ".encode())
        said.update(np.ascontiguousarray(value).tobytes())
    return said.hexdigest()


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
