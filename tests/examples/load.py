"""The programs of examples/ as modules."""

import importlib.util
import pathlib
import sys

import matplotlib as mpl

mpl.use("Agg")
FOLDER = pathlib.Path(__file__).parents[2] / "examples"


def load(name):
    """examples/`name`.py, not run."""
    path = FOLDER / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"examples_{name}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
