"""The machine and versions of a measurement."""

import ctypes
import gc
import importlib.metadata
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

PACKAGES = "jax jaxlib flax optax dm-haiku equinox keras torch numpy jaxrnn".split()
FLAGS = ("XLA_", "JAX_", "MALLOC_", "GLIBC_", "OMP_", "MKL_")


def machine() -> dict:
    """Date, command, versions, processor, flags, and the speed of one large matmul."""
    installed = {name: _version(name) for name in PACKAGES}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["python", *sys.orig_argv[1:]]),
        "versions": {name: v for name, v in installed.items() if v},
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "environment": {k: v for k, v in os.environ.items() if k.startswith(FLAGS)},
        "matmul_precision": jax.config.jax_default_matmul_precision or "default",
        "dot_gflops": dot_gflops(),
    }


def peak_bytes(run: Callable[[], object]) -> int | None:
    """The most by which the process grows while `run` runs; None where unknown.

    Free memory of the allocator is returned first, so that using it counts.
    """
    status, refs = pathlib.Path("/proc/self/status"), "/proc/self/clear_refs"

    def kilobytes(name):
        (line,) = [a for a in status.read_text().splitlines() if a.startswith(name)]
        return int(line.split()[1])

    try:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        pathlib.Path(refs).write_text("5")  # forgets the highest size so far
        before = kilobytes("VmRSS")
        run()
        return 1024 * (kilobytes("VmHWM") - before)
    except (OSError, AttributeError):
        return None


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
    """GFLOP/s of one large float32 matmul: the best of some rounds."""
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
    dot = jax.jit(jnp.dot)
    jax.block_until_ready(dot(a, a))
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(dot(a, a))
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9
