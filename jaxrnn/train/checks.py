"""Checks of arguments that several functions take."""

import inspect
from typing import Any

import numpy as np


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


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raises ValueError unless `value` is an integer from `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name}: expected an integer from {least}, got {value!r}.")


def check_optimizer(optimizer: Any) -> None:
    """Raises ValueError unless `optimizer` is one of Optax."""
    wanted = all(
        callable(getattr(optimizer, name, None)) for name in ("init", "update")
    )
    if not wanted:
        raise ValueError(
            "optimizer: expected an optax.GradientTransformation, got "
            f"{getattr(optimizer, '__name__', type(optimizer).__name__)}. "
            "Call it: optax.adam(1e-3)."
        )


def check_seed(seed: Any) -> None:
    """Raises ValueError unless `seed` is None or an integer from 0."""
    if seed is not None:
        check_count("seed", seed, least=0)
