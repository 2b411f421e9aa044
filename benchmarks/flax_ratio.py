"""Forward and backward against Flax's `nn.RNN`, interleaved in one process.

    python benchmarks/flax_ratio.py [--rounds 30] [--sizes small large] [--out FILE]

Each round times every contestant once, so that a noisy machine is noisy for all; the
ratio is that of the minima, with the median beside it. Compilation is apart. The gradient
is with respect to params, the initial carry and the inputs; before anything is timed, the
loss and the inputs' gradient of all contestants are compared under the same weights.
Writes every sample as JSON.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import time

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn

T, B = 128, 32
SIZES = {"small": (64, 128), "large": (256, 512)}
CELLS = {
    "simple_rnn": (jaxrnn.simple_rnn, nn.SimpleCell),
    "gru": (jaxrnn.gru, nn.GRUCell),
    "lstm": (jaxrnn.lstm, nn.OptimizedLSTMCell),
}


def flax_params(name: str, params, size: int) -> dict:
    """Our params in the layout of the Flax cell."""
    split = lambda a, n: jnp.split(a, n, axis=-1)
    if name == "simple_rnn":
        cell = {
            "i": {"kernel": params.wx, "bias": params.b},
            "h": {"kernel": params.wh},
        }
    elif name == "lstm":
        wx, wh, b = (split(a, 4) for a in params)
        cell = {f"i{g}": {"kernel": w} for g, w in zip("ifgo", wx, strict=True)}
        cell |= {
            f"h{g}": {"kernel": w, "bias": c}
            for g, w, c in zip("ifgo", wh, b, strict=True)
        }
    else:
        wx, wh, b = (split(a, 3) for a in params[:3])
        cell = {
            f"i{g}": {"kernel": w, "bias": c}
            for g, w, c in zip("rzn", wx, b, strict=True)
        }
        cell |= {f"h{g}": {"kernel": w} for g, w in zip("rz", wh, strict=False)}
        cell["hn"] = {"kernel": wh[2], "bias": params.bn}
    return {"params": {"cell": cell}}


def contestants(name: str, features: int, hidden: int) -> dict:
    """name -> (jitted function, arguments), all of the same work."""
    make, peer = CELLS[name]
    cell = make(hidden)
    params = cell.init(jax.random.key(0), features)
    xs = jax.random.normal(jax.random.key(1), (T, B, features))
    carry = jax.tree.map(lambda a: a + 0.1, cell.initial_carry(params, xs[0]))
    flax_carry = (carry.c, carry.h) if name == "lstm" else carry
    layer = nn.RNN(peer(hidden), time_major=True, return_carry=True)
    weights = jax.random.normal(jax.random.key(2), (T, B, hidden))

    def graded(run):
        def loss(params, carry, xs):
            last, hs = run(params, carry, xs)
            return jnp.sum(hs * weights) + sum(map(jnp.sum, jax.tree.leaves(last)))

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2)))

    ours = lambda engine: lambda p, c, x: jaxrnn.unroll(cell, p, c, x, engine=engine)
    theirs = lambda p, c, x: layer.apply(p, x, initial_carry=c)
    args = (params, carry, xs)
    return {
        "jaxrnn": (graded(ours("auto")), args),
        "plain scan": (graded(ours("scan")), args),
        "flax": (graded(theirs), (flax_params(name, params, hidden), flax_carry, xs)),
    }


def check(runs: dict) -> None:
    results = {k: f(*args) for k, (f, args) in runs.items()}
    for k, (value, grads) in results.items():
        want, (_, _, dxs) = results["plain scan"]
        np.testing.assert_allclose(value, want, rtol=1e-3, err_msg=k)
        bound = 1e-4 * float(jnp.abs(dxs).max())  # float32, sums of T * B * H products
        np.testing.assert_allclose(grads[2], dxs, rtol=0, atol=bound, err_msg=k)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--out", default="benchmarks/results/flax_ratio.json")
    options = parser.parse_args()
    report = {
        "versions": {m.__name__: m.__version__ for m in (jax, flax, jaxrnn)},
        "python": platform.python_version(),
        "device": str(jax.devices()[0]),
        "cores": os.cpu_count(),
        "environment": {
            k: v for k, v in os.environ.items() if k.startswith(("XLA_", "MALLOC_"))
        },
        "unit": "seconds",
        "cases": [],
    }
    print(f"{'':24}{'jaxrnn':>10}{'scan':>10}{'flax':>10}  flax / jaxrnn: min, median")
    for size in options.sizes:
        for name in CELLS:
            runs = contestants(name, *SIZES[size])
            check(runs)
            samples = {k: [] for k in runs}
            for _ in range(options.rounds):
                for k, (f, args) in runs.items():
                    start = time.perf_counter()
                    jax.block_until_ready(f(*args))
                    samples[k].append(time.perf_counter() - start)
            case = {
                "cell": name,
                "T": T,
                "B": B,
                "D": SIZES[size][0],
                "H": SIZES[size][1],
            }
            report["cases"].append({**case, "samples": samples})
            low = {k: min(v) for k, v in samples.items()}
            mid = {k: statistics.median(v) for k, v in samples.items()}
            print(
                f"{name:12}D={case['D']:<4}H={case['H']:<5}"
                + "".join(f"{1e3 * low[k]:8.1f}ms" for k in runs)
                + f"  {low['flax'] / low['jaxrnn']:.2f}, {mid['flax'] / mid['jaxrnn']:.2f}",
                flush=True,
            )
    out = pathlib.Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1))
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
