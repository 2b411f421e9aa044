"""One Orbax checkpoint: named values, with notes and a hash over all of it."""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrnn._extra import need
from jaxrnn.train.processes import is_first_process, to_host, together, with_keys

FORMAT = "jaxrnn.train 2"


def write_tree(path: Path, tree: Any) -> None:
    """One Orbax checkpoint of `tree` at `path`, which must not exist."""
    values = named(tree)
    with together():
        if is_first_process():
            try_room(path.with_name(f"{path.name}.room"), values)
    write_values(path, 0, values, {})


def read_tree(path: str | os.PathLike, like: Any) -> Any:
    """What `write_tree` wrote, in the structure of `like`.

    Raises:
        ValueError: if it is damaged, or holds something else than `like`.
    """
    values, _ = read_values(Path(path).absolute(), 0, named(like))
    return shaped(values, like)


def write_values(path: Path, step: int, values: dict, notes: dict) -> None:
    """Called by all processes; the first one's notes are the ones that are kept."""
    notes = json.loads(json.dumps(notes))  # as they will be read
    label = {"format": FORMAT, "step": step, "hash": _hash(values, notes)}
    values = {name: value for name, value in values.items() if value.size}
    label = label | {"notes": notes}
    _orbax("save", "save_pytree")(path, values, custom_metadata=label)


def read_values(path: Path, step: int, wanted: dict) -> tuple[dict, dict]:
    """``(values, notes)``, after a ValueError unless they are whole and as wanted."""
    label = read_label(path, step)
    values = _orbax("load", "load_pytree")(path)
    values = {name: np.asarray(value) for name, value in values.items()}
    values |= {name: value for name, value in wanted.items() if not value.size}
    for name in {**wanted, **values}:
        if name not in values or name not in wanted:
            fault = "a value that is not expected" if name in values else "no value"
            raise ValueError(f"{fault}: {name}")
        have, want = values[name], wanted[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            raise ValueError(
                f"{name}: expected {want.dtype} {list(want.shape)}, "
                f"got {have.dtype} {list(have.shape)}"
            )
    values = {name: values[name] for name in wanted}
    if _hash(values, label["notes"]) != label["hash"]:
        raise ValueError("it is damaged: its values are not those that were saved")
    return values, label["notes"]


def read_label(path: Path, step: int) -> dict:
    """What describes a checkpoint; a ValueError unless it is ours and of `step`."""
    try:
        label = _orbax("metadata", "pytree_metadata")(path).custom_metadata
    except Exception as error:
        raise ValueError(f"it is no complete checkpoint ({error})") from error
    form = label.get("format") if isinstance(label, dict) else None
    if form != FORMAT:
        known = isinstance(form, str) and form.startswith("jaxrnn.train ")
        whose = "another version's of jaxrnn" if known else "another program's"
        raise ValueError(f"it is {whose} checkpoint")
    if label["step"] != step:
        raise ValueError(f"it is the checkpoint of step {label['step']}, copied")
    return label


def named(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of `tree` by their names, on the host."""
    leaves = jax.tree.leaves_with_path(to_host(tree))
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def shaped(values: dict, like: Any) -> Any:
    """What `named` took apart, in the structure of `like`."""
    tree = jax.tree.unflatten(jax.tree.structure(like), values.values())
    return with_keys(tree, like)


def _hash(values: dict[str, np.ndarray], notes: dict) -> str:
    digest = hashlib.sha256(json.dumps(notes, sort_keys=True).encode())
    for name, value in values.items():
        digest.update(f"{name} {value.dtype} {value.shape} ".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def try_room(path: Path, values: dict) -> None:
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


def brief(error: Exception) -> str:
    """What an error says, on one line; storage libraries say pages."""
    text = " ".join(f"{error}".split()) or type(error).__name__
    return text if len(text) < 300 else f"{text[:200]} ... {text[-90:]}"
