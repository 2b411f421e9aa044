"""Probes of cells that are wrapped: as the cell inside, or refused with the reason."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import probe
from tests.laws.cases import assert_close, randomise

T, B, F = 4, 2, 3
STACK = jaxrnn.stack(jaxrnn.lstm(F), jaxrnn.gru(F))
MIXED = jaxrnn.precision(jaxrnn.lstm(F), compute="float64")
XS = jnp.asarray(np.random.RandomState(0).randn(T, B, F))
OTHERS = jnp.asarray(np.random.RandomState(1).randn(T, B, F))


def score(carry, hs):
    return jnp.sum(jnp.sin(hs[0] if isinstance(hs, tuple) else hs))


PROBES = {
    "gates": lambda cell, params, carry: probe.gates(cell, params, carry, XS),
    "timescale": lambda cell, params, carry: probe.timescale(cell, params, carry, XS),
    "flow": lambda cell, params, carry: probe.gradient_flow(
        cell, params, carry, XS, score
    ),
    "ablation": lambda cell, params, carry: probe.ablation(
        cell, params, carry, XS, score
    ),
    "spectrum": lambda cell, params, carry: probe.jacobian_spectrum(
        cell, params, carry, XS
    ),
    "lyapunov": lambda cell, params, carry: probe.lyapunov(
        cell, params, carry, XS, count=2
    ),
    "span": lambda cell, params, carry: probe.memory_span(
        cell, params, carry, XS, OTHERS, lags=(0, 2)
    ),
}
SLOW = pytest.mark.slow
QUICK = ("flow", "span")


def started(cell):
    params = randomise(1, cell.init(jax.random.key(0), F))
    return params, randomise(2, cell.initial_carry(params, XS[0]))


kinds = pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=() if k in QUICK else SLOW) for k in PROBES]
)


@kinds
@pytest.mark.parametrize(
    "cell", [STACK, pytest.param(MIXED, marks=SLOW)], ids=["stack", "mixed"]
)
def test_a_learned_carry_is_a_carry(cell, kind):
    """learned_carry(cell) from None is the cell from the carry that was learned."""
    params, carry = started(cell)
    row = jax.tree.map(lambda c: c[0], carry)
    whole = jax.tree.map(lambda c: jnp.broadcast_to(c[0], c.shape), carry)
    outer = jaxrnn.LearnedCarryParams(params, row)
    got = PROBES[kind](jaxrnn.learned_carry(cell), outer, None)
    assert_close(got, PROBES[kind](cell, params, whole))


@kinds
@pytest.mark.parametrize("inside", ["stack", pytest.param("learned", marks=SLOW)])
def test_with_carries_of_a_composition(kind, inside):
    cell = STACK if inside == "stack" else jaxrnn.learned_carry(STACK)
    params, carry = started(cell)
    outer = jaxrnn.with_carries(cell)
    got, want = (PROBES[kind](c, params, carry) for c in (outer, cell))
    assert_close(got[0] if kind == "span" else got, want)


def counting(key_too):
    """A GRU with a count of steps in its carry, and a key."""
    inner = jaxrnn.gru(F)

    def initial_carry(params, x):
        batch = x.shape[:-1]
        ticks = jnp.full(batch, 7, jnp.int32)
        key = jnp.broadcast_to(jax.random.key(3), batch)
        return (inner.initial_carry(params, x), ticks, *[key] * key_too)

    def step(params, carry, x):
        h, _ = inner.step(params, carry[0], x)
        return (h, carry[1] + 1, *carry[2:]), h

    return jaxrnn.Cell(inner.init, initial_carry, step)


@pytest.mark.parametrize("key_too", [False, True])
def test_integers_and_keys_of_a_learned_carry_stay(key_too):
    cell = jaxrnn.learned_carry(counting(key_too))
    params = cell.init(jax.random.key(0), F)
    assert params.carry[1:] == (None,) * (1 + key_too)
    params = params._replace(carry=(params.carry[0] + 0.5, *params.carry[1:]))
    resets = np.zeros((T, B), bool)
    resets[2, 1] = True

    def loss(params):
        carry, hs = jaxrnn.unroll(cell, params, None, XS, resets=resets)
        return jnp.sum(jnp.sin(hs)), carry[1]

    grads, ticks = jax.grad(loss, has_aux=True)(params)
    assert ticks.tolist() == [7 + T, 7 + T - 2]

    def by_hand(h0):
        gru, total = jaxrnn.gru(F), 0
        h = jnp.broadcast_to(h0, (B, F))
        for t in range(T):
            h = jnp.where(resets[t][:, None], h0[None], h)
            h, _ = gru.step(params.cell, h, XS[t])
            total += jnp.sum(jnp.sin(h))
        return total

    assert_close(grads.carry[0], jax.grad(by_hand)(params.carry[0]))


def test_a_carry_with_a_key_is_probed_or_refused():
    cell = counting(True)
    params = cell.init(jax.random.key(0), F)
    inner = jaxrnn.gru(F)
    got = probe.ablation(cell, params, None, XS, score)

    def without(unit):
        keep = jnp.arange(F) != unit
        h, total = jnp.zeros((B, F)), 0
        for x in XS:
            h, shown = inner.step(params, jnp.where(keep, h, 0), x)
            h, total = jnp.where(keep, h, 0), total + jnp.sum(jnp.sin(shown))
        return total

    assert_close(got, jnp.array([without(n) for n in range(F)]))
    with pytest.raises(ValueError, match="outputs that are numbers"):
        PROBES["span"](jaxrnn.with_carries(cell), params, None)
