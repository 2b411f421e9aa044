"""Every fenced python block of README and docs runs as it stands, in its own process."""

import pathlib
import re
import subprocess
import sys

import pytest

from tests.installed import need

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(ROOT / "docs" / "probes.md")  # one program: tests/probe/test_page.py
BLOCKS = {
    f"{page.name}-{number}": block
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    )
}


def marked(name):
    """The first block is what everyone reads; a process for each of the rest is slow."""
    return pytest.param(name, marks=() if name == "README.md-0" else pytest.mark.slow)


@pytest.mark.parametrize("name", [marked(name) for name in BLOCKS])
def test_block(name):
    if "onnxruntime" in BLOCKS[name]:
        need("jax2onnx", "onnxruntime")
    run = [sys.executable, "-W", "error", "-c", BLOCKS[name]]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_there_are_blocks():
    assert len(BLOCKS) >= 9
    assert "unroll" in BLOCKS["README.md-0"]
    assert "train.fit" in BLOCKS["training.md-0"]
