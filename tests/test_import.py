"""`import jaxrnn` is quick: it brings in neither flax nor optax nor matplotlib."""

import subprocess
import sys


def test_imports_jax_alone():
    code = "import jaxrnn, sys; print([m for m in sys.modules if '.' not in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "'jaxrnn'" in done.stdout, done.stderr
    for other in ("flax", "optax", "matplotlib", "chex", "torch", "orbax"):
        assert f"'{other}'" not in done.stdout
