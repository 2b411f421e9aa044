"""What unroll does for cells that are not of vectors, and what it tells a cell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.laws.cases import assert_close, weighed

T, B = 5, 3


def tokens_cell():
    """A gated cell whose input is a token id: its embedding is what the input says."""
    return jaxrnn.gated(
        init=lambda key, features: {
            "table": jax.random.normal(key, (features, 4)),
            "wh": jax.random.normal(jax.random.fold_in(key, 1), (4, 4)) * 0.4,
        },
        initial_carry=lambda p, x: jnp.zeros((*x.shape, 4)),
        event_ndim=0,
        project=lambda p, x: (p["table"][x],),
        recur=lambda p, h, z: (z[0] + h @ p["wh"],),
        gates=lambda p, h, a: (jnp.tanh(a[0]),),
        update=lambda p, h, g: g[0],
        output=lambda p, h: h,
    )


def images_cell():
    """A gated cell of images [*batch, W, W, C]: one batch dimension, three of features."""
    conv = lambda x, w: jax.lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jaxrnn.gated(
        init=lambda key, features: (
            jax.random.normal(key, (3, 3, features, 2)) * 0.3,
            jax.random.normal(jax.random.fold_in(key, 1), (3, 3, 2, 2)) * 0.3,
        ),
        initial_carry=lambda p, x: jnp.zeros((*x.shape[:-1], 2)),
        event_ndim=3,
        project=lambda p, x: (conv(x, p[0]),),
        recur=lambda p, h, z: (z[0] + conv(h, p[1]),),
        gates=lambda p, h, a: (jnp.tanh(a[0]),),
        update=lambda p, h, g: g[0],
        output=lambda p, h: h,
    )


def pair_cell():
    """A gated cell whose input is a pair: a vector, and a gain without features."""
    return jaxrnn.gated(
        init=lambda key, features: jax.random.normal(key, (features, features)) * 0.5,
        initial_carry=lambda p, x: jnp.zeros(x["v"].shape),
        event_ndim=None,
        project=lambda p, x: (x["v"] @ p * x["gain"][..., None],),
        recur=lambda p, h, z: (z[0] + h @ p,),
        gates=lambda p, h, a: (jnp.tanh(a[0]),),
        update=lambda p, h, g: g[0],
        output=lambda p, h: h,
    )


rng = np.random.RandomState(0)
OTHERS = {
    "tokens": (tokens_cell(), 7, jnp.asarray(rng.randint(0, 7, (T, B)))),
    "images": (images_cell(), 2, jnp.asarray(rng.randn(T, B, 4, 4, 2))),
    "pairs": (
        pair_cell(),
        4,
        {"v": jnp.asarray(rng.randn(T, B, 4)), "gain": jnp.asarray(rng.randn(T, B))},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("ragged", [pytest.param(False, marks=pytest.mark.slow), True])
def test_cells_that_are_not_of_vectors(name, ragged):
    cell, features, xs = OTHERS[name]
    params = cell.init(jax.random.key(0), features)
    options = {}
    if ragged:
        options["lengths"] = np.array([T, 0, 2])
        options["resets"] = np.random.RandomState(2).rand(T, B) < 0.4

    def f(params, engine):
        out = jaxrnn.unroll(cell, params, None, xs, engine=engine, **options)
        return weighed(out), out

    g = jax.jit(jax.value_and_grad(f, has_aux=True), static_argnums=1)
    assert_close(g(params, "gated"), g(params, "scan"))
    if ragged:  # each row as if alone
        (_, (_, hs)), _ = g(params, "gated")
        row = jax.tree.map(lambda a: a[:2, 2:], xs)
        alone = {"resets": options["resets"][:2, 2:]}
        _, want = jaxrnn.unroll(cell, params, None, row, **alone)
        assert_close(hs[:2, 2:], want)
        assert not np.any(hs[2:, 2])


def test_lengths_of_another_shape_are_refused_for_vectors_only():
    cell, features, xs = OTHERS["images"]
    params = cell.init(jax.random.key(0), features)
    with pytest.raises(ValueError, match=r"lengths: expected \[3\] for xs"):
        jaxrnn.unroll(cell, params, None, xs, lengths=np.full(B + 1, T))
    gru = jaxrnn.gru(4)
    params = gru.init(jax.random.key(0), 2)
    with pytest.raises(ValueError, match=r"lengths: expected \[3, 4\]"):
        jaxrnn.unroll(gru, params, None, jnp.ones((T, 3, 4, 2)), lengths=np.full(3, T))


def test_lengths_and_a_mask_of_two_batch_shapes():
    """Where a cell does not say what the batch is, both must mean the same."""
    cell, features, xs = OTHERS["images"]
    cell = cell._replace(event_ndim=None)
    params = cell.init(jax.random.key(0), features)
    mask = np.ones((T, B, 4), bool)
    with pytest.raises(ValueError, match=r"lengths: expected the batch shape \[3, 4\]"):
        jaxrnn.unroll(cell, params, None, xs, lengths=np.full(B, T), mask=mask)


@pytest.mark.parametrize("name", ["lengths", "mask", "resets"])
@pytest.mark.parametrize("of", ["inputs", "carry"])
def test_a_batch_shape_that_something_does_not_begin_with(name, of):
    """Where a cell does not say what the batch is, all leaves must begin with it."""
    batch = {"inputs": (B, B + 1), "carry": (B, B)}
    batch[of] = (B, B + 2) if of == "inputs" else (B + 1, B)
    cell = jaxrnn.Cell(
        init=lambda key, features: (),
        initial_carry=lambda p, x: jnp.zeros(batch["carry"]),
        step=lambda p, c, x: (c + x["a"].sum(), c * x["b"].sum()),
        event_ndim=None,
    )
    xs = {"a": jnp.ones((T, B, 3)), "b": jnp.ones((T, *batch["inputs"]))}
    shape = (B,) if of == "carry" else (B, B + 1)
    given = {"lengths": np.full(shape, T)}
    given |= {n: np.ones((T, *shape), bool) for n in ("mask", "resets")}
    with pytest.raises(ValueError, match=f"{name}: expected a batch shape that xs"):
        jaxrnn.unroll(cell, (), None, xs, **{name: given[name]})


def test_a_cell_with_an_unroll_of_its_own_is_told_everything():
    told = []

    def unroll(params, carry, xs, control, run):
        told.append(control)
        return carry, 2 * xs

    cell = jaxrnn.Cell(
        init=lambda key, features: (),
        initial_carry=lambda p, x: jnp.full(x.shape, 3.0),
        step=lambda p, c, x: (c, 2 * x),
        unroll=unroll,
    )
    xs = jnp.asarray(np.random.RandomState(1).randn(T, B, 2))
    mask, resets = np.eye(T, B, dtype=bool), np.eye(T, B, 1, dtype=bool)
    lengths = np.array([T, 1, T])
    _, hs = jaxrnn.unroll(
        cell,
        (),
        None,
        xs,
        lengths=lengths,
        mask=mask,
        resets=resets,
        reverse=True,
        remat=2,
    )
    (control,) = told
    inside = np.arange(T)[:, None] < lengths
    np.testing.assert_array_equal(control.valid, mask & inside)
    np.testing.assert_array_equal(control.resets, resets & inside)
    np.testing.assert_array_equal(control.fresh, np.full((B, 2), 3.0))
    assert control[3:] == (True, 2, "auto", None, 1)
    np.testing.assert_array_equal(hs, np.where((mask & inside)[..., None], 2 * xs, 0))


def test_an_unroll_without_run_is_refused():
    cell = jaxrnn.gru(4)._replace(unroll=lambda params, carry, xs, control: (carry, xs))
    params = cell.init(jax.random.key(0), 2)
    with pytest.raises(ValueError, match=r"cell.unroll: expected a .* control, run\)"):
        jaxrnn.unroll(cell, params, None, jnp.ones((T, B, 2)))


def test_remat_stores_less():
    """Temporary bytes of the gradient at T=512, less with every 16th carry stored."""
    cell = jaxrnn.lstm(16)
    params = cell.init(jax.random.key(0), 4)
    xs = jnp.ones((512, 8, 4))

    def temporaries(remat):
        f = lambda p: jnp.sum(jaxrnn.unroll(cell, p, None, xs, remat=remat)[0].h)
        analysis = jax.jit(jax.grad(f)).lower(params).compile().memory_analysis()
        return analysis.temp_size_in_bytes

    assert temporaries(16) < 0.4 * temporaries(None)
