"""Imports bring in what is needed and no more; a missing extra says which it is."""

import subprocess
import sys

import numpy as np
import pytest

from jaxrnn import train
from jaxrnn.train.checkpoint import Folder
from jaxrnn.train.progress import bar


def test_imports_jax_alone():
    code = "import jaxrnn, sys; print([m for m in sys.modules if '.' not in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "'jaxrnn'" in done.stdout, done.stderr
    for other in ("flax", "optax", "matplotlib", "chex", "torch", "orbax"):
        assert f"'{other}'" not in done.stdout


def test_training_imports_extras_when_used():
    code = "import jaxrnn.train, sys; print([m for m in sys.modules if '.' not in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "'optax'" in done.stdout, done.stderr
    for other in ("flax", "matplotlib", "chex", "torch", "orbax", "grain", "rich"):
        assert f"'{other}'" not in done.stdout


def test_converting_imports_no_other_library():
    code = "import jaxrnn.convert, sys; print([m for m in sys.modules if '.' not in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "'jaxrnn'" in done.stdout, done.stderr
    for other in ("flax", "torch", "keras", "haiku", "equinox", "safetensors"):
        assert f"'{other}'" not in done.stdout


@pytest.mark.parametrize(
    ("missing", "call"),
    [
        ("grain", lambda folder: train.arrays(np.arange(4), 2, batch_axis=0)),
        ("orbax.checkpoint", Folder),
        ("rich.progress", lambda folder: bar(3, 0, show=True).__enter__()),
    ],
)
def test_missing_extra(missing, call, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"{missing} is needed.*jaxrnn\[train\]"):
        call(tmp_path / "run")
    assert not (tmp_path / "run").exists()
