"""The libraries, each doing the same work in its recommended way.

A contestant gets weights, carries, inputs and cotangents in its own layout. Conversions
that it needs at each call are part of its work. On several devices each has its own rows
of the batch, and the weight gradients are summed once.
"""

import importlib
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxrnn
from benchmarks.work import CELLS, Numbers, Result, Work
from jaxrnn import convert
from jaxrnn.cells import LSTMCarry

RATE = 1e-3


class Contestant(NamedTuple):
    """One library and one piece of work.

    Fields:
        runs: mode -> a call that returns when its work is done.
        result: what it computes, for `work.check`.
        compile: mode -> seconds to trace and compile; none for torch.
        temporary: mode -> bytes of temporaries, by the compiler; none for torch.
    """

    runs: dict[str, Callable]
    result: Callable[[], Result]
    compile: dict[str, float]
    temporary: dict[str, int]


class Layout(NamedTuple):
    """A library written in JAX.

    Fields:
        run: ``(weights, carry, xs) -> (carry, hs)``, all in its layout.
        weights: its weights.
        carry: jaxrnn's carry -> its own.
        back: its carry -> jaxrnn's.
        turn: jaxrnn's ``[T, B, ...]`` -> its own, and back.
        params: gradients of its weights -> jaxrnn's params.
        rows: the batch axis of its inputs and outputs.
    """

    run: Callable
    weights: Any
    carry: Callable
    back: Callable
    turn: Callable
    params: Callable
    rows: int = 1


def in_jax(
    layout: Layout,
    numbers: Numbers,
    modes: tuple,
    devices: int,
    automatic: bool,
    dtype: Any,
) -> Contestant:
    """Compiles the modes asked for, one after the other; Adam only on one device.

    The batch is split over `devices`: by `shard_map`, or `automatic`, by XLA alone.
    """
    mesh = jax.make_mesh(
        (devices,), ("rows",), (AxisType.Auto,), devices=jax.devices()[:devices]
    )
    whole, by_row, by_step = P(), P("rows"), P(*[None] * layout.rows, "rows")

    def put(tree, spec):
        if devices == 1:
            return jax.tree.map(lambda a: jnp.asarray(a, dtype), tree)
        to = jax.NamedSharding(mesh, spec)
        return jax.tree.map(lambda a: jax.device_put(jnp.asarray(a, dtype), to), tree)

    def split(f, given, taken):
        if devices == 1 or automatic:
            return f
        return jax.shard_map(
            f, mesh=mesh, in_specs=given, out_specs=taken, check_vma=False
        )

    weights = put(layout.weights, whole)
    carry, dcarry = (
        put(layout.carry(c), by_row) for c in (numbers.carry, numbers.dcarry)
    )
    xs, dhs = (put(layout.turn(a), by_step) for a in (numbers.xs, numbers.dhs))
    ins = (whole, by_row, by_step, by_row, by_step)
    adam = optax.adam(RATE)

    def graded(wanted):
        """The gradients of that many of weights, carry and xs."""

        def local(weights, carry, xs, dcarry, dhs):
            def loss(weights, carry, xs):
                last, hs = layout.run(weights, carry, xs)
                ends = jax.tree.map(lambda a, d: jnp.sum(a * d), last, dcarry)
                return jnp.sum(hs * dhs) + sum(jax.tree.leaves(ends)), (last, hs)

            gradient = jax.value_and_grad(loss, (0, 1, 2)[:wanted], has_aux=True)
            (value, out), (first, *rest) = gradient(weights, carry, xs)
            if devices > 1 and not automatic:
                value, first = jax.lax.psum((value, first), "rows")
            return value, out, (first, *rest)

        return split(local, ins, (whole, ins[1:3], ins[:wanted]))

    def backward(*args):
        value, _, grads = graded(3)(*args)
        return value, grads

    def update(weights, memory, *args):
        _, _, (grads,) = graded(1)(weights, *args)
        updates, memory = adam.update(grads, memory)
        return optax.apply_updates(weights, updates), memory

    # Donated, so a copy; they go on from call to call.
    state = [jax.tree.map(jnp.copy, weights), adam.init(weights)]
    forward = split(layout.run, ins[:3], ins[1:3])
    given = carry, xs, dcarry, dhs
    asked = {
        "forward": (jax.jit(forward), (weights, carry, xs)),
        "backward": (jax.jit(backward), (weights, *given)),
        "adam": (jax.jit(update, donate_argnums=(0, 1)), (*state, *given)),
    }
    modes = tuple(m for m in modes if m != "adam" or devices == 1)
    compiled, seconds, temporary = {}, {}, {}
    for mode in modes:
        function, args = asked[mode]
        start = time.perf_counter()
        compiled[mode] = function.lower(*args).compile()
        seconds[mode] = time.perf_counter() - start
        temporary[mode] = compiled[mode].memory_analysis().temp_size_in_bytes

    def call(mode):
        args = asked[mode][1]
        return lambda: jax.block_until_ready(compiled[mode](*args))

    def train():
        state[:] = jax.block_until_ready(compiled["adam"](*state, *given))

    def result():
        _, (last, hs), grads = jax.jit(graded(3))(weights, *given)
        dweights, dfirst, dxs = grads
        return Result(
            layout.turn(hs),
            layout.back(last),
            layout.params(jax.tree.map(np.asarray, dweights)),
            layout.back(dfirst),
            layout.turn(dxs),
        )

    runs = {mode: call(mode) for mode in modes if mode != "adam"}
    if "adam" in modes:
        runs["adam"] = train
    return Contestant(runs, result, seconds, temporary)


def same(a: Any) -> Any:
    return a


def turned(a: Any) -> Any:
    return a.swapaxes(0, 1)


def ours(engine: str) -> Callable:
    def layout(work: Work, numbers: Numbers) -> Layout:
        cell = CELLS[work.cell](work.H)
        run = lambda p, c, xs: jaxrnn.unroll(cell, p, c, xs, engine=engine)
        return Layout(run, numbers.params, same, same, same, same)

    return layout


def flax_carry(carry: Any) -> Any:
    return (carry.c, carry.h) if isinstance(carry, LSTMCarry) else carry


def from_flax_carry(carry: Any) -> Any:
    return LSTMCarry(c=carry[0], h=carry[1]) if isinstance(carry, tuple) else carry


def linen(work: Work, numbers: Numbers) -> Layout:
    nn = importlib.import_module("flax.linen")
    cells = {"simple_rnn": nn.SimpleCell, "gru": nn.GRUCell}
    cell = cells.get(work.cell, nn.OptimizedLSTMCell)(work.H)
    layer = nn.RNN(cell, time_major=True, return_carry=True)
    run = lambda p, c, xs: layer.apply({"params": {"cell": p}}, xs, initial_carry=c)
    weights = convert.to_linen(CELLS[work.cell](work.H), numbers.params)
    back = lambda tree: convert.from_linen(tree)[1]
    return Layout(run, weights, flax_carry, from_flax_carry, same, back)


def nnx(work: Work, numbers: Numbers) -> Layout | None:
    if work.cell == "gru":
        return None  # nnx.GRUCell has no recurrent bias
    nnx = importlib.import_module("flax.nnx")
    family = {"simple_rnn": nnx.SimpleCell}.get(work.cell, nnx.OptimizedLSTMCell)
    cell = family(work.D, work.H, rngs=nnx.Rngs(0))
    layer = nnx.RNN(cell, time_major=True, return_carry=True, rngs=False)
    ours = CELLS[work.cell](work.H)
    nnx.update(layer, {"cell": convert.to_nnx(ours, numbers.params, optimized=True)})
    graph, weights = nnx.split(layer)

    def run(weights, carry, xs):
        return nnx.merge(graph, weights)(xs, initial_carry=carry)

    back = lambda state: convert.from_nnx(state)[1]
    return Layout(run, weights, flax_carry, from_flax_carry, same, back)


def haiku(work: Work, numbers: Numbers) -> Layout | None:
    if work.cell != "lstm":
        return None  # its GRU resets before the matmul, and its simple RNN is relu
    hk = importlib.import_module("haiku")
    unroll = lambda xs, carry: hk.dynamic_unroll(hk.LSTM(work.H), xs, carry)
    layer = hk.without_apply_rng(hk.transform(unroll))

    def run(weights, carry, xs):
        hs, carry = layer.apply(weights, xs, carry)
        return carry, hs

    def back(tree):  # a gradient has no +1
        params = convert.from_haiku(tree)[1]
        return params._replace(b=params.b.at[work.H : 2 * work.H].add(-1))

    return Layout(
        run,
        convert.to_haiku(CELLS["lstm"](work.H), numbers.params),
        lambda c: hk.LSTMState(hidden=c.h, cell=c.c),
        lambda c: LSTMCarry(h=c.hidden, c=c.cell),
        same,
        back,
    )


def equinox(work: Work, numbers: Numbers) -> Layout | None:
    if work.cell == "simple_rnn":
        return None  # it has none
    eqx = importlib.import_module("equinox")
    family = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[work.cell]
    blank = family(work.D, work.H, key=jax.random.key(0))
    fields = convert.to_equinox(CELLS[work.cell](work.H), numbers.params)
    where = lambda cell: [getattr(cell, name) for name in fields]
    weights, rest = eqx.partition(
        eqx.tree_at(where, blank, [jnp.asarray(a) for a in fields.values()]),
        eqx.is_array,
    )

    def run(weights, carry, xs):
        cell = eqx.combine(weights, rest)

        def step(state, x):
            state = jax.vmap(cell)(x, state)
            return state, state[0] if work.cell == "lstm" else state

        return jax.lax.scan(step, carry, xs)

    lstm = work.cell == "lstm"
    return Layout(
        run,
        weights,
        tuple if lstm else same,
        (lambda c: LSTMCarry(*c)) if lstm else same,
        same,
        lambda cell: convert.from_equinox(cell)[1],
    )


def keras(work: Work, numbers: Numbers) -> Layout:
    os.environ["KERAS_BACKEND"] = "jax"
    layers = importlib.import_module("keras").layers
    family = {"lstm": layers.LSTM, "gru": layers.GRU}.get(work.cell, layers.SimpleRNN)
    layer = family(work.H, return_sequences=True, return_state=True)
    layer.build((work.B, work.T, work.D))
    rest = [v.value for v in layer.non_trainable_variables]
    lstm = work.cell == "lstm"

    def run(weights, carry, xs):
        (hs, *last), _ = layer.stateless_call(weights, rest, xs, initial_state=carry)
        return last, hs

    def back(grads):
        if work.cell == "gru":  # both rows have the gradient of what is here one bias
            grads[2] = grads[2].copy()
            grads[2][1, : 2 * work.H] = 0
        return convert.from_keras(grads)[1]

    return Layout(
        run,
        convert.to_keras(CELLS[work.cell](work.H), numbers.params),
        list if lstm else lambda c: [c],
        (lambda c: LSTMCarry(*c)) if lstm else lambda c: c[0],
        turned,
        back,
        rows=0,
    )


def cudnn(work: Work, numbers: Numbers) -> Layout | None:
    if work.cell != "lstm" or jax.default_backend() != "gpu":
        return None
    rnn = importlib.import_module("jax.experimental.rnn")
    cell = CELLS["lstm"](work.H)

    def run(weights, carry, xs):
        full = jnp.full(len(xs), work.T, jnp.int32)
        args = xs, carry.h[None], carry.c[None], weights, full
        hs, h, c = rnn.lstm(*args, work.D, work.H, 1, 0.0, False)
        return LSTMCarry(h[0], c[0]), hs

    weights = convert.to_cudnn(cell, numbers.params)
    back = lambda flat: convert.from_cudnn(flat, work.D, work.H)[1]
    return Layout(run, weights, same, same, turned, back, rows=0)


def torch(work: Work, numbers: Numbers, modes: tuple, dtype: Any) -> Contestant:
    torch = importlib.import_module("torch")
    gpu = jax.default_backend() == "gpu"
    torch.set_num_threads(os.cpu_count() or 1)
    there = {"device": "cuda" if gpu else "cpu", "dtype": getattr(torch, dtype)}
    await_all = torch.cuda.synchronize if gpu else lambda: None
    cell = CELLS[work.cell](work.H)
    family = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.get(work.cell, torch.nn.RNN)
    layer = family(work.D, work.H)
    state = convert.to_torch(cell, numbers.params)
    layer.load_state_dict({name: torch.from_numpy(a) for name, a in state.items()})
    layer.to(**there)
    lstm = work.cell == "lstm"

    def states(carry):
        parts = tuple(carry) if lstm else (carry,)
        return [torch.from_numpy(np.array(a))[None].to(**there) for a in parts]

    carry, dcarry = states(numbers.carry), states(numbers.dcarry)
    xs, dhs = (torch.from_numpy(a).to(**there) for a in (numbers.xs, numbers.dhs))
    adam = torch.optim.Adam(layer.parameters(), lr=RATE)

    def run():
        hs, last = layer(xs, tuple(carry) if lstm else carry[0])
        return hs, list(last) if lstm else [last]

    def forward():
        with torch.no_grad():
            run()
        await_all()

    def graded(inputs):
        for tensor in (xs, *carry):
            tensor.requires_grad_(inputs)
            tensor.grad = None
        layer.zero_grad(set_to_none=True)
        hs, last = run()
        torch.autograd.backward([hs, *last], [dhs, *dcarry])
        await_all()
        return hs, last

    def train():
        graded(inputs=False)
        adam.step()
        await_all()

    def result():
        numpy = lambda tensor: tensor.detach().float().cpu().numpy().copy()
        hs, last = graded(inputs=True)
        grads = {n: numpy(p.grad) for n, p in layer.named_parameters()}
        kept = 2 * work.H if work.cell == "gru" else len(grads["bias_hh_l0"])
        # both have the gradient of what is here one bias
        grads["bias_hh_l0"][:kept] = 0
        carried = lambda tensors: [numpy(t)[0] for t in tensors]
        back = lambda parts: LSTMCarry(*parts) if lstm else parts[0]
        return Result(
            numpy(hs),
            back(carried(last)),
            convert.from_torch(grads)[1],
            back(carried([t.grad for t in carry])),
            numpy(xs.grad),
        )

    runs = {
        "forward": forward,
        "backward": lambda: graded(inputs=True),
        "adam": train,
    }
    return Contestant({mode: runs[mode] for mode in modes}, result, {}, {})


LAYOUTS = {
    "jaxrnn": ours("auto"),
    "plain scan": ours("scan"),
    "linen": linen,
    "nnx": nnx,
    "haiku": haiku,
    "equinox": equinox,
    "keras": keras,
    "cudnn": cudnn,
}
NAMES = (*LAYOUTS, "torch")


def pin_precision(tf32: bool) -> None:
    """The same precision of float32 matmuls for all on a GPU: exact, or TF32."""
    if jax.default_backend() != "gpu":
        return
    torch = importlib.import_module("torch")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    jax.config.update(
        "jax_default_matmul_precision", "tensorfloat32" if tf32 else "highest"
    )


def make(
    name: str,
    work: Work,
    numbers: Numbers,
    modes: tuple,
    *,
    devices: int = 1,
    automatic: bool = False,
    dtype: str = "float32",
) -> Contestant | None:
    """The contestant of that name, or None if it has no such cell."""
    if name == "torch":
        return torch(work, numbers, modes, dtype)
    if name == "nnx" and dtype != "float32":
        return None  # its cells decide their dtype when they are made
    layout = LAYOUTS[name](work, numbers)
    return layout and in_jax(layout, numbers, modes, devices, automatic, dtype)
