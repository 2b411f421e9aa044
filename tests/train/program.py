"""A small training to be killed, starved and resumed: run as a process of its own.

    python -m tests.train.program FOLDER [--steps N] [--data drawn|stream] [--mesh|--sweep]
        [--hook N]

A stream trains by truncated backpropagation, with a carry and dropout, on a corpus in a
file; drawn data come from the device. With --sweep three learning rates train, two at a
time. Prints "step N" at each row. With --hook N, ``hook-<process>.jsonl`` in the folder
has a line every N updates: what the hook saw.
"""

import argparse
import functools
import json
import os
import resource
import warnings
from pathlib import Path

import jax


def settings():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--data", default="stream")
    parser.add_argument("--mesh", action="store_true")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--save-every", type=int, default=10)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--pace", type=float, default=0.0, help="seconds to sleep a row"
    )
    parser.add_argument("--hook", type=int, help="updates between calls of a hook")
    parser.add_argument("--stop", type=int, help="where the last process's hook stops")
    parser.add_argument("--room", type=int, help="bytes of a file from step 8 on")
    return parser.parse_args()


def main(given):
    jax.config.update("jax_num_cpu_devices", given.devices)
    if given.processes > 1:
        at = f"127.0.0.1:{given.port}"
        jax.distributed.initialize(at, given.processes, given.process)
    import time

    import jax.numpy as jnp
    import numpy as np
    import optax

    import jaxrnn
    from jaxrnn import train

    warnings.simplefilter("always")
    symbols, batch, width = 11, 8, 12
    cell = jaxrnn.stack(jaxrnn.lstm(width), jaxrnn.gru(width))

    def optimizer_of(rate):
        schedule = optax.cosine_decay_schedule(rate, 1000)
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def loss(params, carry, batch, key):
        xs = jax.nn.one_hot(batch.inputs, symbols)
        carry, hs = jaxrnn.unroll(cell, params[0], carry, xs, resets=batch.resets)
        if key is not None and not given.mesh:  # other draws on other devices
            hs = hs * jax.random.bernoulli(key, 0.9, hs.shape) / 0.9
        logits = hs @ params[1]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
        known = batch.targets != 3  # rows of unlike weight
        carry = carry if given.data == "stream" else None
        return carry, {"loss": train.mean(losses, known)}

    tokens = np.random.default_rng(0).integers(0, symbols, 4000)
    tokens[1::2] = (tokens[:-1:2] * 3 + 1) % symbols  # half of them can be known

    def draw(key):
        start = jax.random.randint(key, (batch,), 0, len(tokens) - 8)
        cut = jnp.asarray(tokens)[start + jnp.arange(8)[:, None]]
        resets = jnp.zeros((7, batch), bool).at[0].set(True)
        return train.Window(cut[:-1], cut[1:], resets)

    key = jax.random.key(0)
    params = cell.init(key, symbols), 0.1 * jax.random.normal(key, (width, symbols))
    x = jax.ShapeDtypeStruct((batch, symbols), jnp.zeros(()).dtype)
    carry = cell.initial_carry(params[0], x) if given.data == "stream" else None
    stream = train.streams(tokens, batch, 7, separator=0)

    def slowly(row):
        time.sleep(given.pace)
        if given.room is not None and row["step"] == 8:
            resource.setrlimit(resource.RLIMIT_FSIZE, (given.room, given.room))
        print("step", row["step"], row["split"], flush=True)

    total = jax.jit(lambda tree: sum(jnp.sum(a) for a in jax.tree.leaves(tree)))

    def note(snapshot):
        at = Path(given.folder) / f"hook-{given.process}.jsonl"
        seen = [
            snapshot.step,
            float(total(snapshot.state.params)),
            len(snapshot.history),
        ]
        with at.open("a") as file:
            file.write(json.dumps([*seen, snapshot.members]) + "\n")
        time.sleep(given.pace)
        return given.process == given.processes - 1 and snapshot.step == given.stop

    def trial(hyper):
        optimizer = optimizer_of(hyper["rate"])
        state = train.init(params, optimizer, jax.random.key(1), carry=carry)
        return train.Trial(loss, optimizer, state)

    if given.sweep:
        rates = train.grid(rate=[given.rate, given.rate / 3, given.rate / 10])
        run = functools.partial(train.sweep, trial, rates, at_a_time=2)
    else:
        one = trial({"rate": given.rate})
        mesh = train.data_mesh() if given.mesh else None
        run = functools.partial(train.fit, *one, mesh=mesh)
    return run(
        stream if given.data == "stream" else draw,
        steps=given.steps,
        steps_per_call=5,
        log_every=4,  # rows that do not end with calls
        valid=train.streams(tokens[:500], batch, 7, epochs=1),
        valid_every=20,
        folder=Path(given.folder),
        save_every=given.save_every,
        keep=2,
        hooks=[train.every(given.hook, note)] if given.hook else [],
        callback=slowly,
        progress=False,
    )


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main(settings())
