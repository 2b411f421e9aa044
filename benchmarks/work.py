"""The work that is timed: one layer over time, its sizes, inputs and right results."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn

CELLS = {"simple_rnn": jaxrnn.simple_rnn, "gru": jaxrnn.gru, "lstm": jaxrnn.lstm}
GATES = {"simple_rnn": 1, "gru": 3, "lstm": 4}
MODES = ("forward", "backward", "adam")
SIZES = {  # name -> T, B, D, H
    "H16": (128, 4, 16, 16),
    "H64": (128, 16, 64, 64),
    "D64-H128": (128, 32, 64, 128),
    "H128": (512, 64, 128, 128),
    "H256": (256, 32, 256, 256),
    "D256-H512": (128, 32, 256, 512),
    "H512": (256, 32, 512, 512),
    "H1024": (64, 16, 1024, 1024),
    "long": (4096, 8, 64, 64),
    "H768": (1024, 16, 768, 768),  # for accelerators; not in the matrix as it comes
}
# Of the largest number of each array: what rounding to that dtype may do.
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.2, "float16": 0.02}


class Work(NamedTuple):
    """A layer of `cell` over T steps of B rows, D features in and H out."""

    cell: str
    T: int
    B: int
    D: int
    H: int

    def flops(self, mode: str) -> int:
        """FLOPs of the matmuls: a backward pass has two for each of the forward pass."""
        forward = 2 * GATES[self.cell] * self.B * self.T * self.H * (self.D + self.H)
        return forward if mode == "forward" else 3 * forward


class Numbers(NamedTuple):
    """Inputs, and the cotangents of the outputs; trees of NumPy float32."""

    params: Any
    carry: Any
    xs: Any
    dhs: Any
    dcarry: Any


class Result(NamedTuple):
    """Outputs and gradients; dparams in jaxrnn's layout."""

    hs: Any
    carry: Any
    dparams: Any
    dcarry: Any
    dxs: Any


def draw(work: Work, dtype: str = "float32", seed: int = 0) -> Numbers:
    """Random numbers, biases too; kernels of the scale of trained networks.

    All float32, rounded to `dtype`.
    """
    random = np.random.default_rng(seed)
    cell = CELLS[work.cell](work.H)

    def normal(shape, scale=1.0):
        drawn = scale * random.normal(size=shape)
        return np.array(jnp.asarray(drawn, dtype), np.float32)

    like = jax.eval_shape(lambda: cell.init(jax.random.key(0), work.D))
    scales = {2: work.H**-0.5, 1: 0.1}
    params = jax.tree.map(lambda a: normal(a.shape, scales[a.ndim]), like)
    x = jax.ShapeDtypeStruct((work.B, work.D), np.float32)
    carry = jax.eval_shape(cell.initial_carry, like, x)
    draw_carry = lambda: jax.tree.map(lambda a: normal(a.shape, 0.5), carry)
    return Numbers(
        params,
        draw_carry(),
        normal((work.T, work.B, work.D)),
        normal((work.T, work.B, work.H)),
        draw_carry(),
    )


def oracle(work: Work, numbers: Numbers) -> Result:
    """The result in float64, by the plain scan of the cell's step."""
    cell = CELLS[work.cell](work.H)

    def run(params, carry, xs):
        return jaxrnn.unroll(cell, params, carry, xs, engine="scan")

    @jax.jit
    def both(numbers):
        (carry, hs), back = jax.vjp(run, *numbers[:3])
        return Result(hs, carry, *back((numbers.dcarry, numbers.dhs)))

    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), numbers)
        return jax.tree.map(np.asarray, both(wide))


def check(name: str, result: Result, wanted: Result, tolerance: float = 1e-4) -> None:
    """Raises AssertionError unless `result` is `wanted` up to rounding to float32.

    Gradients of weights are sums of T * B products, so errors are relative to the
    largest number of each array.
    """
    for field, have, want in zip(Result._fields, result, wanted, strict=True):
        for (path, a), b in zip(
            jax.tree.leaves_with_path(have), jax.tree.leaves(want), strict=True
        ):
            where = f"{name}: {field}{jax.tree_util.keystr(path)}"
            a, b = np.asarray(a, np.float64), np.asarray(b)
            assert a.shape == b.shape, f"{where}: {a.shape}, expected {b.shape}"
            error = np.abs(a - b).max() / np.abs(b).max()
            assert error <= tolerance, f"{where}: error {error:.1e}"
