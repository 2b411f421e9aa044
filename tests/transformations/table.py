"""What a program may put around `unroll`: the table's rows.

A transformation takes ``run(params, carry, xs, lengths, resets) -> (carry, hs)`` and the
arguments, and returns a tree of numbers. They must be those that it makes of a Python
loop of `step`, or, where `PLAIN` says so, those that another one makes of the loop: jit
changes nothing, shards are rows.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrnn
from tests.laws.cases import (
    ALIKE,
    CELLS,
    F,
    H,
    bare,
    bare_step,
    own_gated,
    randomise,
)

# Of params, carry, xs, lengths, resets: which axis is the batch.
BATCH = (None, 0, 1, 0, 1)

# The table's columns; other gated cells are run in the same way as these.
COLUMNS = tuple(name for name in CELLS if name not in (*ALIKE, "noise"))


class Run(NamedTuple):
    """``(params, carry, xs, lengths, resets) -> (carry, hs)`` of a cell of the table.

    Fields:
        name: of the cell.
        over: what runs a cell over time: `unroll`, or the loop.
    """

    name: str
    over: Callable

    def __call__(self, *args: Any) -> Any:
        return self.over(CELLS[self.name], *args)


# The cells once more, each with a number that a transformation may trace.
bent = lambda a: lambda pre: jnp.tanh((0.5 + a) * pre)
FAMILIES: dict[str, Callable] = {
    "simple_rnn": lambda a: jaxrnn.simple_rnn(H, activation=bent(a)),
    "simple_rnn_relu": lambda a: jaxrnn.simple_rnn(
        H, activation=lambda pre: jax.nn.leaky_relu(pre, a)
    ),
    "lstm": lambda a: jaxrnn.lstm(H, forget_bias=a),
    "gru": lambda a: jaxrnn.gru(H, update_bias=a),
    "own_gated": lambda a: own_gated(H, a),
    "bare": lambda a: bare()._replace(
        step=lambda p, c, x: bare_step(p, (0.5 + a) * c, x)
    ),
    "stack": lambda a: jaxrnn.stack(
        jaxrnn.lstm(H, forget_bias=a), own_gated(3, a), jaxrnn.gru(3)
    ),
    "residual": lambda a: jaxrnn.residual(jaxrnn.simple_rnn(F, activation=bent(a))),
    "with_carries": lambda a: jaxrnn.with_carries(own_gated(H, a)),
    "learned_carry": lambda a: jaxrnn.learned_carry(jaxrnn.lstm(H, forget_bias=a)),
    "bidirectional": lambda a: jaxrnn.bidirectional(
        own_gated(H, a), jaxrnn.gru(H, update_bias=a)
    ),
    "deep_bidirectional": lambda a: jaxrnn.stack(
        jaxrnn.bidirectional(jaxrnn.gru(3, update_bias=a)),
        jaxrnn.bidirectional(jaxrnn.simple_rnn(2, activation=bent(a))),
    ),
    "precision": lambda a: jaxrnn.precision(own_gated(H, a), compute=jnp.float64),
    "dropout": lambda a: jaxrnn.noise.dropout(own_gated(H, a), a),
}


def family(name: str) -> Callable:
    """``number -> cell``; a cell whose own numbers cannot be traced reads another's."""
    inside = lambda a: jaxrnn.stack(own_gated(F // 2, a), CELLS[name])
    return FAMILIES.get(name, inside)


def loss(out: Any) -> jax.Array:
    """Each row's own numbers, summed: however rows are spread, the sum is the same."""
    return sum(jnp.sum(jnp.sin(2 * a + 1)) for a in floats(out))


def floats(tree: Any) -> list:
    return [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.floating)]


def scalar(run: Run, args: tuple) -> Callable:
    """``(params, xs) -> loss``."""
    _, carry, _, lengths, resets = args
    return lambda params, xs: loss(run(params, carry, xs, lengths, resets))


def call(run, args):
    return run(*args)


def jit(run, args):
    return jax.jit(lambda *args: run(*args))(*args)


def disable_jit(run, args):
    with jax.disable_jit():
        return run(*args)


def eval_shape(run, args):
    shapes = jax.tree.leaves(jax.eval_shape(lambda *args: run(*args), *args))
    return [np.array([*a.shape, jnp.dtype(a.dtype).num]) for a in shapes]


def shapes(run, args):
    types = jax.tree.leaves(run(*args))
    return [np.array([*a.shape, np.asarray(a).dtype.num]) for a in types]


def grad(run, args):
    params, carry, xs, *control = args

    def f(params, some, xs):
        fill = iter(some)
        whole = jax.tree.map(
            lambda a: next(fill) if jnp.issubdtype(a.dtype, jnp.floating) else a, carry
        )
        return loss(run(params, whole, xs, *control))

    return jax.jit(jax.grad(f, (0, 1, 2)))(params, floats(carry), xs)


def with_outputs(run, args):
    _, carry, _, lengths, resets = args

    def f(params, xs):
        out = run(params, carry, xs, lengths, resets)
        return loss(out), out

    return jax.jit(jax.value_and_grad(f, (0, 1), has_aux=True))(args[0], args[2])


def along(args):
    return randomise(11, args[0]), randomise(12, args[2])


def jvp(run, args):
    f = lambda p, x: jax.jvp(scalar(run, args), (p, x), along(args))
    return jax.jit(f)(args[0], args[2])


def linearize(run, args):
    value, tangent = jax.linearize(scalar(run, args), args[0], args[2])
    return value, tangent(*along(args))


def hessian(run, args):
    """By three gains: on the first of the params, on the others, on the inputs."""
    leaves, kind = jax.tree.flatten(args[0])

    def f(gains):
        scaled = [gains[0] * leaves[0], *(gains[1] * a for a in leaves[1:])]
        return scalar(run, args)(jax.tree.unflatten(kind, scaled), gains[2] * args[2])

    return jax.jit(jax.hessian(f))(jnp.array([1.0, 0.9, 1.1]))


def grad_of_grad(run, args):
    f = jax.grad(scalar(run, args), (0, 1))
    squares = lambda p, x: sum(jnp.sum(g**2) for g in jax.tree.leaves(f(p, x)))
    return jax.jit(jax.grad(squares, (0, 1)))(args[0], args[2])


def jvp_of_grad(run, args):
    f = jax.grad(scalar(run, args), (0, 1))
    return jax.jit(lambda p, x: jax.jvp(f, (p, x), along(args)))(args[0], args[2])


def checkpoint(run, args):
    f = jax.checkpoint(scalar(run, args), policy=jax.checkpoint_policies.dots_saveable)
    return jax.jit(jax.value_and_grad(f, (0, 1)))(args[0], args[2])


def value_and_gradient(run, args):
    return jax.jit(jax.value_and_grad(scalar(run, args), (0, 1)))(args[0], args[2])


def vmap_rows(run, args):
    """In along the batch, out along the last axis but one."""
    rows = jax.vmap(run, BATCH, (0, -1))
    carry, hs = jax.jit(rows)(*args)
    return carry, jax.tree.map(lambda a: jnp.moveaxis(a, -1, 1), hs)


def population(params):
    return jax.tree.map(lambda a: jnp.stack([a, 0.5 * a, -a, 0.3 * a]), params)


def vmap_params(run, args):
    f = jax.value_and_grad(scalar(run, args), (0, 1))
    return jax.jit(jax.vmap(f, (0, None)))(population(args[0]), args[2])


def vmap_nested(run, args):
    """Params in one, inputs in the other, both differentiated."""
    f = jax.grad(scalar(run, args), (0, 1))
    f = jax.vmap(jax.vmap(f, (None, 0)), (0, None), out_axes=1)
    return jax.jit(f)(population(args[0]), jnp.stack([args[2], 0.7 * args[2]]))


def grad_of_vmap(run, args):
    rows = jax.vmap(run, BATCH, (0, 1))
    _, carry, _, lengths, resets = args
    f = lambda p, x: loss(rows(p, carry, x, lengths, resets))
    return jax.jit(jax.value_and_grad(f, (0, 1)))(args[0], args[2])


def hyperparameters(run, args):
    """A batch of cells, and the derivative by what makes them differ."""
    _, _, xs, lengths, resets = args

    def f(rate, xs):
        cell = family(run.name)(rate)
        params = cell.init(jax.random.key(0), F)
        noise = randomise(1, params, 0.2)
        params = jax.tree.map(jnp.add, params, noise)
        carry = cell.initial_carry(params, xs[0])
        return loss(run.over(cell, params, carry, xs, lengths, resets))

    g = jax.vmap(jax.value_and_grad(f), (0, None))
    return jax.jit(g)(jnp.array([0.2, 0.5, 0.9]), xs)


def scan_of_unroll(run, args):
    """Chunk by chunk, the carry handed on, as in truncated backpropagation."""
    params, carry, xs, lengths, resets = args
    half = xs.shape[0] // 2
    cut = lambda a: a[: 2 * half].reshape(2, half, *a.shape[1:])
    of_chunk = jnp.stack([jnp.clip(lengths - n * half, 0, half) for n in (0, 1)])

    def f(params, xs):
        body = lambda carry, chunk: run(params, carry, *chunk)
        return loss(jax.lax.scan(body, carry, (cut(xs), of_chunk, cut(resets))))

    return jax.jit(jax.value_and_grad(f, (0, 1)))(params, xs)


def while_loop(run, args):
    """Thrice over the same inputs; forward mode alone, as JAX has it."""
    _, carry, _, lengths, resets = args

    def f(params, xs):
        def body(state):
            n, carry = state
            return n + 1, run(params, carry, xs, lengths, resets)[0]

        return jax.lax.while_loop(lambda s: s[0] < 3, body, (0, carry))[1]

    whole = lambda p, x: loss(f(p, x))
    return jax.jit(lambda p, x: jax.jvp(whole, (p, x), along(args)))(args[0], args[2])


def cond(run, args):
    f = scalar(run, args)
    branch = lambda p, x, n: jax.lax.cond(n > 0, f, lambda p, x: f(p, 0.5 * x), p, x)
    g = jax.jit(jax.grad(branch, (0, 1)))
    return g(args[0], args[2], 0), g(args[0], args[2], 1)


def custom_vjp(run, args):
    """A gradient that is turned round on its way."""

    @jax.custom_vjp
    def turned(params, xs):
        return scalar(run, args)(params, xs)

    def forward(params, xs):
        return jax.vjp(scalar(run, args), params, xs)

    turned.defvjp(forward, lambda back, g: back(-2 * g))
    return jax.jit(jax.value_and_grad(turned, (0, 1)))(args[0], args[2])


def turned_by_hand(run, args):
    value, grads = value_and_gradient(run, args)
    return value, jax.tree.map(lambda g: -2 * g, grads)


def devices(n: int) -> jax.sharding.Mesh:
    return jax.make_mesh(
        (n,), ("d",), axis_types=(AxisType.Auto,), devices=jax.devices()[:n]
    )


def sharded(axis: int | None) -> P:
    return P() if axis is None else P(*[None] * axis, "d")


def shard_map_batch(n: int) -> Callable:
    """Rows spread, params on each."""

    def transform(run, args):
        def local(*args):
            _, carry, _, lengths, resets = args
            f = lambda p, x: loss(run(p, carry, x, lengths, resets))
            value, grads = jax.value_and_grad(f, (0, 1))(args[0], args[2])
            return jax.lax.psum(value, "d"), grads

        rows = tuple(map(sharded, BATCH))
        out = P(), (P(), P(None, "d"))
        split = jax.shard_map(local, mesh=devices(n), in_specs=rows, out_specs=out)
        return jax.jit(split)(*args)

    return transform


def shard_map_population(n: int) -> Callable:
    """Members spread, inputs on each; a member's gradients are its own."""

    def transform(run, args):
        def local(params, xs):
            xs = jax.lax.pcast(xs, "d", to="varying")
            f = jax.value_and_grad(scalar(run, args), (0, 1))
            return jax.vmap(f, (0, None))(params, xs)

        split = jax.shard_map(
            local, mesh=devices(n), in_specs=(P("d"), P()), out_specs=P("d")
        )
        return jax.jit(split)(population(args[0]), args[2])

    return transform


def jit_batch(n: int) -> Callable:
    """jit of arrays whose rows are spread: no change in the function."""

    def transform(run, args):
        put = lambda tree, axis: jax.device_put(
            tree, NamedSharding(devices(n), sharded(axis))
        )
        params, carry, xs, lengths, resets = map(put, args, BATCH)
        f = lambda p, x, c, *control: loss(run(p, c, x, *control))
        return jax.jit(jax.value_and_grad(f, (0, 1)))(
            params, xs, carry, lengths, resets
        )

    return transform


def jit_population(n: int) -> Callable:
    def transform(run, args):
        mesh = devices(n)
        many = jax.device_put(population(args[0]), NamedSharding(mesh, P("d")))
        xs = jax.device_put(args[2], NamedSharding(mesh, P()))
        f = jax.value_and_grad(scalar(run, args), (0, 1))
        return jax.jit(jax.vmap(f, (0, None)))(many, xs)

    return transform


def exported(run, args):
    """Stored and read again, with symbolic time and batch."""
    t, b = jax.export.symbolic_shape("t, b")
    params, carry, xs, lengths, resets = args

    def symbolic(tree, axis, time):
        def one(a):
            shape = list(a.shape)
            shape[axis] = b
            if time:
                shape[0] = t
            return jax.ShapeDtypeStruct(tuple(shape), a.dtype)

        return jax.tree.map(one, tree)

    types = (
        jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), params),
        *map(symbolic, args[1:], BATCH[1:], (False, True, False, True)),
    )
    # Named tuples are no part of what is stored: leaves go in and out.
    kinds, flat = jax.tree.structure(types), jax.tree.leaves(types)
    plain = lambda *leaves: jax.tree.leaves(run(*jax.tree.unflatten(kinds, leaves)))
    stored = jax.export.export(jax.jit(plain))(*flat).serialize()
    read = jax.export.deserialize(stored)
    return read.call(*jax.tree.leaves(args))


def leaves(run, args):
    return jax.tree.leaves(run(*args))


def under(context: Callable) -> Callable:
    """The gradient, with a check of JAX's switched on."""

    def transform(run, args):
        with context():
            return value_and_gradient(run, args)

    return transform


CHECKS = {
    "checking_leaks": under(jax.checking_leaks),
    "debug_nans": under(lambda: jax.debug_nans(True)),
    'numpy_dtype_promotion("strict")': under(
        lambda: jax.numpy_dtype_promotion("strict")
    ),
    'numpy_rank_promotion("raise")': under(lambda: jax.numpy_rank_promotion("raise")),
}
TRANSFORMATIONS: dict[str, Callable] = {
    "jit": jit,
    "disable_jit": disable_jit,
    "eval_shape": eval_shape,
    "grad (params, carry, inputs)": grad,
    "value_and_grad, has_aux": with_outputs,
    "jvp": jvp,
    "linearize": linearize,
    "hessian": hessian,
    "grad of grad": grad_of_grad,
    "jvp of grad": jvp_of_grad,
    "checkpoint with a policy": checkpoint,
    "vmap over the batch, out along another axis": vmap_rows,
    "grad of vmap over the batch": grad_of_vmap,
    "vmap over params": vmap_params,
    "vmap over params of vmap over inputs": vmap_nested,
    "vmap over a hyperparameter, and its gradient": hyperparameters,
    "scan of unroll": scan_of_unroll,
    "jvp of while_loop": while_loop,
    "cond": cond,
    "custom_vjp around": custom_vjp,
    "shard_map over the batch, 2 devices": shard_map_batch(2),
    "shard_map over the batch, 4 devices": shard_map_batch(4),
    "shard_map over a population, 2 devices": shard_map_population(2),
    "shard_map over a population, 4 devices": shard_map_population(4),
    "jit, batch sharded on 2 devices": jit_batch(2),
    "jit, batch sharded on 4 devices": jit_batch(4),
    "jit, population sharded on 2 devices": jit_population(2),
    "jit, population sharded on 4 devices": jit_population(4),
    "export with symbolic time and batch, stored": exported,
    **CHECKS,
}
# What the loop goes through in place of the transformation.
PLAIN: dict[Callable, Callable] = {
    jit: call,
    disable_jit: call,
    eval_shape: shapes,
    checkpoint: value_and_gradient,
    vmap_rows: call,
    grad_of_vmap: value_and_gradient,
    custom_vjp: turned_by_hand,
    exported: leaves,
}
PLAIN |= {TRANSFORMATIONS[name]: value_and_gradient for name in CHECKS}
PLAIN |= {
    way: vmap_params if "population" in name else value_and_gradient
    for name, way in TRANSFORMATIONS.items()
    if "device" in name
}
