"""Every test runs in float64 on four CPU devices; tests of float32 cast for themselves."""

import ctypes
import gc
import os
import pathlib
import shutil
import sys
from importlib import metadata

# Almost all of the suite's time is XLA compiling small programs. Level 0 halves it, and so
# do elemental loops in place of fusion emitters: 3.2 s and 5.8 s for three gradients of an
# LSTM. XLA exits at a flag that it does not know, so the second is for the releases that
# it was tried with. `make slow` runs the laws of time once more with the full optimiser.
FLAGS = "--xla_backend_optimization_level=0"
if metadata.version("jaxlib").startswith("0.10."):
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", FLAGS)

# What one worker or one run has compiled, the others read. Without this a first run takes a
# sixth longer, a second one twice as long. `make clean` deletes it.
COMPILED = pathlib.Path(__file__).parents[1] / ".pytest_cache" / "compiled"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(COMPILED))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
if "PYTEST_XDIST_WORKER" not in os.environ and COMPILED.exists():
    if sum(file.stat().st_size for file in COMPILED.iterdir()) > 1e9:
        shutil.rmtree(COMPILED)

import hypothesis
import jax
import pytest

# For who only wants to know that a test fails: the smallest case takes a minute to find.
found = hypothesis.settings(phases=("explicit", "generate"))
hypothesis.settings.register_profile("found", found)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 4)


class Memory:
    """Drops compiled programs, so that a worker stays below 1.5 GB; it grew to over 4 GB.

    The C library keeps freed memory until it is asked to trim. Compiling again costs time,
    so where imports alone are large there is still room for some programs.
    """

    limit = 1.1e9  # bytes of a worker, of which imports are 0.7e9

    def pytest_collection_finish(self):
        """The collector need not look at modules again and again: a tenth of all time."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)

    def pytest_runtest_logfinish(self):
        if resident() > self.limit and hasattr(
            libc := ctypes.CDLL(None), "malloc_trim"
        ):
            jax.clear_caches()
            gc.collect()
            libc.malloc_trim(0)
            self.limit = max(self.limit, resident() + 0.25e9)


class Doctests:
    """Docstrings' examples are run by `make slow`: each compiles programs of its own."""

    def pytest_itemcollected(self, item):
        if isinstance(item, pytest.DoctestItem):
            item.add_marker(pytest.mark.slow)

    def pytest_runtest_teardown(self, item):
        """What an example has drawn, other tests do not find."""
        if isinstance(item, pytest.DoctestItem) and "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")


def pytest_configure(config):
    """Plugins, for hooks of this file would not see the doctests of `jaxrnn`."""
    config.pluginmanager.register(Memory())
    config.pluginmanager.register(Doctests())


def resident() -> int:
    """Bytes of memory of this process; 0 where the system does not say."""
    status = pathlib.Path("/proc/self/statm")
    if not status.exists():
        return 0
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
