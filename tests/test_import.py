"""Imports bring in what is needed and no more; a missing extra says which it is."""

import ast
import importlib
import pathlib
import subprocess
import sys
import tomllib

import numpy as np
import pytest

import jaxrnn
from jaxrnn import _extra, train
from jaxrnn.convert import onnx
from jaxrnn.train.checkpoint import Folder
from jaxrnn.train.progress import shown

ROOT = pathlib.Path(jaxrnn.__file__).parent
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
        ("rich.progress", lambda folder: shown(3, 0, show=True).__enter__()),
    ],
)
def test_missing_extra(missing, call, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"{missing} is needed.*jaxrnn\[train\]"):
        call(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("module", "found", "message"),
    [
        (
            "orbax.checkpoint",
            "0.11.35",
            r"0\.11\.36 or later, got 0\.11\.35.*\[train\]",
        ),
        ("grain", "0.2.9", r"0\.2\.18 or later, got 0\.2\.9\..*jaxrnn\[train\]"),
        ("matplotlib.pyplot", "3.7.5", r"3\.8 or later, got 3\.7\.5\..*jaxrnn\[plot\]"),
    ],
)
def test_old_extra(module, found, message, monkeypatch):
    """Said at the first use, where its own error would be another's puzzle."""
    monkeypatch.setattr(_extra, "version", lambda package: found)
    with pytest.raises(ImportError, match=message):
        _extra.need(module)
    monkeypatch.setattr(_extra, "version", lambda package: "99.0.dev1")
    assert _extra.need(module) is importlib.import_module(module)


def test_broken_extra(monkeypatch):
    """An installed package that does not import says why, and not that it is missing."""

    def broken(module):
        raise ImportError("undefined symbol: _ZN6google")

    monkeypatch.setattr(_extra.importlib, "import_module", broken)
    message = r"grain [\d.]+ fails to import \(undefined symbol.*pip install 'jaxrnn"
    with pytest.raises(ImportError, match=message):
        _extra.need("grain")


@pytest.mark.parametrize(
    ("jax_version", "found", "fits"),
    [
        ("0.10.2", "0.13.0", True),
        ("0.12.0.1", "0.17.1", True),
        ("0.12.0", "0.17.0", False),
    ],
)
def test_jax2onnx_fits_jax(jax_version, found, fits, monkeypatch):
    monkeypatch.setattr(onnx, "need", lambda module: module)
    monkeypatch.setattr(onnx, "version", lambda package: found)
    monkeypatch.setattr(onnx.jax, "__version__", jax_version)
    if fits:
        assert onnx._jax2onnx() == "jax2onnx"
    else:
        message = r"0\.17\.1 or later beside JAX 0\.12\.0, got 0\.17\.0\..*pip install"
        with pytest.raises(ImportError, match=message):
            onnx._jax2onnx()


def test_extras_are_those_of_the_project():
    """What `need` asks for is what pip installs for the extra that it names."""
    project = pathlib.Path(__file__).parent.parent / "pyproject.toml"
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    for extra_name, package, least in _extra.NEEDED.values():
        assert f"{package}>={least}" in extras[extra_name]
    releases = [
        _extra.release(v) for v in ("0.9", "0.12.8rc1", "0.12.8.1", "1", "10.0")
    ]
    assert releases == sorted(releases)
    assert releases[1] == (0, 12, 8)


# From the ground up: a file may import from the floors below its own, and from its own
# package.
FLOORS = (
    ("_extra", "_functions", "_keys", "_spec", "_time", "_tree", "_version"),
    ("cell", "sigmoid", "initializers"),
    ("_factory", "sequence"),
    ("gated",),
    ("engine", "cells"),
    ("unroll", "noise", "compose", "precision"),
    ("_modules", "convert", "probe", "tasks", "train", "plot"),
    ("nnx", "linen"),
    ("__init__",),
)


def imports_of(path):
    """Files of the package that this file imports when it is imported."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (file for name in inner if (file := file_of(name)))
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            yield from (file for name in names if (file := file_of(name)))


def file_of(name):
    """The file of a dotted name: of a module, or of the module that has the name."""
    if name.split(".")[0] != "jaxrnn":
        return None
    path = ROOT.parent / name.replace(".", "/")
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.exists():
            return file
    return file_of(name.rpartition(".")[0])


def floor_of(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    (floor,) = [n for n, rooms in enumerate(FLOORS) if room in rooms]
    return floor, room


def test_imports_run_downwards_only():
    files = sorted(ROOT.rglob("*.py"))
    assert len(files) > 60
    for path in files:
        for imported in imports_of(path):
            (floor, room), (below, other) = floor_of(path), floor_of(imported)
            assert below < floor or room == other, f"{path} imports {imported}"


def test_imports_have_no_cycle():
    graph = {path: set(imports_of(path)) - {path} for path in ROOT.rglob("*.py")}
    while leaves := [path for path, below in graph.items() if not below]:
        graph = {
            path: below - set(leaves)
            for path, below in graph.items()
            if path not in leaves
        }
    assert not graph, sorted(map(str, graph))
