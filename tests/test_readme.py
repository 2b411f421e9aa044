"""Every fenced python block of README and docs runs as it stands, in its own process."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = {
    f"{page.name}-{number}": block
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    )
}


@pytest.mark.parametrize("name", BLOCKS)
def test_block(name):
    run = [sys.executable, "-W", "error", "-c", BLOCKS[name]]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_there_are_blocks():
    assert len(BLOCKS) >= 4
    assert "unroll" in BLOCKS["README.md-0"]
    assert "train.fit" in BLOCKS["training.md-0"]
