"""The benchmark itself: it times what computes the same, and says what was measured."""

import importlib.util
import os
import time

import numpy as np
import pytest

from benchmarks import report, timing, work

TINY = {cell: work.Work(cell, 7, 3, 2, 4) for cell in work.CELLS}


def test_every_round_calls_all_in_an_order_of_its_own():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "abc"}
    samples = timing.interleaved(runs, seconds=0.0, least=12)
    rounds = [tuple(calls[n : n + 3]) for n in range(0, len(calls), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(set(rounds)) > 3
    assert {len(s) for s in samples.values()} == {len(rounds)} == {12}


def test_a_sample_is_the_time_of_its_call():
    runs = {"slow": lambda: time.sleep(0.02), "fast": lambda: None}
    samples = timing.interleaved(runs, seconds=0.0, least=3)
    assert min(samples["slow"]) >= 0.02 > max(samples["fast"])


def test_ratio_is_paired():
    """A machine that is ten times slower in half of the rounds changes no ratio."""
    noise = np.where(np.arange(20) % 2, 10.0, 1.0)
    ours = 0.1 * noise
    r = timing.ratio(list(1.5 * ours), list(ours))
    np.testing.assert_allclose(r, [1.5, 1.5, 1.5])
    spread = timing.ratio(list(ours * np.linspace(1, 2, 20)), list(ours))
    assert 1 < spread.low < spread.median < spread.high < 2
    assert spread.median == pytest.approx(1.5)


def test_flops_are_those_of_the_matmuls():
    one = work.Work("lstm", T=2, B=3, D=5, H=7)
    assert one.flops("forward") == 2 * 4 * (2 * 3) * 7 * (5 + 7)
    assert one.flops("backward") == one.flops("adam") == 3 * one.flops("forward")


def test_page_names_the_best_peer_and_its_ratio():
    seconds = {"jaxrnn": [0.1] * 9, "linen": [0.3] * 9, "keras": [0.2] * 9}
    rows = [
        {
            **TINY["gru"]._asdict(),
            "mode": mode,
            "flops": 8e9,
            "seconds": seconds | {"torch": [0.05] * 9},
            "compile": {"jaxrnn": 1.5, "linen": 2.0, "keras": 2.5, "torch": None},
            "temporary": {"jaxrnn": 3e6, "linen": 4e6, "keras": 5e6, "torch": None},
        }
        for mode in work.MODES
    ]
    found = dict(date="D", versions={"jax": "1"}, python="3", device="cpu", cpu="C")
    found |= dict(cores=2, environment={}, dot_gflops=160.0, rows=rows)
    page = report.page(found)
    assert (
        "| gru | 7, 3, 2, 4 | 2.00 [2.00, 2.00] keras |  | 0.50 [0.50, 0.50] |" in page
    )
    assert "| 100.00 (100.00) | 300.00 (300.00) |" in page
    assert "| 80 | 50% |" in page
    assert "| 1.50, 3.0 | 2.00, 4.0 | 2.50, 5.0 |" in page


@pytest.mark.parametrize("cell", work.CELLS)
def test_the_check_finds_a_wrong_result(cell):
    numbers = work.draw(TINY[cell])
    wanted = work.oracle(TINY[cell], numbers)
    work.check("the oracle", wanted, wanted)
    for field in work.Result._fields:
        value = getattr(wanted, field)
        first, *rest = value if isinstance(value, tuple) else (value,)
        wrong = first.copy()
        wrong[..., -1] += 1e-3 * np.abs(first).max()
        changed = type(value)(wrong, *rest) if isinstance(value, tuple) else wrong
        with pytest.raises(AssertionError, match=f"peer: {field}"):
            work.check("peer", wanted._replace(**{field: changed}), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("cell", work.CELLS)
def test_every_contestant_computes_the_same(cell):
    """In all modes; a step of Adam changes what the next one starts from."""
    contestants = pytest.importorskip("benchmarks.contestants")
    numbers = work.draw(TINY[cell])
    wanted = work.oracle(TINY[cell], numbers)
    entered = []
    packages = {"linen": "flax", "nnx": "flax", "plain scan": "jax"}
    for name in contestants.NAMES:
        package = packages.get(name, name)
        if importlib.util.find_spec(package) is None:
            assert os.environ.get("JAXRNN_PEERS") != "1", f"{package} is not installed"
            continue
        entrant = contestants.make(name, TINY[cell], numbers, work.MODES)
        if entrant is not None:
            work.check(name, entrant.result(), wanted)
            for mode in work.MODES:
                entrant.runs[mode]()
                entrant.runs[mode]()
            entered.append(name)
    assert {"jaxrnn", "plain scan", "linen"} <= set(entered)
    assert ("nnx" in entered) == (cell != "gru")
