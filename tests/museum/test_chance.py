"""Random numbers: dropout over time, and the same bits for the same key."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
import jaxrnn.linen
from jaxrnn import train
from tests.museum.exhibits import exhibit

LINEN = "jaxrnn/linen.py"
DROPOUT = "jaxrnn/noise/_dropout.py"
RATE = 0.5


def layer(cell):
    """A cell that hands on what it reads."""
    return jaxrnn.Cell(
        init=lambda key, features: (),
        initial_carry=lambda params, x: jnp.zeros(x.shape, x.dtype),
        step=lambda params, carry, x: (carry, x),
    )


# Between two layers that change nothing, dropout is all there is to see.
MODULE = jaxrnn.linen.RNN(jaxrnn.stack(layer(0), layer(1)), dropout=RATE)


def dropped(seed=0, shape=(3, 40, 50), run=lambda f: f):
    rngs = {"dropout": jax.random.key(seed)}
    call = lambda xs: MODULE.apply(
        {"params": {"cell": jaxrnn.linen.to_tree(((), ()))}},
        None,
        xs,
        deterministic=False,
        rngs=rngs,
    )[1]
    return np.asarray(run(call)(jnp.ones(shape)))


@exhibit(
    44,
    "google/flax#4950",
    plant=(
        DROPOUT,
        "dropout.unroll.one",
        "bits(key, control, a.shape)",
        "bits(key, control, (1, *a.shape[1:]))",
    ),
)
def test_one_dropout_mask_for_all_steps():
    """The key was not split over time, so every step dropped the same units."""
    masks = dropped() > 0
    assert masks.shape == (3, 40, 50)
    assert len({mask.tobytes() for mask in masks.swapaxes(0, 1)}) == 40
    assert len({mask.tobytes() for row in masks for mask in row}) == 120


@exhibit(
    45,
    "google/flax@0f631a2",
    plant=(
        LINEN,
        "_Recurrent.__call__",
        'self.make_rng("dropout")',
        "jax.random.fold_in(self.make_rng('dropout'), isinstance(xs, jax.core.Tracer))",
    ),
)
def test_jit_draws_other_numbers():
    """A pass over shapes alone advanced the counters, so under jit all keys differed."""
    plain = dropped()
    np.testing.assert_array_equal(dropped(run=jax.jit), plain)
    jax.eval_shape(lambda: dropped(run=lambda f: lambda xs: np.zeros(1)))
    np.testing.assert_array_equal(dropped(), plain)


@exhibit(
    47,
    "keras-team/keras#9031",
    "keras-team/keras#8976",
    plant=(
        DROPOUT,
        "dropout.unroll.one",
        "bits(key, control, a.shape)",
        "globals().setdefault('kept', bits(key, control, a.shape))",
    ),
)
def test_a_dropout_mask_kept_from_the_call_before():
    """The mask of the first batch was used for the second, of another size."""
    first = dropped(0, (2, 7, 5))
    assert dropped(1, (4, 6, 5)).shape == (4, 6, 5)
    assert (dropped(1, (2, 7, 5)) != first).any()


@exhibit(
    48,
    "keras-team/keras@fe25743",
    plant=(
        DROPOUT,
        "dropout.unroll.one",
        "drop(a, kept(bits(key, control, a.shape), rate), rate)",
        "globals().setdefault('leaked', drop(a, kept(bits(key, control, a.shape), rate), rate))",
    ),
)
def test_random_state_leaks_out_of_a_trace():
    """Values that were drawn inside a traced loop leaked out of it."""
    with jax.checking_leaks():
        first = dropped(0, (2, 3, 4), run=jax.jit)
    np.testing.assert_array_equal(dropped(0, (2, 3, 4), run=jax.jit), first)


@exhibit(
    50,
    "pytorch/pytorch#18110",
    "pytorch/pytorch#35661",
    "pytorch/pytorch#104697",
    plant=(
        LINEN,
        "_Recurrent.__call__",
        'self.make_rng("dropout")',
        "jax.random.key(int.from_bytes(__import__('os').urandom(2)))",
    ),
)
def test_dropout_that_no_seed_fixes():
    """The same seeds gave different masks in every run."""
    for _ in range(3):
        np.testing.assert_array_equal(dropped(5), dropped(5))


PROGRAM = """
import jax, jaxrnn
cell = jaxrnn.stack(jaxrnn.lstm(3), jaxrnn.bidirectional(jaxrnn.gru(2)))
like = jax.eval_shape(lambda: cell.init(jax.random.key(0), 4))
xs = jax.ShapeDtypeStruct((5, 2, 4), "float32")
loss = lambda p, xs: jaxrnn.unroll(cell, p, None, xs)[1].sum()
print(jax.jit(jax.grad(loss)).lower(like, xs).as_text())
"""


@pytest.mark.slow
@exhibit(
    51,
    "jax-ml/jax@f0e1c3c",
    plant=(
        "jaxrnn/cells/lstm.py",
        "output",
        "return carry.h",
        "return carry.h + hash('h') % 2 ** 20 * 1e-30",
    ),
)
def test_a_program_that_differs_from_run_to_run():
    """Uninitialised bytes were part of the program, so no cache found it again."""
    texts = set()
    for seed in "12":
        environment = os.environ | {"PYTHONHASHSEED": seed}
        run = (sys.executable, "-c", PROGRAM)
        texts.add(
            subprocess.run(run, env=environment, capture_output=True, check=True).stdout
        )
    assert len(texts) == 1
    assert b"while" in texts.pop()


@exhibit(
    49,
    "google/grain@20f1174",
    plant=("jaxrnn/train/data.py", "arrays.order", "(seed or 0, epoch)", "seed or 0"),
)
def test_the_same_seed_everywhere():
    """Every worker had the same seed; here the counterpart is every epoch."""
    data = train.arrays(np.arange(30), 30, batch_axis=0, seed=4)
    orders = {data[epoch].tobytes() for epoch in range(5)}
    assert len(orders) == 5
