"""Results are kept piece by piece, and made anew when the settings change."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from experiments import registry
from experiments.catalogue import EXPERIMENTS
from experiments.registry import Experiment


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Pieces that were made, in order; results go to a temporary folder."""
    monkeypatch.setattr(registry, "FULL", tmp_path / "full")
    monkeypatch.setattr(registry, "QUICK", tmp_path / "quick")
    return []


def experiment(runs, settings, broken=()):
    def make(name):
        if name in broken:
            raise RuntimeError(name)
        runs.append(name)
        return {"value": len(name), "none": None}

    return Experiment(
        name="gates",
        title="",
        rule="",
        minutes=1,
        settings=settings,
        quick={"n": 1},
        pieces=lambda settings: {
            f"piece {n}": lambda n=n: make(f"piece {n}") for n in range(settings["n"])
        },
        verdict=lambda settings, results: (True, ""),
        section=lambda settings, results: "",
    )


def made(one, quick=False):
    """The pieces that a run made."""
    with ThreadPoolExecutor(1) as pool:
        begin = lambda e, piece: pool.submit(registry.make, e, piece, quick)
        return [piece for _, piece, _ in registry.run([one], begin, quick)]


def test_what_was_cut_off_goes_on(runs):
    with pytest.raises(RuntimeError, match="piece 1"):
        made(experiment(runs, {"n": 3}, broken=("piece 1",)))
    whole = experiment(runs, {"n": 3})
    assert registry.results(whole) is None
    assert list(registry.load(whole)) == ["piece 0"]
    assert made(whole) == ["piece 1", "piece 2"]
    assert registry.results(whole)["piece 2"] == {"value": 7, "none": None}
    assert list(registry.results(whole)) == ["piece 0", "piece 1", "piece 2"]
    assert made(whole) == []


def test_other_settings_are_made_anew(runs):
    made(experiment(runs, {"n": 2, "rate": 0.1}))
    other = experiment(runs, {"n": 2, "rate": 0.2})
    assert registry.results(other) is None
    made(other)
    assert runs == ["piece 0", "piece 1"] * 2
    assert registry.results(experiment(runs, {"n": 2, "rate": 0.1})) is None


def test_reduced_results_lie_apart(runs):
    small = experiment(runs, {"n": 2})
    made(small, quick=True)
    assert registry.results(small) is None
    assert list(registry.results(small, quick=True)) == ["piece 0"]
    assert not registry.FULL.exists()


def test_a_result_says_what_it_was_made_with(runs):
    one = experiment(runs, {"n": 1})
    made(one)
    saved = json.loads(registry.path_of(one, False).read_text())
    about = saved["pieces"]["piece 0"]["made"]
    assert {"jax", "numpy", "python", "machine", "on", "code"} <= set(about)
    assert [path.name for path in registry.FULL.iterdir()] == ["gates.json"]


def test_what_is_not_finite_is_refused(runs):
    one = experiment(runs, {"n": 1})
    broken = one._replace(pieces=lambda settings: {"piece": lambda: float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        made(broken)
    assert not registry.path_of(one, False).exists()


@pytest.mark.slow
@pytest.mark.parametrize("one", EXPERIMENTS, ids=lambda one: one.name)
def test_settings_are_plain_and_seeds_are_ten_or_more(one):
    for settings in (one.settings, one.quick):
        assert json.loads(json.dumps(settings)) == settings
        assert len(set(one.pieces(settings))) == len(one.pieces(settings))
    assert one.settings.get("seeds", 10) >= 10
