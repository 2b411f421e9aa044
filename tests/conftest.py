"""Every test runs in float64 on four CPU devices; tests of float32 cast for themselves."""

import os

# Almost all of the suite's time is XLA compiling small programs: half of it at level 0.
# `make slow` runs the laws of time once more with the full optimiser.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import hypothesis
import jax

from jaxrnn.engine import deferred

# For who only wants to know that a test fails: the smallest case takes a minute to find.
found = hypothesis.settings(phases=("explicit", "generate"))
hypothesis.settings.register_profile("found", found)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 4)

# The laws' batches of 3 rows take the way of many rows, single rows that of few;
# tests/laws/test_batch.py compares the two.
deferred.FEW_ROWS = 3
