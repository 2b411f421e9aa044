"""Libraries that some tests compare with, and that the quick suite can do without."""

import importlib.util
import os

import pytest


def need(*packages: str) -> None:
    """Skips the test where a package is missing; `make slow`, which installs all, fails.

    It imports none: Keras, for one, must not be imported before its backend is chosen.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            told = f"{package} is not installed: `make slow` installs it"
            assert os.environ.get("JAXRNN_PEERS") != "1", told
            pytest.skip(told)
