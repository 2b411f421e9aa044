"""Functions that compute the same are one; those that may differ are not."""

import dataclasses
import functools
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxrnn
from jaxrnn import train
from jaxrnn.train.same import Same

SCALE = 2.0
SETTINGS = {"scale": 2.0}


def closure(value):
    def inner(x):
        return x * value

    return inner


def of_global(value):
    return lambda x: x * SCALE


def of_a_dict(value):
    return lambda x: x * SETTINGS["scale"]


def nested(value):
    return lambda x: [closure(value)(y) for y in x]


def recursive(value):
    def power(n):
        return 1 if n == 0 else value * power(n - 1)

    return power


MAKE = {
    "closure": closure,
    "nested": nested,
    "recursive": recursive,
    "partial": lambda value: functools.partial(closure(1.0), value),
    "default": lambda value: lambda x, y=value: x * y,
    "tuple": lambda value: (closure(1.0), closure(value)),
    "sgd": optax.sgd,
    "chain": lambda value: optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.cosine_decay_schedule(value, 300)),
    ),
    "adamw": optax.adamw,
}


@pytest.mark.parametrize("name", MAKE)
def test_made_anew(name):
    make = MAKE[name]
    assert Same(make(2.0)) == Same(make(2.0))
    assert hash(Same(make(2.0))) == hash(Same(make(2.0)))
    assert Same(make(2.0)) != Same(make(3.0))
    assert Same(make(2.0)) != Same(make(2))  # an integer computes something else


@pytest.mark.parametrize(
    "make",
    [jaxrnn.lstm, jaxrnn.gru, lambda n: jaxrnn.stack(jaxrnn.lstm(n), jaxrnn.gru(n))],
    ids=["lstm", "gru", "stack"],
)
def test_cells(make):
    assert Same(make(4)) == Same(make(4))
    assert Same(make(4)) != Same(make(5))


@pytest.mark.parametrize(
    "value",
    [[1.0], {"a": 1.0}, np.ones(2), object(), bytearray(b"a")],
    ids=lambda value: type(value).__name__,
)
def test_what_may_change_is_itself_alone(value):
    made = closure(value)
    assert Same(made) == Same(made)
    assert Same(made) != Same(closure(value))
    assert Same(of_a_dict(0)) != Same(of_a_dict(0))


class Settings:
    scale = 1.0


class Loss(NamedTuple):
    rate: float

    def __call__(self, x):
        return x * self.rate * SCALE


@dataclasses.dataclass(frozen=True)
class Frozen:
    rate: float


class Real(float):
    """A number with an attribute."""


def of_a_class(value):
    return lambda x: x * Settings.scale


def of_an_import(value):
    def inner(x):
        import tests.train.cases as cases

        return x * cases.B

    return inner


def with_an_attribute(value):
    inner = lambda x: x * inner.scale
    inner.scale = value
    return inner


def wrapped(value):
    return functools.wraps(optax.l2_loss)(lambda x: x * SETTINGS["scale"])


MAY_CHANGE = {
    "class": of_a_class,
    "NamedTuple of the user's": Loss,
    "holds one": lambda value: closure(Loss(value)),
    "frozen dataclass": lambda value: closure(Frozen(value)),
    "number of a kind of its own": lambda value: closure(Real(value)),
    "import": of_an_import,
    "attribute": with_an_attribute,
    "wrapped": wrapped,
    "method of a dict": lambda value: closure(SETTINGS.get),
    "module of Flax": lambda value: closure(nnx.Linear(2, 2, rngs=nnx.Rngs(0))),
}


@pytest.mark.parametrize("name", MAY_CHANGE)
def test_what_may_change_in_other_ways(name):
    make = MAY_CHANGE[name]
    one = make(2.0)
    assert Same(one) == Same(one)
    assert Same(one) != Same(make(2.0))


def test_an_attribute_is_no_global(monkeypatch):
    """A global that is named as a field of the batch is not read."""
    make = lambda: lambda batch: batch.labels + batch.xs
    monkeypatch.setattr(sys.modules[__name__], "labels", np.ones(3), raising=False)
    assert Same(make()) == Same(make())


def test_a_function_without_a_module():
    namespace = {"SCALE": 2.0}
    exec("def loss(x): return x * SCALE", namespace)
    assert Same(namespace["loss"]) == Same(namespace["loss"])


def test_what_may_change_is_compiled_once_all_the_same():
    traced, numbers = [], [0.5]

    def loss(params, carry, batch, key):
        traced.append(1)
        return None, {"loss": train.mean((params * batch - numbers[0]) ** 2)}

    optimizer, batches = optax.sgd(0.1), [np.arange(3.0), np.arange(1.0, 4.0)]

    def run():
        state = train.init(jnp.ones(()), optimizer, jax.random.key(0))
        options = dict(steps=6, steps_per_call=2, valid=batches, valid_every=2)
        train.fit(loss, optimizer, state, batches, progress=False, **options)

    run()
    once = len(traced)
    run()
    assert len(traced) == once


def test_arrays_of_jax_do_not_change():
    value = jnp.arange(3.0)
    assert Same(closure(value)) == Same(closure(value))
    assert Same(closure(value)) != Same(closure(jnp.arange(3.0)))


def test_globals_are_read_anew(monkeypatch):
    before = Same(of_global(0))
    assert before == Same(of_global(0))
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    assert before != Same(of_global(0))


def test_fit_compiles_once_for_all_seeds():
    traced = []

    def run(seed, target):
        cell = jaxrnn.simple_rnn(2)

        def loss(params, carry, batch, key):
            jax.debug.callback(lambda: None)  # as any effect
            count(params)
            _, hs = jaxrnn.unroll(cell, params, carry, batch)
            return None, {"loss": train.mean((hs - target) ** 2)}

        optimizer = optax.adam(1e-2)
        params = cell.init(jax.random.key(seed), 3)
        state = train.init(params, optimizer, jax.random.key(seed))
        draw = lambda key: jax.random.normal(key, (4, 2, 3))
        options = dict(steps=2, steps_per_call=2, progress=False)
        return train.fit(loss, optimizer, state, draw, **options)

    @jax.custom_jvp
    def count(params):
        return params

    count.defjvp(
        lambda primals, tangents: traced.append(1) or (primals[0], tangents[0])
    )
    run(0, 0.5)
    once = len(traced)
    assert once
    first, second = run(1, 0.5), run(2, 0.5)
    assert len(traced) == once
    assert (first.params.wx != second.params.wx).all()
    run(0, 0.25)
    assert len(traced) > once
