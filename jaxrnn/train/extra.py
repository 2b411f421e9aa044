"""Packages that only training needs, imported where they are used."""

import importlib
from typing import Any


def need(module: str) -> Any:
    """The module, or an ImportError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module} is needed here. pip install jaxrnn[train] brings it along."
        ) from error
