"""Every page of docs/coming_from runs as a reader copies it: all blocks, one process."""

import pathlib
import re
import subprocess
import sys

import pytest

from tests.installed import need

ROOT = pathlib.Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "coming_from"
LIBRARIES = {  # page -> package
    "torch": "torch",
    "keras": "keras",
    "linen": "flax",
    "nnx": "flax",
    "haiku": "haiku",
    "equinox": "equinox",
}
# What a library itself does that Python or NumPy warns of.
THEIRS = ["ignore::DeprecationWarning:keras.src.backend.common.variables"]
FENCED = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


def blocks(text):
    return FENCED.findall(text)


def page(name):
    return (FOLDER / f"{name}.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARIES)
def test_page_runs(name):
    need(LIBRARIES[name])
    ignored = [option for warning in THEIRS for option in ("-W", warning)]
    run = [sys.executable, "-W", "error", *ignored, "-c", "\n".join(blocks(page(name)))]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", LIBRARIES)
def test_page_compares_both_sides(name):
    text = page(name)
    there, here = re.findall(r"^<td>\n\n(.*?)\n\n</td>", text, re.M | re.S)
    (there,), (here,) = blocks(f"{there}\n"), blocks(f"{here}\n")
    assert "jaxrnn" not in there
    assert f"convert.from_{name}(" in here
    assert max(map(len, f"{there}{here}".splitlines())) <= 60
    assert "assert_allclose" in "".join(blocks(text))
    # Outputs, then what went back: both are compared.
    first, _, way = text.partition("## A weight's way")
    assert "same(" in "".join(blocks(first))
    assert f"convert.to_{name}(" in "".join(blocks(way))
    assert "same(" in "".join(blocks(way))


def test_index_links_every_page():
    pages = {path.name for path in FOLDER.glob("*.md")} - {"README.md"}
    assert pages == {f"{name}.md" for name in LIBRARIES}
    assert set(re.findall(r"\]\(([^./)]*\.md)\)", page("README"))) == pages
