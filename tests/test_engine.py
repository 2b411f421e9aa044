"""What the engine is made of: blocks of steps, what is stored, what a function reads."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

import jaxrnn
from jaxrnn.engine import gated, scan
from jaxrnn.engine.hoist import hoist
from tests.laws.cases import CELLS, B, F, H, T, assert_close, example, weighed

LENGTHS = [T, 2, 0]


@pytest.mark.parametrize(
    ("steps", "size", "least", "found"),
    [
        (12, 4, 1, 4),
        (12, 5, 1, 6),  # the nearest divisor, by ratio
        (14, 4, 1, 7),  # neither 3 nor 5 divides
        (13, 4, 1, 13),  # no divisor is near
        (12, 4, 3, 4),
        (12, 4, 4, 12),  # three blocks are fewer than four
        (12, 0, 1, 12),
        (12, 20, 1, 12),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_blocks_leave_no_rest(steps, size, least, found, reverse):
    seen = []

    def run(carry, xs):
        seen.append(len(xs))
        return jax.lax.scan(lambda c, x: (0.5 * c + x, c), carry, xs, reverse=reverse)

    xs = jnp.asarray(np.random.RandomState(0).randn(steps))
    got = scan.in_blocks(run, jnp.float64(0.3), xs, size, reverse, least)
    assert set(seen) == {found}
    assert_close(got, run(jnp.float64(0.3), xs))


@pytest.mark.parametrize("name", ["lstm", "bare"])
def test_auto_stores_less_where_all_would_be_too_much(name, monkeypatch):
    params, carry, _ = example(name)
    xs = jnp.asarray(np.random.RandomState(0).randn(36, 3, F))

    def lengths():
        def loss(params):
            return weighed(jaxrnn.unroll(CELLS[name], params, carry, xs, remat="auto"))

        program = str(jax.make_jaxpr(jax.grad(loss))(params))
        return {int(n) for n in re.findall(r"length=(\d+)", program)}

    assert lengths() == {36}
    monkeypatch.setattr(scan, "AUTO_REMAT_BYTES", 2**10)
    assert lengths() == {6}


def test_what_a_function_reads():
    """Used or only handed on: read. Neither: no tangent is made of it."""

    def f(tree, x):
        return x * tree["used"], tree["handed on"]

    tree = {name: jnp.float64(n) for n, name in enumerate(("used", "handed on", "not"))}
    pure = hoist(f, tree, jnp.arange(3.0))
    assert pure.reads == ((), {"used": True, "handed on": True, "not": False}, True)


def test_an_input_that_is_only_handed_on_has_a_gradient():
    cell = jaxrnn.gated(
        init=lambda key, features: jax.random.normal(key, (features, features)),
        initial_carry=lambda p, x: jnp.zeros(x.shape),
        project=lambda p, x: (x,),
        recur=lambda p, h, z: (z[0] + h @ p,),
        gates=lambda p, h, a: (jnp.tanh(a[0]),),
        update=lambda p, h, g: g[0],
        output=lambda p, h: h,
    )
    params = cell.init(jax.random.key(0), F)
    xs = jnp.asarray(np.random.RandomState(0).randn(5, 3, F))

    def gradients(engine):
        f = lambda p, x: weighed(jaxrnn.unroll(cell, p, None, x, engine=engine))
        return jax.grad(f, (0, 1))(params, xs)

    assert_close(gradients("gated"), gradients("scan"))


# Functions that call Python while they run.

WHERE = ["update", "gates"]
WHERE += [
    pytest.param(f, marks=pytest.mark.slow) for f in ("project", "recur", "output")
]


def chatty(where, call):
    """A GRU one of whose functions first hands the shape of an array to `call`."""
    inner = jaxrnn.gru(H)
    f = getattr(inner.parts, where)

    def calling(*args):
        call(jax.tree.leaves(args)[-1])
        return f(*args)

    parts = inner.parts._replace(**{where: calling})
    start = inner.initial_carry
    return jaxrnn.gated(init=inner.init, initial_carry=start, **parts._asdict())


@pytest.mark.parametrize("where", WHERE)
def test_a_callback_runs_once_per_step_with_the_batch(where):
    seen = {"auto": [], "scan": []}
    params, carry, xs = example("gru")
    for engine, shapes in seen.items():
        hear = lambda a, shapes=shapes: shapes.append(np.shape(a))
        cell = jaxrnn.stack(chatty(where, functools.partial(jax.debug.callback, hear)))
        run = lambda p, cell=cell, engine=engine: weighed(
            jaxrnn.unroll(cell, p, (carry,), xs, engine=engine, lengths=LENGTHS)
        )
        value = run((params,)) if where != "gates" else jax.grad(run)((params,))
        jax.block_until_ready(value)
        jax.effects_barrier()
    assert seen["auto"] == seen["scan"]
    assert len(seen["auto"]) >= T
    assert seen["auto"][0][0] == B


@pytest.mark.parametrize("kind", ["ordered", "pure", "inside jit"])
def test_callbacks_of_every_kind_run_in_order(kind):
    seen = []

    def hear(a):
        seen.append(float(a[0, 0]))
        return a

    def call(a):
        if kind == "pure":
            return jax.pure_callback(hear, jax.ShapeDtypeStruct(a.shape, a.dtype), a)
        return io_callback(
            hear, jax.ShapeDtypeStruct(a.shape, a.dtype), a, ordered=True
        )

    inner = jaxrnn.gru(H)
    heard = jax.jit(call) if kind == "inside jit" else call
    parts = inner.parts._replace(update=lambda *args: heard(inner.parts.update(*args)))
    cell = jaxrnn.gated(
        init=inner.init, initial_carry=inner.initial_carry, **parts._asdict()
    )
    params, carry, xs = example("gru")
    _, hs = jaxrnn.unroll(cell, params, carry, xs)
    jax.effects_barrier()
    assert seen == hs[:, 0, 0].tolist()
    assert_close(hs, jaxrnn.unroll(inner, params, carry, xs)[1])
    with pytest.raises(ValueError, match="engine: expected 'auto' or 'scan'"):
        jaxrnn.unroll(cell, params, carry, xs, engine="gated")


@pytest.mark.parametrize(
    ("name", "blocks"), [("lstm", True), ("conv_lstm", False), ("conv_gru", False)]
)
def test_gradients_that_are_convolutions_wait_for_the_end(name, blocks):
    """In a loop over blocks of steps they would take 30 times as long."""
    sizes = []

    class Recording(gated.Plan):
        def block_size(self, *told):
            sizes.append(super().block_size(*told))
            return sizes[-1]

    params, carry, xs = example(name)
    jaxrnn.unroll(CELLS[name], params, carry, xs, engine=(gated.engine(Recording()),))
    assert [size > 0 for size in sizes] == [blocks]
