"""One update: however a batch is cut the same, and nothing that is not finite gets in."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType

import jaxrnn
from jaxrnn import train
from tests.train.cases import (
    CELL,
    OPTIMIZER,
    B,
    T,
    assert_same_bits,
    batches,
    draw,
    fit,
    loss,
    start,
)

PLAIN = train.make_step(loss, OPTIMIZER)


def close(a, b, tolerance=1e-12):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, tolerance, tolerance), a, b
    )


def of(state):
    return state._replace(key=jax.random.key_data(state.key))


@functools.cache
def plainly(carry):
    state, rows = start(carry), []
    for batch in batches(3):
        state, means = PLAIN(state, batch)
        rows.append(means)
    return of(state), rows


def explicit():
    return jax.make_mesh((4,), ("rows",), (AxisType.Explicit,))


@pytest.mark.parametrize("carry", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize(
    ("accumulate", "mesh"),
    [
        pytest.param(4, None, id="4 microbatches", marks=pytest.mark.slow),
        pytest.param(1, train.data_mesh, id="4 devices", marks=pytest.mark.slow),
        pytest.param(2, lambda: train.data_mesh(2), id="2 microbatches on 2"),
        pytest.param(1, explicit, id="explicit axes", marks=pytest.mark.slow),
    ],
)
def test_cut_as_you_like(carry, accumulate, mesh):
    """Ragged rows, of which one is empty: a mean of means would differ."""
    mesh = mesh and mesh()
    step = train.make_step(
        loss, OPTIMIZER, accumulate=accumulate, batch_axis=(1, 0), mesh=mesh
    )
    state, rows = start(carry), []
    for batch in batches(3):
        state, means = step(state, batch)
        rows.append(means)
    close((of(state), rows), plainly(carry))


def test_is_adam_on_the_mean_over_tokens():
    """By hand: gradient of the token mean, clip, Adam; stop at the carry."""
    state, carry, params = start(True), start(True).carry, start().params
    memory = OPTIMIZER.init(params)
    for xs, lengths in batches(3):

        def whole(params, carry, xs=xs, lengths=lengths):
            valid = np.arange(T)[:, None] < lengths
            h, total = carry, 0.0
            for t in range(T):
                new, _ = CELL.step(params, h, xs[t])
                h = jnp.where(valid[t][:, None], new, h)
                error = (h - xs[t].sum(-1, keepdims=True)) ** 2
                total += jnp.sum(jnp.where(valid[t], error.sum(-1), 0))
            return total / lengths.sum(), h

        grads, new = jax.grad(whole, has_aux=True)(params, carry)
        updates, memory = OPTIMIZER.update(grads, memory, params)
        params, carry = optax.apply_updates(params, updates), new
        state, _ = PLAIN(state, (xs, lengths))
    close((state.params, state.carry), (params, carry), 1e-10)


def test_noise_differs_by_update_and_microbatch():
    def noisy(params, carry, batch, key):
        return None, {"loss": train.mean(params * jax.random.normal(key, (1,)))}

    optimizer = optax.sgd(1.0)
    state = train.init(jnp.ones(()), optimizer, jax.random.key(3))
    grads = []
    for accumulate in (1, 2):
        step = train.make_step(noisy, optimizer, accumulate=accumulate)
        new, first = step(state, np.ones((1, 4)))
        _, second = step(new, np.ones((1, 4)))
        grads += [float(first["grad_norm"].value), float(second["grad_norm"].value)]
    assert len({round(g, 9) for g in grads}) == 4


def test_a_cells_noise_draws_from_the_losss_key():
    """In an update; in an evaluation, whose key is None, there is none."""
    cell = jaxrnn.noise.zoneout(jaxrnn.gru(4), 0.5)
    params = cell.init(jax.random.key(0), 3)
    xs = jnp.asarray(np.random.RandomState(0).randn(5, 2, 3))

    def loss(params, carry, batch, key):
        _, hs = jaxrnn.unroll(cell, params, None, batch, key=key)
        return None, {"loss": train.mean(hs**2)}

    mean = lambda params, key: loss(params, None, xs, key)[1]["loss"].value
    optimizer = optax.sgd(1.0)
    state = train.init(params, optimizer, jax.random.key(3))
    step = train.make_step(loss, optimizer)
    new, _ = step(jax.tree.map(jnp.copy, state), xs)
    grads = jax.grad(mean)(params, jax.random.fold_in(state.key, 0))
    close(new.params, jax.tree.map(jnp.subtract, params, grads), 1e-12)
    found = train.evaluate(loss, params, [xs])
    np.testing.assert_allclose(found["loss"], mean(params, None), rtol=1e-12)
    assert abs(mean(params, None) - mean(params, jax.random.key(1))) > 1e-3


SPEAKING = ("loss", "first", "grad_norm")  # what a skipped update says nothing of
BAD = {
    "an input": lambda xs, lengths: (
        np.where(np.arange(B)[:, None] == 3, np.nan, xs),
        lengths,
    ),
    "an overflow": lambda xs, lengths: (xs * 1e200, lengths),
}


@pytest.mark.parametrize("bad", BAD)
def test_not_finite_changes_nothing_but_counts(bad):
    state, _ = PLAIN(start(True), batches(1)[0])
    after, means = PLAIN(state, BAD[bad](*batches(2)[1]))
    fields = ("params", "opt_state", "carry", "key")
    assert_same_bits(*([getattr(s, f) for f in fields] for s in (after, state)))
    assert (after.step, after.skipped, after.in_a_row) == (2, 1, 1)
    assert all(means[n].weight == 0 and means[n].total == 0 for n in SPEAKING)
    assert (means["skipped"], means["empty"]) == (train.Mean(1, 1), train.Mean(0, 1))
    again, _ = PLAIN(after, BAD[bad](*batches(2)[1]))
    good, _ = PLAIN(again, batches(3)[2])
    assert (good.step, good.skipped, good.in_a_row) == (4, 2, 0)
    assert (good.params.wx != state.params.wx).all()


def test_gradient_alone_not_finite():
    def root(params, carry, batch, key):
        return None, {"loss": train.mean(jnp.sqrt(jnp.abs(params["a"] * batch)))}

    optimizer = optax.sgd(0.1)
    state = train.init({"a": jnp.zeros(())}, optimizer, jax.random.key(0))
    after, _ = train.make_step(root, optimizer)(state, np.ones((2, 2)))
    assert after.skipped == 1
    assert after.params["a"] == 0


def test_optimizer_alone_not_finite():
    """Adam's second moment overflows long before the gradient: it would never move on."""
    steep = lambda params, carry, batch, key: (
        None,
        {"loss": train.mean(batch * params)},
    )
    optimizer = optax.adam(0.1)
    state = train.init(jnp.ones((), jnp.float32), optimizer, jax.random.key(0))
    step = train.make_step(steep, optimizer)
    after, _ = step(state, np.full((2, 2), 1e25, np.float32))
    assert after.skipped == 1
    assert np.isfinite(after.opt_state[0].nu)


def test_optimizer_may_hold_an_infinity_of_its_own():
    optimizer = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau())
    assert np.isinf(optimizer.init(start().params)[1].best_value)
    step = train.make_step(loss, optimizer)
    state, means = step(start(optimizer=optimizer), batches(1)[0])
    assert state.skipped == 0
    assert state.opt_state[1].best_value == means["loss"].value


def test_halts_and_stays():
    step = train.make_step(loss, OPTIMIZER, max_nonfinite=2)
    state, good = start(), batches(1)[0]
    for _ in range(3):
        state, _ = step(state, (good[0] * np.nan, good[1]))
    after, means = step(state, good)
    assert (after.step, after.skipped, after.in_a_row) == (2, 2, 2)
    assert_same_bits(after.params, start().params)
    assert means["loss"].weight == 0


@pytest.mark.slow
def test_is_pure_and_vmaps():
    """Under vmap over the seed, the members are those of a loop."""

    def run(seed):
        state = start()._replace(key=jax.random.key(seed))
        body = lambda state, key: PLAIN(
            state, draw(jax.random.fold_in(state.key, state.step))
        )
        return jax.lax.scan(body, state, jnp.arange(3))[0].params

    many = jax.vmap(run)(jnp.arange(3))
    for seed in range(3):
        close(jax.tree.map(operator.itemgetter(seed), many), run(seed))
    assert (many.wx[0] != many.wx[1]).all()


def test_second_call_compiles_nothing():
    state, _ = PLAIN(start(), batches(1)[0])
    size = PLAIN._cache_size()
    PLAIN(state, batches(2)[1])
    assert PLAIN._cache_size() == size


ERRORS = {
    "a scalar": (lambda p, c, b, k: p.b.sum(), {}, r"expected \(carry, means\)"),
    "a mean": (lambda p, c, b, k: train.mean(p.b), {}, r"expected \(carry, means\)"),
    "no dict": (
        lambda p, c, b, k: (None, jnp.zeros(())),
        {},
        "expected a dict of train.Mean",
    ),
    "no loss": (lambda p, c, b, k: (None, {"l": train.mean(p.b)}), {}, '"loss"'),
    "no Mean": (lambda p, c, b, k: (None, {"loss": p.b.sum()}), {}, "of scalars"),
    "no scalar": (
        lambda p, c, b, k: (None, {"loss": train.Mean(p.b, p.b)}),
        {},
        "of scalars",
    ),
    "a carry": (lambda p, c, b, k: (p.b, {"loss": train.mean(p.b)}), {}, "init"),
    "accumulate": (loss, {"accumulate": 3}, "that 3 divides"),
    "axis": (loss, {"accumulate": 2, "batch_axis": 1}, r"batch\[1\].*axis 1"),
    "rows": (loss, {"accumulate": 2, "batch_axis": 0}, r"5 rows on axis 0.*\[8\]"),
    "tree": (loss, {"accumulate": 2, "batch_axis": (1, 0, 1)}, "batch_axis"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    wrong, options, said = ERRORS[name]
    options = {"batch_axis": (1, 0)} | options
    with pytest.raises(ValueError, match=said):
        train.make_step(wrong, OPTIMIZER, **options)(start(), batches(1)[0])


def test_what_is_no_optimizer():
    for wrong in (optax.adam, None, loss):
        with pytest.raises(ValueError, match=r"optimizer: expected an optax.Grad"):
            train.init(start().params, wrong, jax.random.key(0))
    with pytest.raises(ValueError, match="loss: expected a function"):
        train.make_step(OPTIMIZER, loss)
    with pytest.raises(ValueError, match="callback: expected a function"):
        fit(start(), draw, steps=1, callback="print")


def test_functions_of_other_arguments():
    """Python's own error names neither the argument of ours nor what it gets."""
    takes = r"loss: expected a function of \(params, carry, batch, key\), got one of \("
    two = lambda params, batch: 0.0
    for run in (
        lambda: train.make_step(two, OPTIMIZER),
        lambda: train.fit(two, OPTIMIZER, start(), draw, steps=1, progress=False),
        lambda: train.evaluate(two, 1.0, [np.ones(3)]),
    ):
        with pytest.raises(ValueError, match=takes + "params, batch"):
            run()
    with pytest.raises(ValueError, match=r"update_shared: .* \(state, means, finite\)"):
        train.make_step(loss, OPTIMIZER, update_shared=two)
    with pytest.raises(ValueError, match=r"data: expected a function of \(key\)"):
        fit(start(), two, steps=1)
    with pytest.raises(ValueError, match=r"callback: expected a function of \(row\)"):
        fit(start(), draw, steps=1, callback=two)
    with pytest.raises(ValueError, match=r"trial: expected a function of \(hyper\)"):
        train.sweep(two, {"rate": [0.1]}, draw, steps=1)
    with_more = lambda params, carry, batch, key, weight=0.5: loss(
        params, carry, batch, key
    )
    train.make_step(with_more, OPTIMIZER)(start(), batches(1)[0])


def test_params_are_no_state():
    with pytest.raises(
        ValueError, match=r"expected a train.State, got GRUParams.*init"
    ):
        PLAIN(start().params, batches(1)[0])
    with pytest.raises(
        ValueError, match=r"expected a train.State, got GRUParams.*init"
    ):
        fit(start().params, draw, steps=1)


@pytest.mark.parametrize("value", [0, 1.5, True, "2"])
def test_counts(value):
    with pytest.raises(ValueError, match="accumulate: expected an integer from 1"):
        train.make_step(loss, OPTIMIZER, accumulate=value)


def test_mean():
    values = jnp.array([[1.0, jnp.nan], [3.0, 5.0]])
    where = jnp.array([[True, False], [True, True]])
    total = lambda values: train.mean(values, where).total
    assert train.mean(values, where).value == 3.0
    np.testing.assert_array_equal(jax.grad(total)(values), where.astype(float))
    assert train.mean(jnp.array([True, False, False, False])).value == 0.25
    assert train.mean(jnp.ones(5000, jnp.bfloat16)).total == 5000
    assert np.isnan(train.mean(values, where & False).value)
    for wrong in (where[0], where.astype(int), where[None]):
        with pytest.raises(ValueError, match="where: expected bool"):
            train.mean(values, wrong)


def test_mesh_errors():
    with pytest.raises(ValueError, match="devices: expected 1 to 4"):
        train.data_mesh(5)
    two = jax.make_mesh((2, 2), ("a", "b"), (AxisType.Auto,) * 2)
    for wrong in (two, 4):
        with pytest.raises(ValueError, match="mesh of one axis"):
            train.make_step(loss, OPTIMIZER, mesh=wrong)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_half_precision_adds_up(dtype):
    """Small parts beside a large sum are not lost, and a large total does not overflow."""
    values = np.random.default_rng(0).uniform(0.5, 1.5, (1, 1024 * 128)).astype(dtype)

    def linear(params, carry, batch, key):
        return None, {"loss": train.mean(params * batch)}

    optimizer = optax.sgd(1.0)
    state = train.init(jnp.ones((), dtype), optimizer, jax.random.key(0))
    want = values.astype(np.float64).mean()
    for accumulate in (1, 1024):
        step = train.make_step(linear, optimizer, accumulate=accumulate)
        after, means = step(state, values)
        assert after.skipped == 0
        assert after.params.dtype == dtype
        # An epsilon of half precision, for the gradient is in the params' dtype.
        epsilon = float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(float(means["grad_norm"].value), want, epsilon)


def test_carry_may_hold_an_infinity_but_not_gain_one():
    def highest(params, carry, batch, key):
        carry = jnp.maximum(carry, batch.max(axis=0))
        return carry, {"loss": train.mean(params * batch[:, 1:])}

    optimizer = optax.sgd(0.1)
    nothing = jnp.full((3,), -jnp.inf)
    state = train.init(jnp.ones(()), optimizer, jax.random.key(0), carry=nothing)
    step = train.make_step(highest, optimizer)
    none_yet = np.array([[-np.inf, 1.0, 2.0], [-np.inf, 0.0, 1.0]])
    state, _ = step(state, none_yet)
    assert state.skipped == 0
    assert state.carry.tolist() == [-np.inf, 1.0, 2.0]
    after, _ = step(state, np.array([[np.inf, 1.0, 2.0], [1.0, 0.0, 1.0]]))
    assert after.carry.tolist() == [np.inf, 1.0, 2.0]  # one infinity for another
    worse, _ = step(state, np.array([[1.0, np.inf, 2.0]]))
    assert worse.skipped == 1
    assert worse.carry.tolist() == [-np.inf, 1.0, 2.0]


@pytest.mark.parametrize("name", ["step", "split", "weight", "skipped", "grad_norm"])
def test_names_that_rows_have_already(name):
    wrong = lambda p, *_: (None, {"loss": train.mean(p.b), name: train.mean(p.b)})
    with pytest.raises(ValueError, match=f"other names of means .* got '{name}'"):
        train.make_step(wrong, OPTIMIZER)(start(), batches(1)[0])


def test_accumulate_splits_the_carry_by_rows():
    state = start(True)
    for carry in (state.carry[:6], jnp.zeros(())):
        step = train.make_step(loss, OPTIMIZER, accumulate=4, batch_axis=(1, 0))
        with pytest.raises(ValueError, match=r"carry.*axis 0 that 4"):
            step(state._replace(carry=carry), batches(1)[0])
