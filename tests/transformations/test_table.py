"""Every cell under every transformation, against a Python loop of `step`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.laws.cases import assert_close, by_hand, example
from tests.transformations.__main__ import PAGE, page
from tests.transformations.table import COLUMNS, PLAIN, TRANSFORMATIONS, Run

T, B = 4, 4
LENGTHS = np.array([T, 2, 0, 3])
RESETS = np.random.RandomState(4).rand(T, B) < 0.3
# The quick suite has the cell that uses every freedom, under what no other test of the
# suite has: test_time has jit and gradients, test_sharding has shards, test_guards the
# checks of promotion.
QUICK = "own_gated"
UNDER = (
    "eval_shape",
    "jvp of grad",
    "vmap over the batch, out along another axis",
    "scan of unroll",
    "export with symbolic time and batch, stored",
    "checking_leaks",
)
# And `make slow` these, each of another kind, under all of them.
SLOW = ("lstm", QUICK, "own_deep", "bare", "stack", "bidirectional")


def marks(name, transformation):
    quick = name == QUICK and transformation in UNDER
    when = pytest.mark.slow if name in SLOW else pytest.mark.nightly
    return [] if quick else [when]


GRID = [
    pytest.param(name, transformation, marks=marks(name, transformation))
    for name in COLUMNS
    for transformation in TRANSFORMATIONS
]


def by_unroll(cell, params, carry, xs, lengths, resets):
    return jaxrnn.unroll(cell, params, carry, xs, lengths=lengths, resets=resets)


def by_loop(cell, params, carry, xs, lengths, resets):
    inside = jnp.arange(len(xs)).reshape(-1, *(1,) * lengths.ndim) < lengths
    return by_hand(cell, params, carry, xs, inside, resets & inside)


def arguments(name):
    return (*example(name, (B,), T), jnp.asarray(LENGTHS), jnp.asarray(RESETS))


@functools.cache
def of_the_loop(name, way):
    return jax.device_get(way(Run(name, by_loop), arguments(name)))


@pytest.mark.parametrize(("name", "transformation"), GRID)
def test_a_transformation_means_what_it_means_of_a_loop(name, transformation):
    way = TRANSFORMATIONS[transformation]
    got = jax.device_get(way(Run(name, by_unroll), arguments(name)))
    # second derivatives and a loop's other order of sums: a digit more of rounding
    assert_close(got, of_the_loop(name, PLAIN.get(way, way)), tolerance=1e-11)


def test_the_page_is_the_table():
    assert PAGE.read_text() == page(), "run python -m tests.transformations"
