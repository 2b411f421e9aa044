"""Law 4, batch: a batch equals its rows; any number of batch dimensions; vmap; order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn.engine import gated
from tests.laws.cases import (
    CELLS,
    GATED,
    QUICK,
    STEPS,
    B,
    T,
    assert_close,
    each,
    example,
    randomise,
    unroll,
    with_grads,
)

cells, some = each(), each(quick=QUICK)


@functools.cache
def ours(name):
    return jax.jit(with_grads(functools.partial(unroll, CELLS[name])))


@some
def test_a_batch_equals_its_rows(name):
    params, carry, xs = example(name)
    out, _ = ours(name)(params, carry, xs)
    row = jax.jit(functools.partial(unroll, CELLS[name]))
    for b in range(B):
        at = lambda tree, b=b: jax.tree.map(lambda a: a[b], tree)
        got = row(params, at(carry), xs[:, b])
        assert_close(got, (at(out[0]), jax.tree.map(lambda a, b=b: a[:, b], out[1])))


@each(quick=("lstm", "stack"))
def test_any_number_of_batch_dimensions(name):
    params, _, _ = example(name)
    cell = CELLS[name]
    xs = jnp.asarray(np.random.RandomState(8).randn(T, 2, 3, 4))
    carry = randomise(9, cell.initial_carry(params, xs[0]))
    rng = np.random.RandomState(10)
    lengths, mask = rng.randint(0, T + 1, (2, 3)), rng.rand(T, 2, 3) < 0.7
    resets = rng.rand(T, 2, 3) < 0.3

    def run(params, carry, xs, lengths, mask, resets):
        options = dict(lengths=lengths, mask=mask, resets=resets)
        return jaxrnn.unroll(cell, params, carry, xs, **options)

    run = jax.jit(with_grads(run))
    flat = lambda tree, n: jax.tree.map(
        lambda a: a.reshape(*a.shape[:n], 6, *a.shape[n + 2 :]), tree
    )
    whole = run(params, carry, xs, jnp.asarray(lengths), mask, resets)
    control = (jnp.asarray(lengths.ravel()), mask.reshape(T, 6), resets.reshape(T, 6))
    (last, hs), (dp, dc, dx) = run(params, flat(carry, 0), flat(xs, 1), *control)
    (last2, hs2), (dp2, _, dx2) = whole
    # `weighed` gives each number its weight by position, which flattening keeps
    assert_close((flat(last2, 0), flat(hs2, 1), flat(dx2, 1)), (last, hs, dx))
    assert_close(dp2, dp)


@some
def test_rows_permuted_outputs_permuted(name):
    params, carry, xs = example(name)
    order = np.array([2, 0, 1])
    (last, hs), _ = ours(name)(params, carry, xs)
    turn = lambda tree, axis: jax.tree.map(lambda a: jnp.take(a, order, axis), tree)
    (last2, hs2), _ = ours(name)(params, turn(carry, 0), turn(xs, 1))
    assert_close((last2, hs2), (turn(last, 0), turn(hs, 1)))


@some
def test_vmap_over_the_batch_equals_the_batch(name):
    params, carry, xs = example(name)
    run = functools.partial(jaxrnn.unroll, CELLS[name], params)
    last, hs = jax.jit(jax.vmap(run, in_axes=(0, 1), out_axes=(0, 1)))(carry, xs)
    assert_close((last, hs), ours(name)(params, carry, xs)[0])


@each(STEPS, quick=QUICK)
def test_a_step_without_batch(name):
    params, carry, xs = example(name)
    cell = CELLS[name]
    whole = cell.step(params, carry, xs[0])
    for b in range(B):
        at = lambda tree, b=b: jax.tree.map(lambda a: a[b], tree)
        assert_close(cell.step(params, at(carry), xs[0, b]), at(whole))


@some
def test_empty_sequences_and_empty_batches(name):
    params, carry, xs = example(name)
    cell = CELLS[name]
    run = jax.jit(with_grads(functools.partial(jaxrnn.unroll, cell)))
    (last, hs), (dparams, dcarry, _) = run(params, carry, xs[:0])
    assert_close(last, carry)
    assert all(a.shape[0] == 0 for a in jax.tree.leaves(hs))
    assert all(not np.any(a) for a in jax.tree.leaves(dparams))
    expected = jax.tree.map(
        lambda a, w: jnp.cos(a) * w if jnp.issubdtype(a.dtype, jnp.floating) else 0,
        carry,
        _weights(carry),
    )
    assert_close(dcarry, expected)
    none = jax.tree.map(lambda a: a[:0], carry)
    (last, hs), (dparams, _, _) = run(params, none, xs[:, :0])
    assert_close(last, none)
    assert all(a.shape[:2] == (T, 0) for a in jax.tree.leaves(hs))
    assert all(not np.any(a) for a in jax.tree.leaves(dparams))


def _weights(tree):
    """The weights that `weighed` gives to the leaves of a final carry."""
    floats = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.floating)]
    drawn = iter(
        [np.random.RandomState(i).randn(*a.shape) for i, a in enumerate(floats)]
    )
    return jax.tree.map(
        lambda a: next(drawn) if jnp.issubdtype(a.dtype, jnp.floating) else 0, tree
    )


@each(GATED, quick=("lstm", "own_gated"))
def test_few_rows_and_many_are_run_alike(name):
    """Few rows are projected for all of time at once, many inside the loop."""
    params, carry, xs = example(name)
    lengths = np.array([T, 2, 0])

    def run(few):
        engine = (gated.engine(gated.Plan(few_rows=few)),)
        f = lambda *a: jaxrnn.unroll(CELLS[name], *a, lengths=lengths, engine=engine)
        return jax.jit(with_grads(f))(params, carry, xs)

    assert_close(run(100), run(0))
