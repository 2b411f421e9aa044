"""docs/claims.md says what the results say."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments import agreement, page
from experiments.catalogue import EXPERIMENTS, KNOWN

pytestmark = pytest.mark.slow


def test_page_and_figures_are_made_of_the_results():
    assert page.stale() == []


def test_every_experiment_has_its_section_rule_and_command():
    text = page.page()
    for experiment in EXPERIMENTS:
        assert f"## {experiment.title}\n" in text
        assert f"\n| {experiment.title} | " in text
        assert experiment.rule in text
        assert f"`python -m experiments {experiment.name}`" in text


def made_up(name: str, good: tuple[str, ...], worse=0.0) -> dict:
    """Results in which the cells named are at their best, and all others at their worst."""
    experiment = KNOWN[name]
    settings, results = experiment.settings, {}
    rng = np.random.default_rng(0)
    seeds = settings["seeds"]
    for piece in experiment.pieces(settings):
        task, _, label = piece.partition(": ")
        cell, _, units = label.rpartition(", ")
        value = 1.0 if cell in good else worse
        some = np.clip(value + 0.001 * rng.normal(size=seeds), 0, 1)
        loss = 10 * (1 - some[:, None]) + 1e-9
        results[piece] = {
            "cell": cell,
            "units": units,
            "chosen": {"rate": 0.01, "option": 1.0},
            "parameters": 1000,
            "steps": [50],
            "loss": loss.tolist(),
            "right": some[:, None].tolist(),
            "score": score(name, settings, some),
        }
        if task == "uncut":
            results[piece]["memory"] = (1e5 ** (1 - some)).tolist()
    return results


def score(name, settings, some):
    """What a cell's exams would be."""
    match name:
        case "agreement":
            return np.tile(some[:, None, None], (len(settings["asked"]), 2)).tolist()
        case "formal":
            return np.tile(some[:, None], len(settings["asked"])).tolist()
        case "word_problem":
            return np.tile(some[:, None], 2 * settings["length"]).tolist()
        case "counting":
            accepted = np.arange(settings["asked"]) < some[:, None] * 120
            return accepted.tolist()
        case "which_cell":
            return some.tolist()
        case "reber":
            outer = np.tile(some[:, None], settings["parts"])
            return {
                "outer": outer.tolist(),
                "until": some.tolist(),
                "perfect": some.tolist(),
            }
    return None


GATED = ("GRU", "LSTM", "LSTM, chrono", "GRU, chrono")


@pytest.mark.parametrize(
    ("name", "good", "passes"),
    [
        ("adding", GATED, True),
        ("adding", (*GATED, "simple RNN"), False),
        ("adding", ("LSTM, chrono",), False),
        ("adding", ("LSTM",), True),
        ("temporal_order", GATED, True),
        ("temporal_order", ("GRU",), True),
        ("temporal_order", ("simple RNN", "GRU"), False),
        ("temporal_order", (), False),
        ("agreement", GATED, True),
        ("agreement", ("LSTM",), False),
        ("agreement", ("simple RNN", *GATED), False),
        ("reber", ("LSTM",), True),
        ("reber", ("LSTM", "LSTM without forget gate"), False),
        ("counting", ("LSTM",), True),
        ("counting", GATED, False),
        ("copying", ("LSTM, chrono",), True),
        ("copying", ("LSTM",), False),
        ("copying", ("LSTM", "LSTM, chrono"), False),
        ("formal", ("LSTM",), True),
        ("formal", ("LSTM", "simple RNN"), False),
        ("formal", (), False),
        ("word_problem", ("GRU",), None),  # the control has not learned Z60 either
        ("word_problem", ("GRU", "linear recurrence, 2 layers"), False),
    ],
)
def test_a_verdict_is_the_rule(name, good, passes):
    experiment = KNOWN[name]
    results = made_up(name, good)
    if name == "agreement":
        results["silenced"] = {"distance": 40, "whole": [1.0], "without": [[1.0, 0.5]]}
    found, sentence = experiment.verdict(experiment.settings, results)
    assert found is passes
    assert sentence
    text = experiment.section(experiment.settings, results)
    assert "nan" not in text
    assert all(row.startswith("|") for row in text.splitlines() if "|" in row)


def test_agreement_tells_the_opposite_from_forgetting():
    always, opposite, chance, last = [1, 1, 1], [0, 1, 1], [0.5, 0.5, 0.5], [0, 1, 1]
    with_attractors = np.array([always, opposite, chance, last], float)
    without = np.array([always, opposite, chance, [1, 1, 1]], float)
    score = np.stack([without, with_attractors], axis=-1)
    results = {"far: GRU, 8 units": {"cell": "GRU", "score": score.tolist()}}
    settings = {"asked": [5, 40, 80]}
    # Learned at 40 words: all but chance; only one says the opposite without attractors.
    assert agreement.kinds(results, "far", "GRU", settings) == (3, 1, 1)


@pytest.mark.parametrize(
    "name", ["adding", "copying", "counting", "formal", "reber", "word_problem"]
)
def test_a_figure_has_lines_in_all_panels(name):
    experiment = KNOWN[name]
    figure = experiment.draw(experiment.settings, made_up(name, GATED))
    assert all(len(ax.lines) > 2 for ax in figure.axes)
    plt.close(figure)


def test_the_word_problem_is_decided_by_its_control():
    experiment = KNOWN["word_problem"]
    linear = "linear recurrence, 2 layers"
    results = made_up("word_problem", ("GRU",))
    for piece, result in made_up("word_problem", (linear,)).items():
        if piece.startswith(f"Z60: {linear}"):
            results[piece] = result
    assert experiment.verdict(experiment.settings, results)[0] is True


def test_little_data_needs_both_ends():
    experiment = KNOWN["little_data"]
    settings = experiment.settings
    rng = np.random.default_rng(0)

    def verdict(least, most):
        results = {}
        for piece in experiment.pieces(settings):
            name = piece.partition(":")[0]
            at = settings["counts"][name].index(int(piece.rpartition("=")[2]))
            points = (least, (least + most) / 2, most)[at] if ": LSTM" in piece else 0
            noise = 0.001 * rng.normal(size=settings["seeds"])
            results[piece] = {"right": (0.8 + points / 100 + noise).tolist()}
        experiment.section(settings, results)
        return experiment.verdict(settings, results)[0]

    assert verdict(-3, 3) is True
    assert verdict(-3, -1) is False  # gains, but is never better
    assert verdict(1, 3) is False
    assert verdict(3, -3) is False
    assert verdict(0, 0) is False
