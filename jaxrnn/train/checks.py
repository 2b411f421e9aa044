"""Checks of arguments that several functions take."""

from typing import Any

import numpy as np


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
