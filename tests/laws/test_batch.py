"""Law 4, batch: a batch equals its rows; any number of batch dimensions; vmap; order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.engine import gated
from tests.laws import programs
from tests.laws.cases import (
    CELLS,
    GATED,
    QUICK,
    STEPS,
    B,
    T,
    assert_close,
    each,
    floats,
    most,
    weights_of,
    with_grads,
)
from tests.laws.numpy_jaxpr import evaluate

some = each(quick=QUICK)


def rows(tree, axis, which):
    """Some rows of all arrays of a tree: `which` of the batch axis."""
    take = lambda a: a[(slice(None),) * axis + (which,)] if np.ndim(a) else a
    return jax.tree.map(take, tree)


def picked(args, which):
    """The arguments of a program for some rows of a batch."""
    params, carry, xs, lengths, mask, resets, weights = args
    of_carry = len(floats(carry))
    return (
        params,
        rows(carry, 0, which),
        rows(xs, 1, which),
        rows(lengths, 0, which),
        rows(mask, 1, which),
        rows(resets, 1, which),
        rows(weights[:of_carry], 0, which) + rows(weights[of_carry:], 1, which),
    )


@most(alike=False)
def test_a_batch_equals_its_rows(name):
    """In value and gradients, which for params are the sum of the rows'."""
    args = *programs.given(name), programs.weights(name)
    (last, hs), (dparams, *dothers) = programs.gradients(name)(*args)
    parts = programs.gradients(name, batch=())
    total = jax.tree.map(np.zeros_like, dparams)
    for b in range(B):
        got, (dpart, *drow) = parts(*picked(args, b))
        assert_close(got, (rows(last, 0, b), rows(hs, 1, b)))
        assert_close(drow, [rows(d, axis, b) for axis, d in enumerate(dothers)])
        total = jax.tree.map(np.add, total, dpart)
    assert_close(total, dparams)


@most(alike=False)
def test_a_batch_of_batches_equals_its_batches(name):
    args = programs.given(name, (2, B))
    last, hs = programs.values(name, batch=(2, B))(*args)
    for b in range(2):
        got = programs.values(name)(*picked((*args, []), b)[:-1])
        assert_close(got, (rows(last, 0, b), rows(hs, 1, b)))


@most(alike=False)
def test_rows_permuted_outputs_permuted(name):
    args, order = (*programs.given(name), programs.weights(name)), np.array([2, 0, 1])
    (last, hs), (dparams, dcarry, dxs) = programs.gradients(name)(*args)
    got = programs.gradients(name)(*picked(args, order))
    out = rows(last, 0, order), rows(hs, 1, order)
    assert_close(got, (out, (dparams, rows(dcarry, 0, order), rows(dxs, 1, order))))


@some
def test_vmap_over_the_batch_equals_the_batch(name):
    args = programs.given(name)
    run = jax.vmap(programs.unrolled(name), (None, 0, 1, 0, 1, 1), (0, 1))
    assert_close(evaluate(run, *args), programs.values(name)(*args))


@most(STEPS)
def test_a_step_without_batch(name):
    params, carry, xs = programs.given(name)[:3]
    whole = programs.step(name)(params, carry, xs[0])
    for b in range(B):
        alone = programs.step(name, ())(params, rows(carry, 0, b), xs[0, b])
        assert_close(alone, rows(whole, 0, b))


@some
def test_empty_sequences_and_empty_batches(name):
    params, carry, xs = programs.given(name)[:3]
    run = with_grads(functools.partial(jaxrnn.unroll, CELLS[name]))
    (last, hs), (dparams, dcarry, _) = evaluate(run, params, carry, xs[:0])
    assert_close(last, carry)
    assert all(a.shape[0] == 0 for a in jax.tree.leaves(hs))
    assert all(not np.any(a) for a in jax.tree.leaves(dparams))
    drawn = iter(weights_of(carry))
    real = lambda a: jnp.issubdtype(a.dtype, jnp.floating)
    expected = jax.tree.map(
        lambda a: np.cos(a) * next(drawn) if real(a) else np.zeros((), int), carry
    )
    assert_close(dcarry, expected)
    none = rows(carry, 0, slice(0))
    (last, hs), (dparams, _, _) = evaluate(run, params, none, xs[:, :0])
    assert_close(last, none)
    assert all(a.shape[:2] == (T, 0) for a in jax.tree.leaves(hs))
    assert all(not np.any(a) for a in jax.tree.leaves(dparams))


@each(GATED, quick=("lstm", "own_gated"))
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_few_rows_and_many_are_run_alike(name, reverse):
    """Few rows are projected for all of time at once, many inside the loop."""
    args = *programs.given(name), programs.weights(name)
    for few in (0, 100):
        engine = (gated.engine(gated.Plan(few_rows=few)),)
        run = with_grads(programs.unrolled(name, engine, reverse), weighs=True)
        assert_close(evaluate(run, *args), programs.oracle(name, reverse)(*args))


@pytest.mark.parametrize("name", ["conv_lstm", "conv_gru"])
def test_a_step_of_images_with_any_batch_axes(name):
    """A convolution knows one axis of rows: none and two are made one, and back."""
    cell = CELLS[name]
    params, carry, xs = programs.given(name, (2, 3))[:3]
    _, h = cell.step(params, carry, xs[0])
    for at in np.ndindex(2, 3):
        row = jax.tree.map(lambda a, at=at: a[at], carry)
        assert_close(h[at], cell.step(params, row, xs[0][at])[1])
