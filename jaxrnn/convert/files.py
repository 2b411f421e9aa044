"""Params in safetensors files: named arrays and a little text, nothing that can run."""

import errno
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import noise
from jaxrnn._extra import need
from jaxrnn._spec import cells_of, show
from jaxrnn._version import __version__
from jaxrnn.cell import Cell
from jaxrnn.convert._arrays import copied, floating, held, total
from jaxrnn.convert._leaves import leaves_of
from jaxrnn.convert._state_dict import starts_of

# Options of built-in cells that change initial values alone.
INITIAL = {"forget_bias", "update_bias", "dtype"}
# The dtypes that the format's NumPy functions both write and read.
DTYPES = {"bool", "bfloat16", "float16", "float32", "float64", "complex64"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


def save_safetensors(
    path: str | Path, params: Any, *, cell: Cell | None = None
) -> None:
    """Writes params to a file. An error leaves the old file as it was.

    Args:
        path: the file. An old one is replaced when the new one is complete.
        params: a pytree of arrays of any dtype that the format has, bfloat16 too. A
            leaf is named by its path, such as ``0.forward.wx``.
        cell: the cell of these params. Its name is kept in the file, unless it is a
            cell of your own, which has no name.

    Raises:
        ValueError: for two leaves of one name, a leaf that is no array of numbers, or a
            dtype that the format does not have.
        OSError: where the file cannot be written.
        ImportError: without the extra ``safetensors``.

    Example:
        >>> import jax, jaxrnn, tempfile
        >>> from jaxrnn import convert
        >>> cell = jaxrnn.lstm(4)
        >>> params = cell.init(jax.random.key(0), 3)
        >>> path = tempfile.mkdtemp() + "/lstm.safetensors"
        >>> convert.save_safetensors(path, params, cell=cell)
        >>> sorted(convert.read_safetensors(path))
        ['b', 'wh', 'wx']
    """
    library, path = need("safetensors.numpy"), _path(path)
    about = {"format": "jaxrnn", "jaxrnn": __version__}
    name = _computes(cell)
    if name is not None:
        about["cell"] = name
    tensors = {}
    for name, leaf in leaves_of(params).items():
        if leaf.dtype.name not in DTYPES or name == "__metadata__":
            raise ValueError(
                f"params: a file cannot hold {name!r} of {leaf.dtype}, only names other "
                f"than __metadata__ and {sorted(DTYPES)}."
            )
        # In C order: the format's writer copies memory as it lies.
        tensors[name] = np.array(leaf, order="C")
    data = library.save(tensors, metadata=about)
    _write(path, data)


def load_safetensors(
    path: str | Path, like: Any, *, cell: Cell | None = None, dtype: Any = None
) -> Any:
    """Reads params from a file that holds these params and nothing else.

    Args:
        path: the file.
        like: the structure, shapes and dtypes to expect: params, or
            ``jax.eval_shape(lambda: cell.init(key, features))``.
        cell: the cell that the params are for. If the file names a cell, it must
            compute the same; initial values may differ.
        dtype: of the floating params; None is the file's own, which must be that of
            `like`. ``"float32"`` reads half precision without loss.

    Returns:
        Params with the structure of `like`, and sharded as its arrays are.

    Raises:
        ValueError: for a file that is damaged or of another format, names that are
            missing or not expected, another shape or dtype, another cell's params, or
            numbers that overflow `dtype`.
        OSError: where the file cannot be read.
        ImportError: without the extra ``safetensors``.

    Example:
        >>> import jax, jaxrnn, tempfile
        >>> from jaxrnn import convert
        >>> cell = jaxrnn.stack(jaxrnn.gru(4), jaxrnn.gru(4))
        >>> params = cell.init(jax.random.key(0), 3)
        >>> path = tempfile.mkdtemp() + "/gru.safetensors"
        >>> convert.save_safetensors(path, params, cell=cell)
        >>> like = jax.eval_shape(lambda: cell.init(jax.random.key(0), 3))
        >>> loaded = convert.load_safetensors(path, like, cell=cell)
        >>> bool((loaded[1].wh == params[1].wh).all())
        True
    """
    if isinstance(like, Cell):
        raise ValueError(
            "like: expected params or their shapes, got a Cell. Give "
            "jax.eval_shape(lambda: cell.init(key, features)), and cell=cell beside it."
        )
    dtype = floating(dtype)
    tensors, about = _read(path)
    name = _computes(cell)
    if name is not None and about.get("cell", name) != name:
        raise ValueError(
            f"{path}: expected the params of {name}, got those of {about['cell']}."
        )
    wanted = leaves_of(like)
    for name in sorted(set(wanted) ^ set(tensors)):
        what = "no tensor" if name in wanted else "a tensor that is not expected,"
        raise ValueError(
            f"{path}: {what} {name!r}. Expected {sorted(wanted)}, got {sorted(tensors)}."
            f"{_whose(tensors)}"
        )
    leaves = []
    for name, leaf in wanted.items():
        have, expected = tensors[name], np.dtype(leaf.dtype)
        cast = dtype is not None and all(
            jnp.issubdtype(d, jnp.floating) for d in (have.dtype, expected)
        )
        if have.shape != leaf.shape or not (cast or have.dtype == expected):
            option = f" Give dtype={expected.name!r} to cast." * (
                have.shape == leaf.shape
            )
            raise ValueError(
                f"{path}: {name!r}: expected {expected} {list(leaf.shape)}, "
                f"got {have.dtype} {list(have.shape)}.{option}"
            )
        if jnp.issubdtype(have.dtype, jnp.floating):
            have = total(f"{path}: {name!r}", [have], dtype or held(have.dtype))
        leaves.append(jax.device_put(copied(have), getattr(leaf, "sharding", None)))
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _whose(tensors: Mapping) -> str:
    """What to call for a file of torch's."""
    if not starts_of(tensors):
        return ""
    return " These are a torch module's: call from_torch(read_safetensors(path))."


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads every array of any file in this format.

    Args:
        path: the file, such as one with a torch state dict, which `from_torch` takes.

    Returns:
        name -> NumPy array, in the file's dtype.

    Raises:
        ValueError: for a file that is damaged or of another format.
        OSError: where the file cannot be read.
        ImportError: without the extra ``safetensors``.

    Example:
        >>> import jax, jaxrnn, tempfile
        >>> from jaxrnn import convert
        >>> cell = jaxrnn.simple_rnn(4)
        >>> path = tempfile.mkdtemp() + "/rnn.safetensors"
        >>> convert.save_safetensors(path, cell.init(jax.random.key(0), 3))
        >>> convert.read_safetensors(path)["wx"].shape
        (3, 4)
    """
    return _read(path)[0]


def _path(path: Any) -> Path:
    try:
        return Path(path)
    except TypeError:
        raise ValueError(
            f"path: expected a file's name, got {type(path).__name__}."
        ) from None


def _read(path: str | Path) -> tuple[dict, Mapping]:
    library, path = need("safetensors"), _path(path)
    with open(path, "rb"):  # an OSError of Python's own, which names the file
        pass
    try:
        with library.safe_open(path, framework="np") as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
            return tensors, file.metadata() or {}
    except Exception as error:
        raise ValueError(
            f"{path}: expected a whole safetensors file, got one that does not read "
            f"({_brief(error)})."
        ) from error


def _brief(error: Exception) -> str:
    return " ".join(f"{error}".split()) or type(error).__name__


def _write(path: Path, data: bytes) -> None:
    """To a file beside it, then renamed: a reader sees the old one or the new one."""
    if not path.parent.is_dir():
        missing = os.strerror(errno.ENOENT)
        raise FileNotFoundError(errno.ENOENT, missing, str(path.parent))
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with staged.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)


def _computes(cell: Any) -> str | None:
    """A cell's name without noise and options that only shape its initial values.

    None for no cell, and for one of a user's own, in which nothing tells what it is.
    """
    if cell is None:
        return None
    if not isinstance(cell, Cell):
        raise ValueError(f"cell: expected a jaxrnn.Cell, got {cell!r}.")

    def known(spec):
        return bool(spec) and all(map(known, cells_of(spec)))

    def strip(spec):
        kind, *options = spec
        if kind in noise.__all__:  # it has no params, so it may come and go
            return strip(*cells_of(spec))
        kept = [
            ("cells", tuple(strip(inner) for inner in option[1]))
            if option[0] == "cells"
            else option
            for option in options
            if option[0] not in INITIAL
        ]
        return (kind, *kept)

    return show(strip(cell.spec)) if known(cell.spec) else None
