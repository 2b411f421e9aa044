"""Outputs and gradients of every kind of cell, to a file.

    python -m tests.determinism.program --out numbers.npz

Also what changes nothing in mathematics: the same once more, without jit, rows in
another order, one row alone.
"""

import os
import pathlib
from dataclasses import dataclass

if "ONE_CPU" in os.environ:  # before JAX counts them
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import jaxrnn

T, B, F, H = 64, 32, 64, 128
CELLS = {
    "simple_rnn": jaxrnn.simple_rnn(H),
    "lstm": jaxrnn.lstm(H),
    "gru": jaxrnn.gru(H),
    "bidirectional": jaxrnn.bidirectional(jaxrnn.lstm(H), jaxrnn.gru(H)),
    "stack": jaxrnn.stack(jaxrnn.lstm(H), jaxrnn.gru(H)),
}
random = np.random.RandomState(0)
XS = random.randn(T, B, F).astype(np.float32)
LENGTHS = random.randint(0, T + 1, B)
ORDER = random.permutation(B)
# Behind these: the kinds of numbers.
KINDS = ("outputs", "gradients of inputs", "gradients of params")


def numbers(run, params, xs, lengths) -> dict[str, list]:
    (_, hs), (dparams, dxs) = run(params, jnp.asarray(xs), jnp.asarray(lengths))
    leaves = lambda tree: [np.asarray(a) for a in jax.tree.leaves(tree)]
    return dict(zip(KINDS, map(leaves, (hs, dxs, dparams)), strict=True))


def gradients(cell):
    def run(params, xs, lengths):
        def loss(params, xs):
            _, hs = jaxrnn.unroll(cell, params, None, xs, lengths=lengths)
            return jnp.sum(jnp.sin(hs)), hs

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, xs)

    return run


def ways(cell) -> dict[str, dict]:
    """The same numbers by each way."""
    params = cell.init(jax.random.key(0), F)
    plain = gradients(cell)
    run = jax.jit(plain)
    turned = numbers(run, params, XS[:, ORDER], LENGTHS[ORDER])
    back = np.argsort(ORDER)
    rows = [[a[:, back] for a in turned[kind]] for kind in KINDS[:2]]
    alone = numbers(run, params, XS[:, :1], LENGTHS[:1])
    once = numbers(run, params, XS, LENGTHS)
    return {
        "once": once,
        "again": numbers(run, params, XS, LENGTHS),
        "not jitted": numbers(plain, params, XS, LENGTHS),
        "rows in another order": {
            **dict(zip(KINDS, rows, strict=False)),
            KINDS[2]: turned[KINDS[2]],
        },
        # the other rows as they were: only the first is compared
        "a row alone": {
            kind: [
                np.concatenate([a, b[:, 1:]], 1)
                for a, b in zip(alone[kind], once[kind], strict=True)
            ]
            for kind in KINDS[:2]
        },
    }


@dataclass(frozen=True)
class Settings:
    """Where to."""

    out: pathlib.Path


def main(settings: Settings) -> None:
    found = {
        f"{name}: {way}: {kind}: {n}": a
        for name, cell in CELLS.items()
        for way, kinds in ways(cell).items()
        for kind, arrays in kinds.items()
        for n, a in enumerate(arrays)
    }
    np.savez(settings.out, **found)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
