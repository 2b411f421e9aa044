"""Law 10, sharding: shard_map, automatic and explicit axes equal one device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrnn
from tests.laws.cases import AUTO, CELLS, F, T, assert_close, each, example, randomise

NAMES = ("lstm", "own_gated", "stack", "bidirectional", "precision")
some = each(NAMES, quick=("own_gated",))
engines = pytest.mark.parametrize(
    "engine",
    [pytest.param(AUTO, id="auto"), pytest.param("scan", marks=pytest.mark.slow)],
)
ROWS = 4
RESETS = np.random.RandomState(4).rand(T, ROWS) < 0.3
LENGTHS = np.array([T, 2, 0, 1])


def mesh(kind):
    return jax.make_mesh((4,), ("d",), axis_types=(kind,))


def inputs(name):
    params, _, _ = example(name)
    return params, jnp.asarray(np.random.RandomState(5).randn(T, ROWS, F))


def loss(name, engine, params, xs, resets, lengths):
    """Each row's own loss: its sum does not depend on how rows are spread."""
    options = dict(resets=resets, lengths=lengths, engine=engine)
    _, hs = jaxrnn.unroll(CELLS[name], params, None, xs, **options)
    return sum(jnp.sum(jnp.sin(2 * h + 1) * (h != 0)) for h in jax.tree.leaves(hs))


@functools.cache
def one_device(name):
    params, xs = inputs(name)
    g = jax.value_and_grad(functools.partial(loss, name, "scan"), (0, 1))
    return jax.device_get(jax.jit(g)(params, xs, RESETS, LENGTHS))


@some
@engines
def test_shard_map_over_the_batch(name, engine):
    """Params replicated, rows split; the initial carry must vary over the mesh axis."""
    params, xs = inputs(name)

    def local(params, xs, resets, lengths):
        f = functools.partial(loss, name, engine)
        value, (dp, dx) = jax.value_and_grad(f, (0, 1))(params, xs, resets, lengths)
        return jax.lax.psum(value, "d"), dp, dx

    rows = P(None, "d")
    split = jax.shard_map(
        local,
        mesh=mesh(AxisType.Auto),
        in_specs=(P(), rows, rows, P("d")),
        out_specs=(P(), P(), rows),
    )
    value, dp, dx = jax.jit(split)(
        params, xs, jnp.asarray(RESETS), jnp.asarray(LENGTHS)
    )
    assert_close((value, (dp, dx)), one_device(name))


@some
@engines
def test_shard_map_over_a_population(name, engine):
    """Params split, inputs replicated."""
    params, xs = inputs(name)
    many = jax.tree.map(lambda a: jnp.stack([a, 0.5 * a, -a, 2 * a]), params)
    f = jax.value_and_grad(functools.partial(loss, name, engine))
    local = lambda p, xs: jax.vmap(f, (0, None, None, None))(p, xs, RESETS, LENGTHS)
    split = jax.shard_map(
        local, mesh=mesh(AxisType.Auto), in_specs=(P("d"), P()), out_specs=P("d")
    )
    assert_close(jax.jit(split)(many, xs), jax.jit(local)(many, xs))


@some
@engines
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_sharded_arrays_under_jit(name, engine, kind):
    params, xs = inputs(name)
    axes = mesh(kind)
    with jax.set_mesh(axes):
        put = lambda a, *spec: jax.device_put(a, NamedSharding(axes, P(*spec)))
        args = jax.tree.map(put, params), put(xs, None, "d")
        control = put(RESETS, None, "d"), put(LENGTHS, "d")
        g = jax.value_and_grad(functools.partial(loss, name, engine), (0, 1))
        got = jax.jit(g)(*args, *control)
    assert_close(jax.device_get(got), one_device(name))


NOISES = {
    "dropout": lambda cell: jaxrnn.noise.dropout(cell, 0.4),
    "variational": lambda cell: jaxrnn.noise.variational(
        cell, inputs=0.2, recurrent=0.3, outputs=0.4
    ),
    "recurrent_dropout": lambda cell: jaxrnn.noise.recurrent_dropout(cell, 0.4),
    "zoneout": lambda cell: jaxrnn.noise.zoneout(cell, 0.4),
    "gaussian": lambda cell: jaxrnn.noise.gaussian(
        cell, inputs=0.1, pre=0.2, carry=0.3
    ),
}
SLOW = pytest.mark.slow


@pytest.mark.parametrize("rows", ["one key", "keys split", "keys whole"])
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
@pytest.mark.parametrize(
    "name", [n if n == "zoneout" else pytest.param(n, marks=SLOW) for n in NOISES]
)
def test_noise_is_that_of_one_device(name, kind, rows):
    params, xs = inputs("lstm")
    cell, axes = NOISES[name](CELLS["lstm"]), mesh(kind)
    key = jax.random.key(3)
    if rows != "one key":
        key = jax.random.split(key, ROWS)

    def shown(params, xs, key, resets):
        options = dict(resets=resets, key=key, engine=AUTO)
        return jnp.sum(jnp.sin(jaxrnn.unroll(cell, params, None, xs, **options)[1]))

    graded = jax.jit(jax.value_and_grad(shown, (0, 1)))
    want = jax.device_get(graded(params, xs, key, RESETS))
    with jax.set_mesh(axes):
        put = lambda a, *spec: jax.device_put(a, NamedSharding(axes, P(*spec)))
        keys = put(key, "d") if rows == "keys split" else key
        args = jax.tree.map(put, params), put(xs, None, "d"), keys
        got = jax.jit(jax.value_and_grad(shown, (0, 1)))(*args, put(RESETS, None, "d"))
    assert_close(jax.device_get(got), want)


def test_weights_are_dropped_as_on_one_device():
    """One key on an explicit mesh: rows have no say in it."""
    params, xs = inputs("lstm")
    cell, axes = jaxrnn.noise.weight_drop(CELLS["lstm"], 0.4), mesh(AxisType.Explicit)
    run = lambda p, xs, k: jaxrnn.unroll(cell, p, None, xs, key=k, engine=AUTO)
    want = jax.device_get(jax.jit(run)(params, xs, jax.random.key(3)))
    with jax.set_mesh(axes):
        put = lambda a, *spec: jax.device_put(a, NamedSharding(axes, P(*spec)))
        args = jax.tree.map(put, params), put(xs, None, "d"), jax.random.key(3)
        got = jax.jit(run)(*args)
    assert_close(jax.device_get(got), want)


def test_a_carry_from_outside_may_vary_less_than_the_inputs():
    """A replicated carry beside split inputs: the loop's carry varies from step 1 on."""
    params, carry, _ = example("gru")
    xs = jnp.asarray(np.random.RandomState(5).randn(T, ROWS, F))
    h = randomise(3, jnp.zeros((1, carry.shape[-1])))

    def local(params, h, xs):
        return jaxrnn.unroll(CELLS["gru"], params, h, xs)

    split = jax.shard_map(
        local,
        mesh=mesh(AxisType.Auto),
        in_specs=(P(), P(), P(None, "d")),
        out_specs=(P("d"), P(None, "d")),
    )
    want = jaxrnn.unroll(CELLS["gru"], params, jnp.tile(h, (ROWS, 1)), xs)
    assert_close(jax.jit(split)(params, h, xs), want)
