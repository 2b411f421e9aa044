"""What outputs depend on, against runs in which it is changed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import probe
from tests.laws.cases import randomise

SLOW = pytest.mark.slow
T, B, F, H = 6, 2, 3, 4
CELLS = {
    "lstm": jaxrnn.lstm(H),
    "stack": jaxrnn.stack(jaxrnn.gru(H), jaxrnn.residual(jaxrnn.lstm(H))),
    "learned": jaxrnn.learned_carry(jaxrnn.gru(H)),
}


def case(cell):
    params = randomise(1, cell.init(jax.random.key(0), F))
    xs, others = jax.random.normal(jax.random.key(2), (2, T, B, F))
    carry = randomise(3, cell.initial_carry(params, xs[0]))
    return params, carry, xs, others


@pytest.mark.parametrize(
    "name",
    ["lstm", *(pytest.param(name, marks=SLOW) for name in CELLS if name != "lstm")],
)
def test_the_span_is_that_of_inputs_changed_one_by_one(name):
    cell = CELLS[name]
    params, carry, xs, others = case(cell)
    run = jax.jit(lambda xs: jaxrnn.unroll(cell, params, carry, xs)[1][-1])
    moved = [
        np.linalg.norm(run(xs.at[t].set(others[t])) - run(xs), axis=-1)
        for t in reversed(range(T))
    ]
    found = probe.memory_span(cell, params, carry, xs, others)
    np.testing.assert_allclose(found, moved, rtol=1e-10)
    some = probe.memory_span(cell, params, carry, xs, others, lags=(3, 0))
    np.testing.assert_allclose(some, [moved[3], moved[0]], rtol=1e-10)


def test_the_span_ends_where_a_cell_forgets():
    def step(params, carry, x):
        return (x, carry[0]), carry[1] + carry[0] + x

    window = jaxrnn.Cell(lambda key, f: (), lambda p, x: (jnp.zeros_like(x),) * 2, step)
    xs, others = jax.random.normal(jax.random.key(2), (2, T, B, F))
    span = probe.memory_span(window, (), None, xs, others)
    assert (span[:3] > 0).all()
    assert (span[3:] == 0).all()


def silenced(cell, params, carry, xs, units):
    """hs by a loop; `units`: for each layer bool [H], which to silence."""
    layers = [(cell, params, carry, False)]
    if cell.spec[0] == "learned_carry":
        layers = [(cell.parts[0], params.cell, carry, False)]
    if cell.spec[0] == "stack":
        (first, second), (p1, p2), (c1, c2) = cell.parts, params, carry
        layers = [(first, p1, c1, False), (second.parts[0], p2, c2, True)]
    carries = []
    for (part, p, c, adds), off in zip(layers, units, strict=True):
        project, recur, gates, update, output = part.parts
        zero = lambda c, off=off: jax.tree.map(lambda a: a * ~off, c)
        hs, c = [], zero(c)
        for x in xs:
            c = zero(update(p, c, gates(p, c, recur(p, c, project(p, x)))))
            hs.append(output(p, c) + x if adds else output(p, c))
        xs = jnp.stack(hs)
        carries.append(c)
    return carries, xs


@pytest.mark.parametrize(
    "name",
    ["stack", *(pytest.param(name, marks=SLOW) for name in CELLS if name != "stack")],
)
def test_each_unit_is_silenced_in_turn(name):
    cell = CELLS[name]
    params, carry, xs, _ = case(cell)
    weights = jax.random.normal(jax.random.key(5), (T, B, H))
    score = lambda carry, hs: (hs * weights).sum(axis=(0, 2))
    found = probe.ablation(cell, params, carry, xs, score)
    found = found if isinstance(found, tuple) else (found,)
    none = [np.zeros(H, bool)] * len(found)
    for layer, scores in enumerate(found):
        for unit in range(H):
            units = [*none]
            units[layer] = np.arange(H) == unit
            _, hs = silenced(cell, params, carry, xs, units)
            np.testing.assert_allclose(scores[unit], score(None, hs), rtol=1e-10)


@SLOW
def test_units_of_both_directions_are_silenced():
    """Each direction as if it were alone and the outputs of the other were given."""
    cell = jaxrnn.bidirectional(jaxrnn.lstm(H), jaxrnn.gru(H))
    params, carry, xs, _ = case(cell)
    weights = jax.random.normal(jax.random.key(5), (T, B, 2 * H))
    score = lambda carry, hs: (jnp.sin(hs) * weights).sum(axis=(0, 2))
    found = probe.ablation(cell, params, carry, xs, score)
    assert isinstance(found, jaxrnn.BidirectionalCarry)
    for n, (one, other) in enumerate(((0, 1), (1, 0))):
        _, rest = jaxrnn.unroll(
            cell.parts[other], params[other], carry[other], xs, reverse=other == 1
        )
        both = lambda hs, n=n, rest=rest: (hs, rest) if n == 0 else (rest, hs)
        alone = lambda c, hs, both=both: score(c, jnp.concatenate(both(hs), -1))
        want = probe.ablation(
            cell.parts[one], params[one], carry[one], xs, alone, reverse=one == 1
        )
        np.testing.assert_allclose(found[n], want, rtol=1e-10)


def test_the_unit_that_a_task_hangs_on():
    """And nothing of the size of all units at once; masks and scores in a tree."""
    cell = jaxrnn.gru(H)
    params, carry, xs, _ = case(cell)
    mask = np.random.default_rng(0).uniform(size=(T, B)) < 0.7
    score = lambda carry, hs: {"one": hs[..., 2].sum(), "memory": carry}
    found = probe.ablation(cell, params, carry, xs, score, mask=mask)
    assert found["memory"].shape == (H, B, H)
    assert (np.einsum("ubu->bu", found["memory"]) == 0).all()
    assert found["one"][2] == 0
    assert (found["one"][np.array([0, 1, 3])] != 0).all()


def test_of_a_cell_without_gates_the_carry_is_silenced():
    def step(params, carry, x):
        carry = carry + x
        return carry, carry * 1.0

    adder = jaxrnn.Cell(lambda key, f: (), lambda p, x: jnp.zeros_like(x), step)
    xs = jax.random.normal(jax.random.key(0), (T, B, F))
    start = jax.random.normal(jax.random.key(1), (B, F))
    score = lambda carry, hs: (carry, hs[0], hs[-1])
    carries, first, shown = probe.ablation(adder, (), start, xs, score)
    for unit in range(F):
        began = np.array(start + xs[0])
        began[:, unit] = xs[0, :, unit]
        np.testing.assert_allclose(first[unit], began, rtol=1e-12)
        expected = np.array(start + xs.sum(axis=0))
        expected[:, unit] = 0
        np.testing.assert_allclose(carries[unit], expected, rtol=1e-12)
        expected[:, unit] = xs[-1, :, unit]  # what the cell makes of an empty carry
        np.testing.assert_allclose(shown[unit], expected, rtol=1e-12)


def test_errors_name_what_is_wrong():
    cell = jaxrnn.gru(H)
    params, carry, xs, others = case(cell)
    for lags in ((), (T,), (-1, 2)):
        with pytest.raises(ValueError, match="lags: expected some of 0 to 5"):
            probe.memory_span(cell, params, carry, xs, others, lags=lags)
    with pytest.raises(ValueError, match="others: expected the type of xs"):
        probe.memory_span(cell, params, carry, xs, others[:-1])
    score = lambda carry, hs: hs.sum()
    uneven = jaxrnn.Cell(
        lambda key, f: (),
        lambda p, x: (jnp.zeros_like(x), jnp.zeros((*x.shape[:-1], 1))),
        lambda p, c, x: (c, x),
    )
    with pytest.raises(ValueError, match=r"one width in a cell's carry, got \[1, 3\]"):
        probe.ablation(uneven, (), None, xs, score)
    with pytest.raises(ValueError, match="cell: expected a jaxrnn"):
        probe.ablation(cell.step, params, carry, xs, score)
    with pytest.raises(ValueError, match="cell: expected a jaxrnn"):
        probe.memory_span(cell.step, params, carry, xs, others)
