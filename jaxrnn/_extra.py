"""Packages that only some of the library needs, imported where they are used."""

import functools
import importlib
import re
from importlib import metadata
from typing import Any, NamedTuple


class Needed(NamedTuple):
    """A package of an extra.

    Fields:
        extra: of jaxrnn, which brings the package along.
        package: its name for pip.
        least: the least version that works.
    """

    extra: str
    package: str
    least: str


# By the first part of the module's name; pyproject.toml says the same.
NEEDED = {
    "flatbuffers": Needed("export", "flatbuffers", "24.3"),
    "grain": Needed("train", "grain", "0.2.18"),
    "jax2onnx": Needed("onnx", "jax2onnx", "0.13"),
    "matplotlib": Needed("plot", "matplotlib", "3.8"),
    "onnx": Needed("onnx", "onnx", "1.17"),
    "onnxruntime": Needed("onnx", "onnxruntime", "1.24.1"),
    "orbax": Needed("train", "orbax-checkpoint", "0.11.36"),
    "rich": Needed("train", "rich", "13"),
    "safetensors": Needed("safetensors", "safetensors", "0.4.5"),
    "sklearn": Needed("digits", "scikit-learn", "1.5"),
}


def need(module: str) -> Any:
    """The module, or an ImportError that says how to install it.

    Raises:
        ImportError: where the module is missing, fails to import, or is of a version
            that this library cannot use.
    """
    extra, package, least = NEEDED[module.split(".")[0]]
    remedy = f"Install it by: pip install 'jaxrnn[{extra}]'"
    found = version(package)
    if found is not None and release(found) < release(least):
        raise ImportError(
            f"{package}: expected {least} or later, got {found}. {remedy}"
        )
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = found is None or getattr(error, "name", None) == module
        what = "is needed here" if missing else f"{found} fails to import ({error})"
        raise ImportError(f"{module} {what}. {remedy}") from error


@functools.cache
def version(package: str) -> str | None:
    """The installed version of a package; None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def release(text: str) -> tuple[int, ...]:
    """The numbers of a version, to compare: of "0.12.8rc1" (0, 12, 8)."""
    numbers = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()
