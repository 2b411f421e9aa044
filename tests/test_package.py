"""What is published: metadata, the addresses in README, what is in wheel and sdist."""

import email
import importlib.util
import pathlib
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

import jaxrnn

ROOT = pathlib.Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOME = "https://github.com/jaxrnn/jaxrnn"
RAW = "https://raw.githubusercontent.com/jaxrnn/jaxrnn/main/"


def links(text: str) -> list[tuple[bool, str]]:
    """``(whether it is a picture, address)`` for each link of a Markdown page."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    found = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", text)
    html = re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    return [(bool(mark), target) for mark, target in found] + [(True, t) for t in html]


def published(text: str) -> str:
    """README as the build changes it."""
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    for change in hook["substitutions"]:
        text = re.sub(change["pattern"], change["replacement"], text)
    return text


def check_addresses(text: str) -> None:
    """Each link is a whole address; one into the project names a file that is there."""
    assert links(text)
    for picture, target in links(text):
        if target.startswith("#"):
            continue
        assert re.match(r"https?://", target), target
        for start in (RAW, f"{HOME}/blob/main/"):
            if target.startswith(start):
                assert (start == RAW) == picture, target
                assert (ROOT / target.removeprefix(start).split("#")[0]).exists()


def test_readme_can_be_read_elsewhere():
    check_addresses(published((ROOT / "README.md").read_text()))
    sample = "[a](docs/a.md#b) ![c](d.png) [e](https://f) [g](#h)\n```\nx[0](y)\n```"
    assert links(published(sample)) == [
        (False, f"{HOME}/blob/main/docs/a.md#b"),
        (True, f"{RAW}d.png"),
        (False, "https://f"),
        (False, "#h"),
    ]


def test_metadata():
    urls = PROJECT["project"]["urls"]
    assert set(urls) >= {"Homepage", "Documentation", "Changelog", "Issues"}
    assert all(url.startswith(HOME) for url in urls.values())
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]
    assert (ROOT / "jaxrnn" / "py.typed").exists()
    for minor in (11, 12, 13):
        known = f"Programming Language :: Python :: 3.{minor}"
        assert known in PROJECT["project"]["classifiers"]


def test_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text()
    fields = dict(re.findall(r"^([a-z-]+): *(.*)$", text, re.M))
    assert fields["version"] == jaxrnn.__version__
    assert fields["license"] == PROJECT["project"]["license"]
    assert fields["repository-code"] == PROJECT["project"]["urls"]["Homepage"]
    needed = {"cff-version", "message", "title", "authors", "type"}
    assert needed <= set(fields)


@pytest.mark.slow
def test_wheel_and_sdist(tmp_path):
    """The build needs the network, as pip's does."""
    if importlib.util.find_spec("build") is None:
        pytest.skip("build is not installed: pip install 'jaxrnn[dev]'")
    run = [sys.executable, "-m", "build", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")

    code = {f"{path.relative_to(ROOT)}" for path in ROOT.glob("jaxrnn/**/*.py")}
    with zipfile.ZipFile(wheel) as file:
        inside = set(file.namelist())
        about = next(name for name in inside if name.endswith("/METADATA"))
        told = email.message_from_bytes(file.read(about))
    assert code | {"jaxrnn/py.typed"} <= inside
    assert {name.split("/")[0] for name in inside} == {"jaxrnn", about.split("/")[0]}
    assert told["Version"] == jaxrnn.__version__
    check_addresses(told.get_payload())

    with tarfile.open(sdist) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    needed = {"CITATION.cff", "Makefile", "pyproject.toml", "README.md"}
    for folder in ("jaxrnn", "tests", "benchmarks", "docs", "examples", "experiments"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                needed.add(f"{path.relative_to(ROOT)}")
    assert needed <= inside
