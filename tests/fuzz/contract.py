"""The contract of `unroll` for cells of vectors, in NumPy: what is refused, and the values.

Written from the docstrings and the equations alone; nothing here calls jaxrnn.
"""

from typing import Any

import numpy as np

ENGINES = ("auto", "gated", "scan")


class Refused(Exception):
    """The call must raise a ValueError that names this argument."""


def sigmoid(a):
    return 0.5 * np.tanh(0.5 * a) + 0.5


def simple_rnn(p, h, x):
    return np.tanh(x @ p["wx"] + h @ p["wh"] + p["b"])


def gru(p, h, x):
    r, z, n = np.split(x @ p["wx"] + p["b"], 3, -1)
    hr, hz, hn = np.split(h @ p["wh"], 3, -1)
    z = sigmoid(z + hz)
    return (1 - z) * np.tanh(n + sigmoid(r + hr) * (hn + p["bn"])) + z * h


STEPS = {"simple_rnn": simple_rnn, "gru": gru}


def refuse(name: str, wrong: bool) -> None:
    if wrong:
        raise Refused(name)


def meaning(
    cell: str,
    params: dict,
    carry: Any,
    xs: Any,
    *,
    lengths: Any = None,
    mask: Any = None,
    resets: Any = None,
    reverse: Any = False,
    remat: Any = None,
    engine: Any = "auto",
    known: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """``(carry, hs)`` in float64. Raises `Refused`.

    Args:
        cell: a name in `STEPS`.
        params: arrays by name, such as fit together.
        known: whether the values of lengths are seen when the call is made.
    """
    refuse("reverse", type(reverse) not in (bool, np.bool_))
    whole = isinstance(remat, int | np.integer) and not isinstance(remat, bool)
    refuse("remat", not (remat is None or remat == "auto" or (whole and remat >= 1)))
    refuse("engine", engine not in ENGINES)
    refuse("xs", not isinstance(xs, np.ndarray) or xs.ndim == 0)
    floats = xs.dtype.kind == "f" or xs.dtype.name == "bfloat16"
    refuse("x", not floats or xs.ndim < 2)
    refuse("params", xs.shape[-1] != len(params["wx"]))
    steps, batch = xs.shape[0], xs.shape[1:-1]
    hidden = len(params["wh"])
    kind = np.result_type(params["wh"].dtype, xs.dtype)

    lengths = None if lengths is None else np.asarray(lengths)
    mask = None if mask is None else np.asarray(mask)
    resets = None if resets is None else np.asarray(resets)
    if lengths is not None:
        refuse("lengths", lengths.shape != batch)
    for name, value in (("mask", mask), ("resets", resets)):
        if value is not None:
            refuse(name, value.shape[1:] != batch)
    if carry is not None:
        single = isinstance(carry, np.ndarray) or np.isscalar(carry)
        refuse("carry", not single or isinstance(carry, str))
        carry = np.asarray(carry)
        refuse("carry", carry.shape != (*batch, hidden) or carry.dtype != kind)
    for name, value in (("mask", mask), ("resets", resets)):
        if value is not None:
            refuse(name, value.dtype != bool or value.shape != (steps, *batch))
    if lengths is not None:
        refuse("lengths", lengths.dtype.kind not in "iu")
        if known and lengths.size:
            refuse("lengths", lengths.min() < 0 or lengths.max() > steps)

    valid = np.ones((steps, *batch), bool) if mask is None else mask.copy()
    over = np.zeros((steps, *batch), bool) if resets is None else resets.copy()
    if lengths is not None:
        inside = np.arange(steps).reshape(-1, *[1] * len(batch)) < lengths
        valid, over = valid & inside, over & inside
    params = {name: np.asarray(a, np.float64) for name, a in params.items()}
    h = np.zeros((*batch, hidden)) if carry is None else np.asarray(carry, np.float64)
    hs = np.zeros((steps, *batch, hidden))
    with np.errstate(all="ignore"):
        for t in range(steps)[:: -1 if reverse else 1]:
            if not reverse:
                h = np.where(over[t][..., None], 0, h)
            new = STEPS[cell](params, h, np.asarray(xs[t], np.float64))
            h = np.where(valid[t][..., None], new, h)
            hs[t] = np.where(valid[t][..., None], new, 0)
            if reverse:
                h = np.where(over[t][..., None], 0, h)
    return h, hs
