"""Packages that only some of the library needs, imported where they are used."""

import importlib
from typing import Any

# Package -> the extra of jaxrnn that brings it along.
EXTRAS = {
    "grain": "train",
    "matplotlib": "plot",
    "orbax": "train",
    "rich": "train",
    "safetensors": "safetensors",
    "sklearn": "digits",
}


def need(module: str) -> Any:
    """The module, or an ImportError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        extra = EXTRAS[module.split(".")[0]]
        raise ImportError(
            f'{module} is needed here. pip install "jaxrnn[{extra}]" brings it along.'
        ) from error
