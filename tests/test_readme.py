"""Every fenced python block of the README runs as it stands, in a process of its own."""

import pathlib
import re
import subprocess
import sys

import pytest

README = pathlib.Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.M | re.S)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(number):
    run = [sys.executable, "-W", "error", "-c", BLOCKS[number]]
    done = subprocess.run(run, capture_output=True, text=True, cwd=README.parent)
    assert done.returncode == 0, done.stderr


def test_there_are_blocks():
    assert len(BLOCKS) >= 3
    assert "unroll" in BLOCKS[0]
