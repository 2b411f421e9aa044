"""A population is its members, trained one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn import initializers, train
from tests.train.cases import LENGTHS, B, F, T, assert_same_bits

N, STEPS = 6, 20
HYPERS = train.random_search(
    jax.random.key(0),
    N,
    rate=train.log_uniform(1e-3, 1e-1),
    forget_bias=train.uniform(-1, 3),
    gain=train.choice([0.5, 1.0, 1.5]),
    decay=train.log_uniform(1e-4, 1e-1),
    clip=train.log_uniform(1e-2, 1.0),
    leak=train.uniform(0.2, 0.9),
    seed=range(N),
)


def leaky(cell, leak):
    """A cell of the user's own that closes over a hyperparameter."""

    def step(params, carry, x):
        new, h = cell.step(params, carry, x)
        carry = jax.tree.map(lambda a, b: leak * a + (1 - leak) * b, new, carry)
        return carry, h

    return jaxrnn.Cell(cell.init, cell.initial_carry, step)


def trial(hyper, shared=False):
    gain = hyper["gain"]
    scaled = lambda key, shape, dtype: gain * initializers.orthogonal(key, shape, dtype)
    lstm = jaxrnn.lstm(4, forget_bias=hyper["forget_bias"], recurrent_init=scaled)
    cell = leaky(lstm, hyper["leak"])

    def loss(params, carry, batch, key):
        xs, lengths = batch
        _, hs = jaxrnn.unroll(cell, params, carry, xs, lengths=lengths)
        valid = jnp.arange(xs.shape[0])[:, None] < lengths
        errors = ((hs - xs.sum(-1, keepdims=True)) ** 2).sum(-1)
        if key is not None:
            errors *= 1 + 0.1 * jax.random.normal(key, ())
        return None, {"loss": train.mean(errors, valid), "h": train.mean(hs)}

    optimizer = optax.chain(
        optax.clip_by_global_norm(hyper["clip"]),
        optax.adamw(hyper["rate"], weight_decay=hyper["decay"]),
    )
    key = jax.random.key(hyper["seed"])
    state = train.init(
        cell.init(key, F), optimizer, jax.random.key(7) if shared else key
    )
    return train.Trial(loss, optimizer, state)


def draw(key):
    kx, kl = jax.random.split(key)
    return jax.random.normal(kx, (T, B, F)), jax.random.permutation(kl, LENGTHS)


FED = [jax.device_get(draw(jax.random.key(n))) for n in range(3)]
VALID = [jax.device_get(draw(jax.random.key(n))) for n in range(3, 5)]
KINDS = {
    "own data": (trial, draw),
    "the same data": (functools.partial(trial, shared=True), draw),
    "batches": (trial, FED),
}


@functools.cache
def separate(kind, n):
    """Member n by `fit`, with its hyperparameters as numbers."""
    made, data = KINDS[kind]
    hyper = {name: values[n] for name, values in HYPERS.items()}
    loss, optimizer, state = made(hyper)
    options = dict(steps=STEPS, steps_per_call=5, progress=False)
    fitted = train.fit(loss, optimizer, state, data, **options)
    return fitted, train.evaluate(loss, fitted.params, VALID)


def sweep(kind, **options):
    made, data = KINDS[kind]
    options = {"steps": STEPS, "steps_per_call": 5, "progress": False} | options
    return train.sweep(made, HYPERS, data, **options)


@functools.cache
def swept(kind):
    return sweep(kind, valid=VALID)


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-9, 1e-9), a, b)


@pytest.mark.parametrize(
    "kind",
    [
        "the same data",
        pytest.param("own data", marks=pytest.mark.slow),
        pytest.param("batches", marks=pytest.mark.slow),
    ],
)
def test_equals_separate_runs(kind):
    found = swept(kind)
    assert found.steps.tolist() == [5, 10, 15, 20]
    for n in (0, N - 1):
        fitted, valid = separate(kind, n)
        member = found.member(n)
        close(member.params, fitted.state.params)
        close(member.opt_state, fitted.state.opt_state)
        for name in ("loss", "h", "grad_norm"):
            close(found.means[name][n], [row[name] for row in fitted.history])
        close({name: values[n] for name, values in found.valid.items()}, valid)
    assert len(set(found.means["loss"][:, -1].round(9))) == N


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"at_a_time": 4}, marks=pytest.mark.slow),
        pytest.param({"mesh": 2, "at_a_time": 3}, marks=pytest.mark.slow),
    ],
    ids=["slices of 4", "slices of 3 on 2 devices"],
)
@pytest.mark.parametrize(
    "kind", [pytest.param("the same data", marks=pytest.mark.slow), "batches"]
)
def test_in_slices_and_on_devices(kind, options):
    if "mesh" in options:
        options = options | {"mesh": train.data_mesh(options["mesh"])}
    found = sweep(kind, valid=VALID, **options)
    close(found.state.params, swept(kind).state.params)
    close(found.means, swept(kind).means)
    close(found.valid, swept(kind).valid)
    keys = jax.random.key_data(found.state.key)
    assert_same_bits(keys, jax.random.key_data(swept(kind).state.key))


@pytest.mark.slow
def test_log_every_and_a_short_last_row():
    found = sweep("batches", steps=7, log_every=3, steps_per_call=2)
    whole = sweep("batches", steps=7, log_every=1)
    assert found.steps.tolist() == [3, 6, 7]
    np.testing.assert_allclose(
        found.means["grad_norm"][:, 2], whole.means["grad_norm"][:, 6]
    )
    middle = whole.means["grad_norm"][:, 3:6].mean(axis=1)
    np.testing.assert_allclose(found.means["grad_norm"][:, 1], middle)


@pytest.mark.slow
def test_one_that_diverges_hinders_no_other():
    hypers = HYPERS | {"rate": np.where(np.arange(N) == 2, np.inf, HYPERS["rate"])}
    options = dict(steps=STEPS, steps_per_call=5, progress=False, max_nonfinite=3)
    found = train.sweep(trial, hypers, FED, **options)
    assert found.state.skipped.tolist() == [0, 0, 3, 0, 0, 0]
    assert np.isnan(found.means["loss"][2]).all()
    assert found.order()[-1] == 2
    first = trial({name: values[2] for name, values in hypers.items()}).state.params
    close(found.member(2).params, first)
    others = np.arange(N) != 2
    close(found.means["loss"][others], swept("batches").means["loss"][others])


def test_table_is_in_order():
    found = swept("batches")
    order = found.order()
    assert (np.diff(found.valid["loss"][order]) >= 0).all()
    said = str(found.table(most=2))
    assert f"{found.valid['loss'][order[0]]:.4g}" in said
    assert f"{found.valid['loss'][order[2]]:.4g}" not in said


def test_builders():
    grid = train.grid(a=[1, 2], b=[0.5, 0.25, 0.125])
    pairs = list(zip(grid["a"].tolist(), grid["b"].tolist(), strict=True))
    assert pairs == [(a, b) for a in (1, 2) for b in (0.5, 0.25, 0.125)]
    drawn = train.random_search(
        jax.random.key(1),
        4000,
        low=train.log_uniform(1e-4, 1e-1),
        flat=train.uniform(-2, 2),
        one=train.choice([3, 5, 9]),
    )
    logs = np.log10(drawn["low"])
    assert -4 <= logs.min() < -3.99
    assert -1.01 < logs.max() <= -1
    # Means of 4000 uniform draws: four standard errors are 0.06 and 0.07.
    assert abs(logs.mean() + 2.5) < 0.06
    assert abs(drawn["flat"].mean()) < 0.08
    assert np.unique(drawn["one"]).tolist() == [3, 5, 9]
    assert abs(np.corrcoef(logs, drawn["flat"])[0, 1]) < 0.07


ERRORS = {
    "no axes": (lambda: train.grid(), "at least one axis"),
    "no values": (lambda: train.grid(a=[]), "a value on each"),
    "length": (
        lambda: train.random_search(jax.random.key(0), 3, a=[1, 2]),
        r"\[3\].*\[2\]",
    ),
    "bounds": (lambda: train.log_uniform(0.0, 1.0), "0 < low < high"),
    "unlike": (lambda: _sweep({"a": [1, 2], "b": [1]}), r"hypers\['b'\].*\[2\].*\[1\]"),
    "scalar": (lambda: _sweep({"a": 1}), r"hypers\['a'\].*\[N\]"),
    "nothing": (lambda: _sweep({}), "at least one hyperparameter"),
    "trial": (lambda: _sweep({"a": [1]}), "expected it to return a train.Trial"),
    "members": (
        lambda: _sweep({"a": [1]}, at_a_time=0),
        "at_a_time: expected an integer",
    ),
    "steps": (lambda: _sweep({"a": [1]}, steps=0), "steps: expected an integer"),
}


def _sweep(hypers, **options):
    return train.sweep(lambda hyper: None, hypers, draw, **{"steps": 1} | options)


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, said = ERRORS[name]
    with pytest.raises(ValueError, match=said):
        call()


def test_slices_need_data_that_begin_anew():
    options = dict(steps=2, at_a_time=2, progress=False)
    with pytest.raises(
        ValueError, match="data: expected batches that every slice of 2"
    ):
        train.sweep(trial, HYPERS, iter(FED), **options)
    with pytest.raises(
        ValueError, match="valid: expected batches that every validation"
    ):
        train.sweep(trial, HYPERS, FED, valid=iter(VALID), **options)
