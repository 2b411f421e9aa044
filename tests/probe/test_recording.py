"""The probes against explicit loops over time, written here from their definitions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import probe
from tests.laws.cases import example

T, B, F, H = 5, 3, 4, 5


def leaky(rate):
    def step(params, carry, x):
        carry = rate * carry + x
        return carry, jnp.tanh(carry)

    return jaxrnn.Cell(
        lambda key, features: (), lambda params, x: jnp.zeros_like(x), step
    )


CELLS = {
    "simple_rnn": jaxrnn.simple_rnn(H),
    "lstm": jaxrnn.lstm(H),
    "gru": jaxrnn.gru(H),
    "stack": jaxrnn.stack(
        jaxrnn.lstm(F), jaxrnn.residual(jaxrnn.gru(F)), jaxrnn.lstm(H)
    ),
    "nested": jaxrnn.stack(
        jaxrnn.stack(jaxrnn.gru(H), jaxrnn.lstm(H)), jaxrnn.simple_rnn(H)
    ),
    "learned": jaxrnn.learned_carry(jaxrnn.lstm(H)),
    "residual stack": jaxrnn.residual(jaxrnn.stack(jaxrnn.gru(H), jaxrnn.lstm(F))),
}
SLOW = pytest.mark.slow
BACKWARDS = [("lstm", True), pytest.param("nested", True, marks=SLOW)]
QUICK = ("gru",)


def noisy(tree, seed):
    """No parameter zero or like another."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    leaves = [
        a + 0.3 * jax.random.normal(k, a.shape)
        for a, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, leaves)


def case(cell):
    params = noisy(cell.init(jax.random.key(0), F), 1)
    xs = jax.random.normal(jax.random.key(2), (T, B, F))
    carry = noisy(cell.initial_carry(params, xs[0]), 3)
    return params, carry, xs


def options():
    rng = np.random.default_rng(4)
    mask, resets = rng.uniform(size=(T, B)) < 0.7, rng.uniform(size=(T, B)) < 0.3
    return {"lengths": [T, 4, 0], "mask": mask, "resets": resets}


def layers(cell, params, carry):
    """``(gated cell, params, carry, whether it adds its input)``, from the bottom up."""
    if isinstance(cell.parts, jaxrnn.Gated):
        return [(cell, params, carry, False)]
    if cell.spec[0] == "learned_carry":
        return layers(cell.parts[0], params.cell, carry)
    if cell.spec[0] == "residual":
        inner = layers(cell.parts[0], params, carry)
        return [(*layer[:3], len(inner) == 1) for layer in inner]
    return [
        layer
        for part in zip(cell.parts, params, carry, strict=True)
        for layer in layers(*part)
    ]


def loop(
    cell,
    params,
    carry,
    xs,
    lengths=None,
    mask=None,
    resets=None,
    reverse=False,
    nudges=None,
):
    """(carries, hs, gates) a layer, by Python loops over layers and steps.

    `nudges`: for each layer a tree of [T, ...], added to the carry after each step.
    """
    valid = np.ones((T, B), bool) if mask is None else np.array(mask)
    inside = np.ones((T, B), bool)
    if lengths is not None:
        inside = np.arange(T)[:, None] < np.array(lengths)
    valid &= inside
    resets = np.zeros((T, B), bool) if resets is None else np.array(resets) & inside
    fresh = cell.initial_carry(params, xs[0])
    fresh = [layer[2] for layer in layers(cell, params, fresh)]
    where = lambda rows, a, b: jax.tree.map(
        lambda a, b: jnp.where(jnp.array(rows)[:, None], a, b), a, b
    )
    hs = [where(valid[t], xs[t], 0 * xs[t]) for t in range(T)]
    carries, seen = [], []
    bottom = list(hs)
    for n, (part, p, c, adds) in enumerate(layers(cell, params, carry)):
        project, recur, gates, update, output = part.parts
        seen.append([None] * T)
        for t in reversed(range(T)) if reverse else range(T):
            if not reverse:
                c = where(resets[t], fresh[n], c)
            x = hs[t]
            now = gates(p, c, recur(p, c, project(p, x)))
            new = update(p, c, now)
            if nudges is not None:
                new = jax.tree.map(lambda a, d, t=t: a + d[t], new, nudges[n])
            h = output(p, new) + x if adds else output(p, new)
            hs[t] = where(valid[t], h, 0 * h)
            c = where(valid[t], new, c)
            seen[n][t] = where(valid[t], now, jax.tree.map(jnp.zeros_like, now))
            if reverse:
                c = where(resets[t], fresh[n], c)
        carries.append(c)
    if cell.spec[0] == "residual":
        hs = [h + x for h, x in zip(hs, bottom, strict=True)]
    stacked = [jax.tree.map(lambda *a: jnp.stack(a), *gates) for gates in seen]
    return carries, jnp.stack(hs), stacked


def leaves_close(a, b, tolerance):
    a, b = jax.tree.leaves(a), jax.tree.leaves(b)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(
            one, other, rtol=0, atol=tolerance * max(1, np.abs(other).max())
        )


@pytest.mark.parametrize(
    ("name", "reverse"),
    [
        *(pytest.param(n, False, marks=() if n in QUICK else SLOW) for n in CELLS),
        *BACKWARDS,
    ],
)
def test_gates_are_those_of_a_loop(name, reverse):
    cell = CELLS[name]
    params, carry, xs = case(cell)
    found = probe.gates(cell, params, carry, xs, **options(), reverse=reverse)
    looped = jax.jit(
        lambda xs: loop(cell, params, carry, xs, **options(), reverse=reverse)
    )
    leaves_close(found, looped(xs)[2], 1e-12)


@SLOW
def test_gates_have_names_and_the_shape_of_the_stack():
    cell = CELLS["nested"]
    params, _, xs = case(cell)
    (gru, lstm), simple = probe.gates(cell, params, None, xs)
    assert isinstance(gru, jaxrnn.cells.GRUGates)
    assert isinstance(lstm, jaxrnn.cells.LSTMGates)
    assert isinstance(simple, jaxrnn.cells.SimpleRNNGates)
    assert lstm.f.shape == (T, B, H)
    for around in (cell, jaxrnn.with_carries(cell)):
        leaves_close(
            probe.gates(around, params, None, xs), ((gru, lstm), simple), 1e-12
        )
    alone = jax.jit(lambda xs: probe.gates(cell, params, None, xs))(xs[:, 1])
    leaves_close(alone, jax.tree.map(lambda a: a[:, 1], ((gru, lstm), simple)), 1e-12)


def test_gates_make_the_states_that_unroll_makes():
    cell = jaxrnn.with_carries(CELLS["lstm"])
    params, carry, xs = case(cell)
    i, f, g, o = probe.gates(cell, params, carry, xs)
    _, (hs, carries) = jaxrnn.unroll(cell, params, carry, xs)
    before = jnp.concatenate([carry.c[None], carries.c[:-1]])
    leaves_close(f * before + i * g, carries.c, 1e-12)
    leaves_close(o * jnp.tanh(carries.c), hs, 1e-12)


@pytest.mark.slow
def test_gates_of_both_directions():
    cell = jaxrnn.stack(jaxrnn.bidirectional(jaxrnn.gru(H)), jaxrnn.lstm(2))
    params, carry, xs = case(cell)
    both, above = probe.gates(cell, params, carry, xs, **options())
    for reverse, part in ((False, both.forward), (True, both.backward)):
        run = partial(loop, jaxrnn.gru(H), params[0][reverse], carry[0][reverse])
        looped = jax.jit(partial(run, **options(), reverse=reverse))
        leaves_close(part, looped(xs)[2], 1e-12)
    _, hs = jaxrnn.unroll(cell.parts[0], params[0], carry[0], xs, **options())
    looped = jax.jit(partial(loop, jaxrnn.lstm(2), params[1], carry[1], **options()))
    leaves_close(above, looped(hs)[2], 1e-12)


def weighted(carry, hs):
    """A loss that reads every output, the last carry too, each by another weight."""
    leaves = [hs, *jax.tree.leaves(carry)]
    return sum(
        jnp.sum(jnp.sin(a + jnp.arange(a.size).reshape(a.shape))) for a in leaves
    )


@pytest.mark.parametrize(
    ("name", "reverse"),
    [
        pytest.param("learned", False, marks=SLOW),
        pytest.param("residual stack", False, marks=SLOW),
        *BACKWARDS,
    ],
)
def test_gradient_flow_is_that_of_a_nudge_at_each_step(name, reverse):
    cell = CELLS[name]
    params, carry, xs = case(cell)
    given = {**options(), "reverse": reverse}
    norms = probe.gradient_flow(cell, params, carry, xs, weighted, **given)
    assert jax.tree.structure(norms) == jax.tree.structure(carry)

    @jax.jit
    @jax.grad
    def nudged(nudges):
        carries, hs, _ = loop(cell, params, carry, xs, **given, nudges=nudges)
        return weighted(carries, hs)

    many = lambda c: jnp.zeros((T, *c.shape))
    parts = layers(cell, params, carry)
    gradients = nudged([jax.tree.map(many, part[2]) for part in parts])
    expected = jax.tree.map(lambda g: jnp.sqrt(jnp.sum(g**2, axis=-1)), gradients)
    assert all((leaf > 0).mean() > 0.2 for leaf in jax.tree.leaves(expected))
    leaves_close(norms, expected, 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("shown", [False, pytest.param(True, marks=SLOW)])
def test_gradient_flow_of_both_directions(shown):
    """Each direction as if it were alone and the outputs of the other were given."""
    cell = jaxrnn.bidirectional(jaxrnn.lstm(H), jaxrnn.gru(H))
    params, carry, xs = case(cell)
    (cf, hf), (cb, hb) = (
        jaxrnn.unroll(part, p, c, xs, **options(), reverse=reverse)
        for part, p, c, reverse in zip(
            cell.parts, params, carry, (False, True), strict=True
        )
    )
    of = lambda cf, cb, hf, hb: weighted((cf, cb), jnp.concatenate([hf, hb], -1))
    around = jaxrnn.with_carries(cell) if shown else cell
    loss = lambda carry, hs: weighted(tuple(carry), hs[0] if shown else hs)
    norms = probe.gradient_flow(around, params, carry, xs, loss, **options())
    assert isinstance(norms, jaxrnn.BidirectionalCarry)
    alone = partial(probe.gradient_flow, xs=xs, **options())
    ahead = lambda carry, hs: of(carry, cb, hs, hb)
    back = lambda carry, hs: of(cf, carry, hf, hs)
    leaves_close(
        norms.forward,
        alone(cell.parts[0], params.forward, carry.forward, loss=ahead),
        1e-12,
    )
    leaves_close(
        norms.backward,
        alone(cell.parts[1], params.backward, carry.backward, loss=back, reverse=True),
        1e-12,
    )


def test_gradient_flow_is_the_product_of_forget_gates():
    cell = CELLS["lstm"]
    params, carry, xs = case(cell)
    params = params._replace(wh=jnp.zeros_like(params.wh))
    weights = jnp.linspace(-1, 2, B * H).reshape(B, H)
    loss = lambda carry, hs: jnp.sum(weights * carry.c)
    norms = probe.gradient_flow(cell, params, carry, xs, loss)
    f = np.asarray(probe.gates(cell, params, carry, xs).f)
    kept = [np.prod(f[t + 1 :], axis=0) for t in range(T)]
    expected = np.linalg.norm(np.stack(kept) * np.asarray(weights), axis=-1)
    np.testing.assert_allclose(norms.c, expected, rtol=1e-12)
    assert (norms.h == 0).all()


def test_gradient_flow_of_a_cell_that_is_not_gated():
    cell = jaxrnn.stack(leaky(0.5), leaky(0.25))
    xs = jax.random.normal(jax.random.key(0), (T, B, F))
    loss = lambda carry, hs: jnp.sum(carry[1]) + 100 * jnp.sum(hs[-1])
    lower, upper = probe.gradient_flow(cell, ((), ()), None, xs, loss)
    # upper: by its carry alone, and by h of the last step from the step before on
    _, hs = jaxrnn.unroll(cell, ((), ()), None, xs)
    slope = np.asarray(1 - hs[-1] ** 2)
    lags = np.arange(T)[::-1, None, None]
    expected = 0.25**lags * (1 + 100 * slope * (lags > 0))
    np.testing.assert_allclose(upper, np.linalg.norm(expected, axis=-1), rtol=1e-12)
    assert (lower[:-1] > 0).all()


def test_gradient_flow_keeps_small_gradients_in_float32():
    xs = jnp.ones((4, 1, 2), jnp.float32)
    norms = probe.gradient_flow(
        leaky(1e-10), (), None, xs, lambda carry, hs: carry.sum()
    )
    assert norms.dtype == jnp.float32
    expected = 2**0.5 * np.array([1e-30, 1e-20, 1e-10, 1])[:, None]
    np.testing.assert_allclose(norms, expected, rtol=1e-5)


@pytest.mark.parametrize("remat", [2, "auto"])
def test_gradient_flow_with_remat_and_jit(remat):
    cell = CELLS["lstm"]
    params, carry, xs = case(cell)
    plain = probe.gradient_flow(cell, params, carry, xs, weighted)
    flow = jax.jit(
        lambda p: probe.gradient_flow(cell, p, carry, xs, weighted, remat=remat)
    )
    leaves_close(flow(params), plain, 1e-12)


def test_errors_name_what_is_wrong():
    cell = CELLS["lstm"]
    params, carry, xs = case(cell)
    total = lambda carry, hs: hs.sum()
    with pytest.raises(ValueError, match="cell: expected a jaxrnn"):
        probe.gates(cell.step, params, carry, xs)
    with pytest.raises(ValueError, match="cell: expected a jaxrnn"):
        probe.gradient_flow(cell.step, params, carry, xs, total)
    with pytest.raises(
        ValueError, match=r"no named gates\. Build it with jaxrnn\.gated"
    ):
        probe.gates(jaxrnn.stack(cell, leaky(0.5)), (params, ()), None, xs)
    with pytest.raises(ValueError, match=r"loss: expected a scalar, got \[5, 3\]"):
        probe.gradient_flow(cell, params, carry, xs, lambda carry, hs: hs.sum(axis=-1))
    for run in (
        probe.gates,
        lambda *args, **kw: probe.gradient_flow(*args, total, **kw),
    ):
        with pytest.raises(ValueError, match="lengths: expected 0 to 5"):
            run(cell, params, carry, xs, lengths=[9, 0, 1])
        with pytest.raises(ValueError, match="mask: expected bool"):
            run(cell, params, carry, xs, mask=jnp.ones((T, B)))
        with pytest.raises(ValueError, match="Time is axis 0"):
            run(cell, params, jax.tree.map(lambda a: a[:1], carry), xs)


@pytest.mark.parametrize("wraps", [1, 2])
def test_gates_under_a_key_are_the_cells_own(wraps):
    """As it opens them on the way that the noise leads, before noise acts on them."""
    cell, (params, carry, xs) = CELLS["lstm"], example("lstm")
    noisy = jaxrnn.noise.recurrent_dropout(cell, 0.5)
    if wraps == 2:
        noisy = jaxrnn.noise.zoneout(noisy, 0.3)
    key = jax.random.key(4)
    found = probe.gates(noisy, params, carry, xs, key=key)
    assert isinstance(found, jaxrnn.cells.LSTMGates)
    shown = jaxrnn.with_carries(noisy)
    _, (_, carries) = jaxrnn.unroll(shown, params, carry, xs, key=key)
    before = jax.tree.map(
        lambda c, cs: jnp.concatenate([c[None], cs[:-1]]), carry, carries
    )
    project, recur, gates, _, _ = cell.parts
    want = gates(params, before, recur(params, before, project(params, xs)))
    leaves_close(found, want, 1e-12)
    plain = probe.gates(cell, params, carry, xs)
    assert np.abs(found.f - plain.f).max() > 1e-3


def test_gradient_flow_under_a_key_is_that_of_the_noise():
    """What zoneout holds passes the gradient on whole."""
    cell, (params, carry, xs) = CELLS["lstm"], example("lstm")
    noisy = jaxrnn.noise.zoneout(cell, 0.5)
    key = jax.random.key(4)
    shown = jaxrnn.with_carries(noisy)
    _, (_, carries) = jaxrnn.unroll(shown, params, carry, xs, key=key)
    held = carries.c[-1] == carries.c[-2]
    assert 0 < held.sum() < held.size
    loss = lambda carry, hs: (carry.c * held).sum()
    flow = probe.gradient_flow(noisy, params, carry, xs, loss, key=key)
    np.testing.assert_allclose(flow.c[-2], jnp.sqrt(held.sum(-1)), rtol=1e-12)
