"""docs/probes.md: its blocks run as one program, and its pictures are those they make."""

import re

import matplotlib.pyplot as plt
import pytest

from jaxrnn import probe
from tests.probe.page import PAGE, PICTURES, program, run

TEXT = PAGE.read_text()
SHOWN = re.findall(r"^!\[[^]]+\]\(probes/(\w+\.png)\)$", TEXT, re.M)


def test_every_probe_has_a_section_and_a_picture():
    sections = re.findall(r"^## `(\w+)`: (.*?)\n(.*?)(?=^## )", TEXT, re.M | re.S)
    assert {name for name, _, _ in sections} == {
        n for n in probe.__all__ if n.islower()
    }
    for name, question, text in sections:
        assert question.endswith("?")
        assert f"probe.{name}(" in text
        assert f"(probes/{name}.png)" in text
        assert "**How to read it.**" in text
        assert f"| [`{name}`](#" in TEXT


def test_pictures_are_there_and_small():
    assert {path.name for path in PICTURES.iterdir()} == set(SHOWN)
    assert set(re.findall(r'savefig\("(.*?)"', program())) == set(SHOWN)
    assert max(path.stat().st_size for path in PICTURES.iterdir()) < 100_000


@pytest.mark.slow
def test_the_page_runs_and_makes_its_pictures(tmp_path):
    run(tmp_path)
    for name in SHOWN:
        made, kept = plt.imread(tmp_path / name), plt.imread(PICTURES / name)
        assert made.shape == kept.shape
        assert abs(made - kept).mean() < 0.1
        assert made[..., :3].std() > 0.05
