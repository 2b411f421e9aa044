"""The leaves of a tree by the names that they have in a file."""

from typing import Any

import jax
import jax.numpy as jnp


def leaves_of(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their dotted paths."""
    named: dict[str, Any] = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in named:
            raise ValueError(f"params: two leaves are named {name!r}.")
        try:
            leaf = leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf)
        except TypeError as error:
            raise ValueError(
                f"params: expected arrays, got {name!r}: {leaf!r}."
            ) from error
        if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            raise ValueError(
                f"params: {name!r} is a random key. Keep jax.random.key_data of it."
            )
        named[name] = leaf
    return named
