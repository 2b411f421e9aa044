"""Initial values that work for recurrent cells, and the field's other choices.

A kernel initializer is ``(key, shape, dtype) -> array`` and draws the kernel of *one*
gate, as in `jax.nn.initializers`, whose members all fit. A bias initializer is
``(key, hidden, dtype) -> b`` and draws a cell's whole bias, all its gates side by side.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrnn._tree import wide

glorot_uniform = jax.nn.initializers.glorot_uniform()


def orthogonal(key: jax.Array, shape: tuple, dtype=None) -> jax.Array:
    """An orthogonal matrix, uniformly drawn; Saxe et al. 2013, arXiv:1312.6120.

    As `jax.nn.initializers.orthogonal`, but one after the other under vmap. On CPU a
    batched QR decomposition waits for threads of the very pool that it runs on: with as
    many at work at once as there are cores, as four gates of a population are on two,
    ``jit(vmap(init))`` never returns (jaxlib 0.10.2).

    Args:
        key: a PRNG key.
        shape: ``[..., N, M]``; orthonormal rows or columns, whichever are fewer.
        dtype: of the result.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxrnn import initializers
        >>> w = initializers.orthogonal(jax.random.key(0), (3, 3))
        >>> bool(jnp.allclose(w @ w.T, jnp.eye(3), atol=1e-5))
        True
    """
    draw = jax.nn.initializers.orthogonal()
    return jax.custom_batching.sequential_vmap(lambda key: draw(key, shape, dtype))(key)


def per_gate(
    init: Callable, gates: int, key: jax.Array, shape: tuple, dtype
) -> jax.Array:
    """One draw of `init` a gate, side by side: shape ``[F, H]`` gives ``[F, gates * H]``.

    An orthogonal draw over the fused ``[H, 4H]`` would have half the gain of four.
    Draws are made in float32 or wider and cast, so that bfloat16 kernels are orthogonal
    too.

    Args:
        init: a kernel initializer.
        gates: how many gates.
        key: a PRNG key.
        shape: of one gate's kernel.
        dtype: of the result; None is JAX's default float.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxrnn import initializers
        >>> init, key = initializers.orthogonal, jax.random.key(0)
        >>> w = initializers.per_gate(init, 4, key, (3, 3), jnp.float32)
        >>> gate = w[:, 3:6]
        >>> bool(jnp.allclose(gate @ gate.T, jnp.eye(3), atol=1e-5))
        True
    """
    dtype = jnp.zeros((), dtype).dtype
    if 0 in shape:  # no features, and so nothing to draw
        return jnp.zeros((*shape[:-1], gates * shape[-1]), dtype)
    draws = [init(k, shape, wide(dtype)) for k in jax.random.split(key, gates)]
    return jnp.concatenate(draws, axis=-1).astype(dtype)


def identity(scale: float | jax.Array = 1.0) -> Callable:
    """`scale` times the identity: the IRNN, whose state is first carried along as it is.

    With ``activation="relu"`` and small input kernels; Le, Jaitly and Hinton 2015,
    arXiv:1504.00941.

    Args:
        scale: what the state is multiplied by at each step; may be traced.

    Returns:
        A kernel initializer; it raises ValueError for a kernel that is not square.

    Example:
        >>> import jax, jaxrnn
        >>> irnn = jaxrnn.simple_rnn(
        ...     hidden=8,
        ...     activation="relu",
        ...     kernel_init=jax.nn.initializers.normal(0.001),
        ...     recurrent_init=jaxrnn.initializers.identity(),
        ... )
        >>> irnn.init(jax.random.key(0), features=3).wh[0, :3].tolist()
        [1.0, 0.0, 0.0]
    """

    def init(key, shape, dtype=None):
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(
                f"shape: identity expects a square kernel, got {list(shape)}. "
                "Use it as recurrent_init."
            )
        return scale * jnp.eye(shape[0], dtype=dtype)

    return init


def torch_uniform(key: jax.Array, shape: tuple, dtype=None) -> jax.Array:
    """Uniform in ±1/√H, H the last axis: a torch RNN's kernel of one gate.

    Args:
        key: a PRNG key.
        shape: ``[..., H]``.
        dtype: of the result; None is JAX's default float.

    Example:
        >>> import jax, jaxrnn
        >>> init = jaxrnn.initializers.torch_uniform
        >>> cell = jaxrnn.lstm(16, kernel_init=init, recurrent_init=init)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> bool(abs(params.wx).max() <= 0.25)
        True
    """
    bound = shape[-1] ** -0.5
    dtype = jnp.zeros((), dtype).dtype
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def torch_bias(gates: str = "ifgo") -> Callable:
    """The sum of torch's two uniform biases, which is what a torch RNN starts from.

    Args:
        gates: the cell's gates in order: "ifgo" (LSTM), "rzn" (GRU, whose n keeps one
            draw: its other one is ``bn``) or any other letter for one gate, as "h".

    Returns:
        A bias initializer.

    Example:
        >>> import jax, jaxrnn
        >>> bias = jaxrnn.initializers.torch_bias("rzn")
        >>> cell = jaxrnn.gru(16, bias_init=bias)
        >>> b = cell.init(jax.random.key(0), features=3).b
        >>> bool(abs(b[:32]).max() > 0.25) and bool(abs(b[32:]).max() <= 0.25)
        True
    """

    def init(key, hidden, dtype=None):
        ours, theirs = (
            jnp.stack(
                [
                    torch_uniform(k, (hidden,), dtype)
                    for k in jax.random.split(key, len(gates))
                ]
            )
            for key in jax.random.split(key)
        )
        summed = jnp.array([[gate != "n"] for gate in gates])
        return jnp.where(summed, ours + theirs, ours).reshape(-1)

    return init


def chrono(longest: float | jax.Array, gates: str = "ifgo") -> Callable:
    """Keep gates that are initialised near 1, for memories of up to `longest` steps.

    The keep gate's bias is log U(1, longest - 1), so that its memory, 1 / (1 - σ(b)),
    spreads over all lengths up to `longest`; an input gate gets the opposite, all
    others zero. Tallec and Ollivier 2018, arXiv:1804.11188.

    Args:
        longest: steps that the memory should span, above 2; may be traced.
        gates: the cell's gates in order: "ifgo" (LSTM) or "rzn" (GRU). "f" and "z"
            keep, "i" lets in.

    Returns:
        A bias initializer. Raises ValueError for a `longest` of 2 or less.

    Example:
        >>> import jax, jaxrnn
        >>> bias = jaxrnn.initializers.chrono(100, "rzn")
        >>> cell = jaxrnn.gru(16, bias_init=bias)
        >>> r, z, n = cell.init(jax.random.key(0), features=3).b.reshape(3, 16)
        >>> bool((jax.nn.sigmoid(z) <= 0.99).all()), bool((r == 0).all())
        (True, True)
    """
    if not isinstance(longest, jax.Array) and longest <= 2:
        raise ValueError(f"longest: expected more than 2 steps, got {longest}.")

    def init(key, hidden, dtype=None):
        dtype = jnp.zeros((), dtype).dtype
        keep = jnp.log(jax.random.uniform(key, (hidden,), dtype, 1, longest - 1))
        sign = {"f": 1, "z": 1, "i": -1}
        return jnp.concatenate([sign.get(gate, 0) * keep for gate in gates])

    return init
