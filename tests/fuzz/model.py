"""Cells and cells made from cells in NumPy: what each must answer over a stretch of time.

A kind is a tuple: ``("gru", 3)``, ``("stack", one, two)``, ``("bidirectional", one, two)``.
Written from the docstrings and the equations alone; nothing here calls jaxrnn.
"""

from typing import Any

import numpy as np

from tests.fuzz.contract import gru, sigmoid, simple_rnn


def named(tree: Any, *names: str) -> tuple:
    return tuple(getattr(tree, name) for name in names)


def lstm(p, carry, x):
    h, c = carry
    i, f, g, o = np.split(x @ p["wx"] + h @ p["wh"] + p["b"], 4, -1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def width(kind: tuple, features: int) -> int:
    """Of what the cell shows."""
    name, *parts = kind
    if name in ("simple_rnn", "lstm", "gru"):
        return parts[0]
    if name == "bidirectional":
        return sum(width(part, features) for part in parts)
    for part in parts:
        features = width(part, features)
    return features


def over_time(kind: tuple, params: Any, carry: Any, xs: Any, reverse: bool) -> tuple:
    """``(carry, hs)`` in float64; params and carries are the library's own trees."""
    name, *parts = kind
    if name == "stack":
        new = []
        for part, p, c in zip(parts, params, carry, strict=True):
            c, xs = over_time(part, p, c, xs, reverse)
            new.append(c)
        return tuple(new), xs
    if name == "residual":
        carry, hs = over_time(parts[0], params, carry, xs, reverse)
        return carry, hs + xs
    if name == "learned_carry":
        return over_time(parts[0], params.cell, carry, xs, reverse)
    if name == "bidirectional":
        (pf, pb), (cf, cb) = (named(t, "forward", "backward") for t in (params, carry))
        cf, hf = over_time(parts[0], pf, cf, xs, reverse)
        cb, hb = over_time(parts[1], pb, cb, xs, not reverse)
        return type(carry)(cf, cb), np.concatenate([hf, hb], -1)
    wide = lambda a: np.asarray(a, np.float64)
    fields = {field: wide(getattr(params, field)) for field in params._fields}
    state = tuple(map(wide, named(carry, "h", "c"))) if name == "lstm" else wide(carry)
    hs = [None] * len(xs)
    step = {"simple_rnn": simple_rnn, "gru": gru, "lstm": lstm}[name]
    for t in range(len(xs))[:: -1 if reverse else 1]:
        state = step(fields, state, wide(xs[t]))
        hs[t] = state[0] if name == "lstm" else state
    shape = (*np.shape(xs)[:-1], parts[0])
    shown = np.stack(hs) if hs else np.zeros(shape)
    return (type(carry)(*state) if name == "lstm" else state), shown


def steps(kind: tuple) -> bool:
    """Whether the cell has a step, which sees no future."""
    name, *parts = kind
    if name in ("simple_rnn", "lstm", "gru"):
        return True
    return name != "bidirectional" and all(map(steps, parts))
