"""Checks of functions that users give."""

import inspect
from typing import Any


def check_function(name: str, function: Any, arguments: str) -> None:
    """Raises ValueError unless `function` can be called with `arguments`, by position."""
    wanted = f"{name}: expected a function of ({arguments}), got"
    if not callable(function):
        raise ValueError(f"{wanted} {type(function).__name__}.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some that are not written in Python have none
        return
    try:
        signature.bind(*arguments.split(", "))
    except TypeError:
        raise ValueError(f"{wanted} one of {signature}.") from None
