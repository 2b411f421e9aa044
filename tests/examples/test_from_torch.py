"""The network that moves says the same before and after each move, and learns in both."""

import sys

import numpy as np
import pytest

from tests.examples.load import load
from tests.installed import need


@pytest.mark.slow
def test_the_journey():
    need("torch")
    program = load("from_torch")
    settings = program.Settings(length=12, hidden=16, torch_steps=60, jax_steps=80)
    born, taught, moved, learned, back = program.run(settings)
    for before, after in ((taught, moved), (learned, back)):
        assert np.abs(before["logits"]).max() > 0.5
        np.testing.assert_allclose(
            after["logits"], before["logits"], rtol=0, atol=1e-5
        )  # logits of about 3, in float32
    assert born["right"] < taught["right"] < learned["right"]
    assert learned["right"] > 0.6


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    program = load("from_torch")
    with pytest.raises(SystemExit, match="pip install torch"):
        program.run(program.Settings())
