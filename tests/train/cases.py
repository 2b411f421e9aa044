"""A small ragged problem, shared so that it compiles once a file."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from jaxrnn import train

T, B, F, H = 5, 8, 3, 4
CELL = jaxrnn.gru(H)
OPTIMIZER = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(3e-2, 50))
)
LENGTHS = np.array([5, 1, 0, 3, 5, 2, 4, 5])


def loss(params, carry, batch, key):
    """Of `batch` (xs [T, B, F], lengths [B]); flows if there is a carry."""
    xs, lengths = batch
    new, hs = jaxrnn.unroll(CELL, params, carry, xs, lengths=lengths)
    valid = jnp.arange(xs.shape[0])[:, None] < lengths
    error = (hs - xs.sum(-1, keepdims=True)) ** 2
    means = {"loss": train.mean(error.sum(-1), valid), "first": train.mean(hs[0, :, 0])}
    return (None if carry is None else new), means


def draw(key):
    """A batch on the device; its lengths differ from batch to batch."""
    kx, kl = jax.random.split(key)
    lengths = jax.random.randint(kl, (B,), 0, T + 1)
    return jax.random.normal(kx, (T, B, F)), lengths


def batches(count, seed=0):
    """A list of batches, on the host."""
    r = np.random.default_rng(seed)
    one = lambda: (r.normal(size=(T, B, F)), r.permutation(LENGTHS))
    return [one() for _ in range(count)]


def start(carry=False, optimizer=OPTIMIZER):
    params = CELL.init(jax.random.key(0), F)
    x = jax.ShapeDtypeStruct((B, F), float)
    carry = CELL.initial_carry(params, x) + 0.1 if carry else None
    return train.init(params, optimizer, jax.random.key(1), carry=carry)


def fit(state, data, **options):
    options = {"batch_axis": (1, 0), "progress": False, "steps_per_call": 4} | options
    return train.fit(loss, OPTIMIZER, state, data, **options)


def assert_same_bits(a, b):
    """Equal trees, to the bit."""
    same = functools.partial(np.testing.assert_array_equal, strict=True)
    jax.tree.map(lambda a, b: same(np.asarray(a), np.asarray(b)), plain(a), plain(b))


def plain(tree):
    is_key = lambda a: jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
    return jax.tree.map(lambda a: jax.random.key_data(a) if is_key(a) else a, tree)
