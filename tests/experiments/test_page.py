"""docs/claims.md says what the results say."""

from experiments import page
from experiments.catalogue import EXPERIMENTS


def test_the_page_is_made_of_the_results():
    assert page.PAGE.read_text() == page.page()
    assert all(path.exists() for path in page.figures())


def test_every_experiment_has_its_section_rule_and_command():
    text = page.page()
    for experiment in EXPERIMENTS:
        assert f"## {experiment.title}\n" in text
        assert experiment.rule in text
        assert f"`python -m experiments {experiment.name}`" in text
