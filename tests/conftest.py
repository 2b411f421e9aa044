"""Every test runs in float64 on four CPU devices; tests of float32 cast for themselves."""

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 4)

from jaxrnn.engine import deferred  # noqa: E402

# The laws' batches of 3 rows take the way of many rows, single rows that of few;
# tests/laws/test_batch.py compares the two.
deferred.FEW_ROWS = 3
