"""Populations: tuned alike, paired by seed, with as many parameters."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from experiments import training
from experiments.training import Task
from experiments.word_problem import linear
from jaxrnn.tasks import Batch, adding, temporal_order

pytestmark = pytest.mark.slow


def draw(key):
    return adding.draw(key, 4, length=6)


TASK = Task(draw, 2, 1, "number")


@pytest.mark.parametrize("cell", [*training.THREE, training.IRNN], ids=lambda c: c.name)
@pytest.mark.parametrize("features", [2, 8])
def test_equal_parameters_are_the_most_that_fit(cell, features):
    of = TASK._replace(features=features)
    most = training.count(training.LSTM, 32, of)
    units = training.width(cell, of, 32)
    assert training.count(cell, units, of) <= most
    assert training.count(cell, units + 1, of) > most
    assert training.width(training.LSTM, of, 32) == 32


def test_scores_of_each_kind():
    said = jnp.array([[[0.5]], [[-2.0]]])
    batch = Batch(None, jnp.array([[[0.53]], [[-1.0]]]), None, None)
    found = training.scores(TASK, said, batch)
    np.testing.assert_allclose(found["loss"], [[0.0009], [1.0]])
    assert found["right"].tolist() == [[True], [False]]
    said = jnp.array([[[2.0, 0.0, -1.0]], [[0.0, 1.0, 0.0]]])
    batch = Batch(None, jnp.array([[0], [2]]), None, None)
    found = training.scores(TASK._replace(kind="class"), said, batch)
    expected = -jax.nn.log_softmax(said)[[0, 1], 0, [0, 2]]
    np.testing.assert_allclose(found["loss"][:, 0], expected, rtol=1e-6)
    assert found["right"].tolist() == [[True], [False]]
    batch = Batch(None, jnp.array([[[1.0, 0.0, 0.0]], [[1.0, 1.0, 0.0]]]), None, None)
    said = jnp.array([[[2.0, -1.0, -1.0]], [[-1.0, 1.0, -1.0]]])
    found = training.scores(TASK._replace(kind="set"), said, batch)
    losses = jnp.log1p(jnp.exp(jnp.where(batch.targets == 1, -said, said)))
    np.testing.assert_allclose(found["loss"], losses.sum(-1), rtol=1e-6)
    assert found["right"].tolist() == [[True], [False]]


def test_members_of_one_seed_are_the_same_in_any_population():
    """Reported runs depend on nothing but their seed: pairs are pairs."""
    settings = dict(steps=6, log_every=3)
    chosen = {"rate": 1e-2, "option": 1.0}
    few = training.report(training.LSTM, 3, TASK, chosen, 2, **settings)
    more = training.report(training.LSTM, 3, TASK, chosen, 4, **settings)
    np.testing.assert_allclose(more["loss"][:2], few["loss"], rtol=1e-4)
    assert more["steps"] == [3, 6]
    assert len({tuple(row) for row in more["loss"]}) == 4


def test_the_best_of_eight_is_chosen():
    chosen = training.tune(training.GRU, 3, TASK, 8, 4)
    assert len(chosen["tried"]) == 8
    best = min(chosen["tried"], key=lambda one: one["loss"])
    assert (chosen["rate"], chosen["option"]) == (best["rate"], best["option"])
    assert {one["rate"] for one in chosen["tried"]} == set(training.RATES)


def test_a_network_is_examined_with_its_own_weights():
    hypers = training.members({"rate": 1e-2, "option": 1.0}, 2)
    swept = training.population(training.LSTM, 3, TASK, hypers, 4, 4)
    batch = draw(jax.random.key(5))
    score = lambda said, key: said(batch)
    found = training.examine(training.LSTM, 3, TASK, swept, score)
    for n in range(2):
        params = swept.member(n).params
        cell = training.LSTM.make(3, 1.0)
        _, hs = jaxrnn.unroll(cell, params["cell"], None, batch.inputs)
        expected = hs @ params["readout"]["kernel"] + params["readout"]["bias"]
        np.testing.assert_allclose(found[n], expected, rtol=1e-5, atol=1e-6)


def test_symbols_go_in_one_hot():
    of = Task(partial(temporal_order.draw, batch=3, length=20), 8, 4, "class")
    batch = of.draw(jax.random.key(0))
    cell = jaxrnn.gru(3)
    params = training.begin(cell, of, 3, 0)
    said = training.follow(cell, of, params, None, batch)[1]
    hot = batch._replace(inputs=jax.nn.one_hot(batch.inputs, 8, dtype=jnp.float32))
    np.testing.assert_allclose(said, training.follow(cell, of, params, None, hot)[1])


def test_windows_that_go_on_are_one_stream():
    of = Task(partial(adding.draw, batch=4, length=6), 2, 1, "number", uncut=True)
    make = lambda task: training.trial(training.LSTM, 3, task, 4)(
        {"rate": 1e-2, "option": 1.0, "seed": 3}
    )
    loss, _, state = make(of)
    one, two = (of.draw(jax.random.key(n)) for n in range(2))
    carry, _ = loss(state.params, state.carry, one, None)
    _, found = loss(state.params, carry, two, None)
    both = jax.tree.map(lambda *a: jnp.concatenate(a), one, two)
    cell = training.LSTM.make(3, 1.0)
    _, said = training.follow(cell, of, state.params, None, both)
    expected = training.scores(of, said[6:], two)["loss"]
    expected = jnp.sum(expected * two.mask) / jnp.sum(two.mask)
    np.testing.assert_allclose(found["loss"].total / found["loss"].weight, expected)
    _, anew = loss(state.params, None, two, None)
    assert abs(anew["loss"].total / anew["loss"].weight - expected) > 1e-4
    loss, _, state = make(of._replace(uncut=False))
    assert state.carry is None
    assert loss(state.params, None, one, None)[0] is None


def test_what_is_not_finite_is_none():
    assert training.rounded([[1.23456789, np.inf], [np.nan, 0]]) == [
        [1.2346, None],
        [None, 0.0],
    ]


def test_a_linear_recurrence_is_linear_in_its_state():
    cell = linear(3, 1.0)
    params = cell.init(jax.random.key(0), 2)
    xs = jax.random.normal(jax.random.key(1), (5, 2))
    end = lambda h: jaxrnn.unroll(cell, params, h, xs)[0]
    a, b = jax.random.normal(jax.random.key(2), (2, 3))
    apart = end(a + b) - end(a)
    np.testing.assert_allclose(apart, end(b) - end(jnp.zeros(3)), rtol=1e-9)
    assert (jnp.abs(apart) > 1e-4).all()


def test_memory_is_what_a_stream_leaves():
    """A cell whose carry is the number of steps so far."""
    of = Task(partial(adding.draw, batch=4, length=6), 2, 1, "number", uncut=True)
    count = lambda params, carry, x: (carry + 1, carry)
    cell = jaxrnn.Cell(
        init=lambda key, features: {},
        initial_carry=lambda params, x: jnp.zeros(x.shape, x.dtype),
        step=count,
    )
    counter = training.GRU._replace(make=lambda hidden, option: cell)
    chosen = {"rate": 1e-3, "option": 1.0}
    assert training.report(counter, 2, of, chosen, 2, 5, 5)["memory"] == [30.0, 30.0]


def test_two_cells_of_one_seed_read_the_same_data():
    """By networks that show zeros and learn nothing: their loss is that of the data."""
    seen = []
    for cell in (training.GRU, training.LSTM):
        hypers = training.members({"rate": 0.0, "option": 1.0}, 2)
        quiet = cell._replace(make=lambda *a, make=cell.make: silent(make(*a)))
        seen.append(training.population(quiet, 3, TASK, hypers, 4, 1).means["loss"])
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-6)
    assert len(np.unique(seen[0])) == 8


def silent(cell):
    """The cell, with outputs of zero."""

    def unroll(params, carry, xs, control, run):
        carry, hs = run(cell, params, carry, xs, control)
        return carry, 0 * hs

    return cell._replace(unroll=unroll)
