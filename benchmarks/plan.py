"""The gated engine's plan: forward and backward pass with one of its numbers changed.

    python -m benchmarks.plan
    python -m benchmarks.plan --fields block_bytes --sizes H128 long --seconds 20

Each number of `jaxrnn.engine.gated.Plan` is halved and doubled, and switched off. A ratio
above 1 means that the plan as it is is faster. On another platform than the plan's this is
how to find one for it.
"""

import json
import pathlib
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import tyro

import jaxrnn
from benchmarks import timing, work
from benchmarks.machine import machine
from jaxrnn.engine import gated

# What a number is where it has no effect.
OFF = {"few_rows": 0, "large_kernel": 2**60, "block_bytes": 0, "least_blocks": 2**30}
FIELDS = (*OFF, "ahead_rows")


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    fields: tuple[str, ...] = FIELDS
    cells: tuple[str, ...] = ("lstm", "gru")
    sizes: tuple[str, ...] = ("H16", "H64", "H128", "H256", "H1024", "long")
    seconds: float = 10.0  # for the rounds of one cell and size
    out: pathlib.Path = pathlib.Path("benchmarks/results/plan.json")


def plans(fields: tuple[str, ...]) -> dict[str, gated.Plan]:
    """name -> a plan; the first is the one in use."""
    now = gated.PLANS.get(jax.default_backend(), gated.PLANS["cpu"])
    found = {"as it is": now}
    for field in fields:
        value = getattr(now, field)
        others = {"half": value // 2, "double": 2 * value}
        others |= {"off": OFF[field]} if field in OFF else {}
        for name, other in others.items():
            found[f"{field} {name}"] = now._replace(**{field: other})
    return found


def measure(one: work.Work, settings: Settings) -> dict[str, list[float]]:
    """Samples of every plan that makes another program than the first."""
    cell, numbers = work.CELLS[one.cell](one.H), work.draw(one)
    runs, texts = {}, set()
    for name, plan in plans(settings.fields).items():
        engine = (gated.engine(plan),)

        def loss(params, carry, xs, engine=engine):
            return jnp.sum(
                jaxrnn.unroll(cell, params, carry, xs, engine=engine)[1] ** 2
            )

        lowered = jax.jit(jax.grad(loss, (0, 1, 2))).lower(*numbers[:3])
        if lowered.as_text() in texts:
            continue
        texts.add(lowered.as_text())
        compiled = lowered.compile()
        runs[name] = lambda f=compiled: jax.block_until_ready(f(*numbers[:3]))
    return timing.interleaved(runs, seconds=settings.seconds)


def main(settings: Settings) -> None:
    found = machine() | {"rows": []}
    for cell in settings.cells:
        for size in settings.sizes:
            samples = measure(work.Work(cell, *work.SIZES[size]), settings)
            found["rows"].append({"cell": cell, "size": size, "seconds": samples})
            first = min(samples["as it is"])
            ratios = [f"{n} {min(s) / first:.2f}" for n, s in samples.items()]
            print(
                f"{cell} {size}: {1e3 * first:.2f} ms. {', '.join(ratios[1:])}",
                flush=True,
            )
            settings.out.write_text(json.dumps(found, indent=1))
            jax.clear_caches()


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
