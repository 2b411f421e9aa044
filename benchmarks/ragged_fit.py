"""Ragged training by `fit`: milliseconds per update, first and compiled, and programs.

    python -m benchmarks.ragged_fit

Sequences of 1 to 128 steps in seven buckets. A variant is how many updates one call takes
and how many batches of one width come in a row. Cold is the first `fit` with a loss, and
warm the median of later ones. Seconds of all processors are beside those of the clock.
"""

import inspect
import json
import logging
import pathlib
import re
import statistics
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import jaxrnn
from benchmarks.machine import machine
from jaxrnn import train

WIDTHS = (8, 16, 24, 32, 48, 64, 128)


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    updates: int = 600
    rows: int = 4000
    B: int = 16
    F: int = 16
    H: int = 32
    rounds: int = 3  # of warm runs
    variants: tuple[tuple[int, int], ...] = ((50, 16), (50, 1), (1, 1))
    out: pathlib.Path = pathlib.Path("benchmarks/results/ragged_fit.json")


def trained(settings: Settings, steps_per_call: int, run: int):
    """A call that trains from the start; the first one compiles."""
    random = np.random.default_rng(0)
    lengths = np.minimum(random.geometric(1 / 30, settings.rows), WIDTHS[-1])
    rows = [random.normal(size=(n, settings.F)).astype("f") for n in lengths]
    known = "run" in inspect.signature(train.buckets).parameters
    options = {"run": run} if known else {}
    data = train.buckets(rows, settings.B, widths=WIDTHS, seed=0, **options)
    cell, optimizer = jaxrnn.gru(settings.H), optax.adam(1e-3)
    params = cell.init(jax.random.key(0), settings.F)

    def loss(params, carry, batch, key):
        _, hs = jaxrnn.unroll(cell, params, carry, batch.xs, lengths=batch.lengths)
        inside = jnp.arange(hs.shape[0])[:, None] < batch.lengths
        return None, {"loss": train.mean((hs.sum(-1) - batch.xs.sum(-1)) ** 2, inside)}

    def call():
        state = train.init(params, optimizer, jax.random.key(1))
        how = dict(steps_per_call=steps_per_call, log_every=50, progress=False)
        train.fit(loss, optimizer, state, data, steps=settings.updates, **how)

    return call


class Compiled(logging.Handler):
    """The names of the programs that XLA compiled."""

    def __init__(self):
        super().__init__()
        self.names = []

    def emit(self, record):
        found = re.match(r"Finished XLA compilation of (\S+)", record.getMessage())
        self.names += found.groups() if found else ()


def timed(call) -> dict:
    """Seconds of the clock and of all processors, and how many updates were compiled."""
    log, compiled = logging.getLogger("jax._src.dispatch"), Compiled()
    log.addHandler(compiled)
    level, propagate = log.level, log.propagate
    log.setLevel(logging.DEBUG)
    log.propagate = False
    clock, processors = time.perf_counter(), time.process_time()
    call()
    found = dict(
        clock=time.perf_counter() - clock,
        processors=time.process_time() - processors,
        programs=compiled.names.count("jit(call)"),  # of `many`
    )
    log.removeHandler(compiled)
    log.setLevel(level)
    log.propagate = propagate
    return found


def main(settings: Settings) -> None:
    jax.block_until_ready(jax.jit(jnp.sin)(1.0))
    calls = {v: trained(settings, *v) for v in settings.variants}
    cold = {v: timed(call) for v, call in calls.items()}
    warm = {v: [] for v in calls}
    for _ in range(settings.rounds):
        for v, call in calls.items():
            warm[v].append(timed(call))
    each = lambda seconds: f"{1000 * seconds / settings.updates:.2f}"
    found = machine() | {"rows": [], "updates": settings.updates}
    for v in calls:
        row = dict(steps_per_call=v[0], run=v[1], cold=cold[v], warm=warm[v])
        found["rows"].append(row)
        middle = {k: statistics.median(one[k] for one in warm[v]) for k in warm[v][0]}
        print(
            f"steps_per_call={v[0]} run={v[1]}: cold {each(cold[v]['clock'])} ms per "
            f"update ({each(cold[v]['processors'])} of processors), "
            f"{cold[v]['programs']} programs; warm "
            f"{each(middle['clock'])} ({each(middle['processors'])})",
            flush=True,
        )
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
