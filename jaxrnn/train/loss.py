"""How a loss is called, and what it must return."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxrnn._functions import check_function
from jaxrnn._tree import structure_of
from jaxrnn.train.mean import Mean, Sum, terms
from jaxrnn.train.state import Carry

# What every row has of its own.
RESERVED = ("step", "split", "grad_norm", "weight", "skipped", "empty")


def check_loss(loss: Any) -> None:
    """Raises ValueError unless `loss` takes what a loss gets."""
    check_function("loss", loss, "params, carry, batch, key")


def returned(loss: Callable, *arguments: Any) -> tuple[Any, dict[str, Mean | Sum]]:
    """``(carry, means)`` that `loss` returns.

    Raises:
        ValueError: unless means are named scalars `Mean` or `Sum`, "loss" among them.
    """
    found = loss(*arguments)
    wanted = 'expected a dict of train.Mean with the entry "loss" as its second result'
    example = 'Return `carry, {"loss": train.mean(losses)}`.'
    pair = isinstance(found, tuple) and len(found) == 2
    if not pair or isinstance(found, Mean):
        got = structure_of(found)
        raise ValueError(f"loss: expected (carry, means), got {got}. {example}")
    _, means = found
    if not isinstance(means, dict) or "loss" not in means:
        raise ValueError(f"loss: {wanted}, got {structure_of(means)}. {example}")
    for name, mean in means.items():
        if name in RESERVED:
            raise ValueError(
                f"loss: expected other names of means than {RESERVED}, which every row "
                f"has of its own, got {name!r}."
            )
        for term in terms(mean) if isinstance(mean, Mean | Sum) else (None,):
            scalars = term is not None and not any(map(np.shape, term))
            if not scalars:
                raise ValueError(
                    f"loss: {wanted}, of scalars, got {structure_of(mean)} for {name!r}. "
                    f"{example}"
                )
    return found


def with_shared(carry: Any, shared: Any) -> Any:
    """What a loss is given as its carry."""
    return carry if shared is None else Carry(carry, shared)


def without_shared(flow: Any, shared: Any) -> tuple[Any, Any]:
    """``(carry, shared)`` of what a loss returned."""
    return (flow, None) if shared is None else (flow.rows, flow.shared)
