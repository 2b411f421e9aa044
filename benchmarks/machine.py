"""What a figure was measured on."""

import importlib.metadata
import os
import pathlib
import platform
import time

import jax
import jax.numpy as jnp

PACKAGES = "jax jaxlib flax optax dm-haiku equinox keras torch numpy jaxrnn".split()
FLAGS = ("XLA_", "JAX_", "MALLOC_", "OMP_", "MKL_")


def machine() -> dict:
    """Date, versions, processor, flags, and what one large matmul reaches."""
    installed = {name: _version(name) for name in PACKAGES}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "versions": {name: v for name, v in installed.items() if v},
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "environment": {k: v for k, v in os.environ.items() if k.startswith(FLAGS)},
        "dot_gflops": dot_gflops(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


def dot_gflops(size: int = 2048, rounds: int = 10) -> float:
    """What one large float32 matmul reaches: the best of some rounds."""
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
    dot = jax.jit(jnp.dot)
    jax.block_until_ready(dot(a, a))
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(dot(a, a))
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9
