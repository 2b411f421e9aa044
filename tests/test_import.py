"""Imports bring in what is needed and no more; a missing extra says which it is."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

import jaxrnn
from jaxrnn import train
from jaxrnn.train.checkpoint import Folder
from jaxrnn.train.progress import bar

LATER = ("convert", "linen", "nnx", "plot", "probe", "tasks", "train")


STAGES = """
import sys
def tell(): print(*sys.modules)
import jaxrnn; dir(jaxrnn); hasattr(jaxrnn, "no_such_part"); tell()
jaxrnn.convert.from_torch; jaxrnn.probe.gates; jaxrnn.tasks.copying; tell()
jaxrnn.train.fit; tell()
jaxrnn.nnx.LSTM; jaxrnn.linen.LSTM; jaxrnn.plot.gates; tell()
"""


def test_each_part_is_imported_when_first_used():
    """After ``import jaxrnn`` alone, which itself brings in JAX and no more."""
    run = [sys.executable, "-c", STAGES]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    alone, light, train, whole = (
        set(line.split()) for line in done.stdout.split("\n")[:4]
    )
    assert {"jax", "jaxrnn.unroll"} <= alone
    assert not alone & {f"jaxrnn.{part}" for part in LATER}
    assert {"jaxrnn.convert", "jaxrnn.probe", "jaxrnn.tasks"} <= light
    assert not light & {"flax", "optax", "jaxrnn.train"}
    assert {"optax", "jaxrnn.train"} <= train
    assert not train & {"flax", "jaxrnn.nnx", "jaxrnn.linen", "jaxrnn.plot"}
    assert {"flax", "jaxrnn.nnx", "jaxrnn.linen", "jaxrnn.plot"} <= whole
    extras = {"matplotlib", "orbax", "grain", "rich.progress", "safetensors", "sklearn"}
    assert not train & extras
    assert not whole & (extras - {"orbax", "rich.progress"})  # which Flax imports
    assert not whole & {"chex", "torch", "keras", "haiku", "equinox", "jax2onnx"}


def test_parts_are_listed_and_nothing_else_is_made_up():
    assert set(LATER) <= set(dir(jaxrnn))
    for part in LATER:
        assert getattr(jaxrnn, part) is importlib.import_module(f"jaxrnn.{part}")
    with pytest.raises(AttributeError, match=r"module 'jaxrnn' has no attribute 'nx'"):
        jaxrnn.nx  # noqa: B018
    assert set(jaxrnn.__all__) <= set(dir(jaxrnn))
    assert not set(jaxrnn.__all__) & set(LATER)  # a star would import all of Flax


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
