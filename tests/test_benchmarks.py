"""The benchmark itself: it times what computes the same, and says what was measured."""

import importlib.util
import json
import os
import time

import jax
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from benchmarks import page as pages
from benchmarks import report, scaling, timing, work

TINY = {cell: work.Work(cell, 7, 3, 2, 4) for cell in work.CELLS}


def test_every_round_calls_all_in_an_order_of_its_own():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "abc"}
    samples = timing.interleaved(runs, seconds=0.0, least=12)
    assert calls[::2] == calls[1::2]  # once to wake it, once to time it
    calls = calls[::2]
    rounds = [tuple(calls[n : n + 3]) for n in range(0, len(calls), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(set(rounds)) > 3
    assert {len(s) for s in samples.values()} == {len(rounds)} == {12}


def test_a_sample_is_the_time_of_its_call():
    runs = {"slow": lambda: time.sleep(0.02), "fast": lambda: None}
    samples = timing.interleaved(runs, seconds=0.0, least=3)
    assert 0.04 > min(samples["slow"]) >= 0.02 > max(samples["fast"])


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


def found(rows):
    """What a benchmark writes, with those rows."""
    head = dict(date="D", versions={"jax": "1"}, python="3", device="cpu", cpu="C")
    head |= dict(command="python -m it")
    return head | dict(cores=2, environment={}, dot_gflops=160.0, rows=rows)


def matrix_rows():
    seconds = {"jaxrnn": 0.1, "linen": 0.3, "keras": 0.2, "torch": 0.05}
    seconds |= {"jaxrnn on 2": 0.04, "linen on 2": 0.1, "jaxrnn on 2, by XLA": 0.06}
    return [
        {
            **TINY["gru"]._asdict(),
            "mode": mode,
            "flops": 8e9,
            "seconds": {n: [s] * 9 for n, s in seconds.items()},
            "compile": {"jaxrnn": 1.5, "linen": 2.0, "keras": 2.5, "torch": None},
            "temporary": {"jaxrnn": 3e6, "linen": 4e6, "keras": 5e6, "torch": None},
            "peak": {"jaxrnn": 1e6, "linen": 2e6, "keras": None, "torch": 9e6},
        }
        for mode in work.MODES
    ]


def test_the_matrix_names_the_best_peer_and_its_ratio():
    page = report.matrix(found(matrix_rows()))
    best = "2.00 [2.00, 2.00] keras"
    assert f"| gru | 7, 3, 2, 4 | {best} |  | 0.50 [0.50, 0.50] |" in page
    assert "| 100.00 (100.00) | 300.00 (300.00) |" in page
    assert "| 14285.7 | 80 | 50% |" in page
    assert "| 1.50 s, 3.0, 1 | 2.00 s, 4.0, 2 | 2.50 s, 5.0,  | 9 |" in page
    assert "| all | geometric mean | 2.00 |  | 0.50 |" in page


def test_on_several_devices_each_peer_runs_as_serves_it():
    page = report.matrix(found(matrix_rows()))
    best = "2.50 [2.50, 2.50] linen on 2"
    rest = "1.25 [1.25, 1.25] | 2.50 [2.50, 2.50] | 1.50 [1.50, 1.50]"
    assert f"| 40.00 (40.00) | {best} | {rest} |" in page


def test_long_sets_aside_what_no_remat_can_save():
    rows = [
        dict(remat=remat, temporary=size, outputs=4e6, seconds=[s] * 5)
        for remat, size, s in (("None", 204e6, 0.1), ("sqrt", 8e6, 0.12))
    ]
    page = report.long(found([TINY["lstm"]._asdict() | row for row in rows]))
    assert "| sqrt | 120.00 (120.00) | 1.20 [1.20, 1.20] | 8.0 | 4.0 | 2.0% |" in page


def test_the_page_shows_what_was_measured_and_nothing_else(tmp_path):
    (tmp_path / "matrix.json").write_text(json.dumps(found(matrix_rows())))
    page = pages.page(tmp_path)
    assert "## The matrix\n\n`python -m it`\n\nD, C, 2 cores" in page
    assert "Ragged" not in page


def test_scaling_changes_one_size_at_a_time_and_has_the_middle_once():
    settings = scaling.Settings(cell="gru", T=(16, 128), B=(1, 32, 64), H=(128,))
    assert scaling.sizes(settings) == [
        ("gru", 128, 32, 128, 128),
        ("gru", 16, 32, 128, 128),
        ("gru", 128, 1, 128, 128),
        ("gru", 128, 64, 128, 128),
    ]


def test_the_picture_of_scaling_shows_medians_and_bands():
    """Rows out of order, a contestant that is missing from one, and the middle in all."""
    random = np.random.default_rng(0)
    settings = scaling.Settings(T=(256, 16), B=(1,), H=(64, 512, 16))
    rows = [
        {**one._asdict(), "seconds": {n: list(random.uniform(size=8)) for n in "abc"}}
        for one in scaling.sizes(settings)
    ]
    del next(row for row in rows if row["T"] == 16)["seconds"]["b"]
    figure = scaling.draw({"rows": rows})
    expected = {"T": [16, 128, 256], "B": [1, 32], "H": [16, 64, 128, 512]}
    colours = {name: set() for name in "abc"}
    for ax, (axis, at) in zip(figure.axes, expected.items(), strict=True):
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert ax.get_xlabel().startswith(f"{axis} (")
        lines = {line.get_label(): line for line in ax.lines}
        grey = lines.pop("time ∝ size")
        np.testing.assert_allclose(
            np.diff(np.log(grey.get_xydata()), axis=0) @ [1, -1], 0, atol=1e-9
        )
        assert list(lines) == ["a", "b", "c"]
        for (name, line), band in zip(lines.items(), ax.collections, strict=True):
            there = [n for n in at if (name, axis, n) != ("b", "T", 16)]
            samples = [
                next(
                    row["seconds"][name]
                    for row in rows
                    if row == row | scaling.MIDDLE._asdict() | {axis: n}
                )
                for n in there
            ]
            np.testing.assert_array_equal(line.get_xdata(), there)
            medians = 1e3 * np.median(samples, axis=1)
            np.testing.assert_allclose(line.get_ydata(), medians)
            corners = band.get_paths()[0].vertices
            for n, seconds in zip(there, samples, strict=True):
                reach = corners[corners[:, 0] == n, 1]
                edges = [1e3 * min(seconds), 1e3 * np.percentile(seconds, 75)]
                np.testing.assert_allclose([reach.min(), reach.max()], edges)
            colours[name] |= {
                to_rgb(line.get_color()),
                tuple(band.get_facecolor()[0, :3]),
            }
    assert [len(each) for each in colours.values()] == [1, 1, 1]
    assert len(set.union(*colours.values())) == 3
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == ["time ∝ size", "a", "b", "c"]
    assert not any(ax.get_legend() for ax in figure.axes)


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
@pytest.mark.parametrize("automatic", [False, True])
@pytest.mark.parametrize("cell", work.CELLS)
def test_split_over_devices_it_computes_the_same(cell, automatic):
    contestants = pytest.importorskip("benchmarks.contestants")
    one = work.Work(cell, 7, 4, 2, 5)
    numbers = work.draw(one)
    given = {"devices": 2, "automatic": automatic}
    entrant = contestants.make("jaxrnn", one, numbers, work.MODES, **given)
    work.check("split", entrant.result(), work.oracle(one, numbers))
    assert set(entrant.runs) == {"forward", "backward"}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_is_near_enough(dtype):
    contestants = pytest.importorskip("benchmarks.contestants")
    numbers = work.draw(TINY["lstm"], dtype)
    wanted = work.oracle(TINY["lstm"], numbers)
    for name in ("jaxrnn", "torch"):
        entrant = contestants.make(
            name, TINY["lstm"], numbers, ("backward",), dtype=dtype
        )
        work.check(name, entrant.result(), wanted, work.TOLERANCE[dtype])
        with pytest.raises(AssertionError):  # so it was that dtype that ran
            work.check(name, entrant.result(), wanted, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("cell", work.CELLS)
def test_every_contestant_computes_the_same(cell):
    """In all modes; a step of Adam changes what the next one starts from."""
    contestants = pytest.importorskip("benchmarks.contestants")
    numbers = work.draw(TINY[cell])
    wanted = work.oracle(TINY[cell], numbers)
    entered = []
    packages = {"linen": "flax", "nnx": "flax", "plain scan": "jax", "cudnn": "jax"}
    for name in contestants.NAMES:
        package = packages.get(name, name)
        if importlib.util.find_spec(package) is None:
            assert os.environ.get("JAXRNN_PEERS") != "1", f"{package} is not installed"
            continue
        entrant = contestants.make(name, TINY[cell], numbers, work.MODES)
        if entrant is not None:
            work.check(name, entrant.result(), wanted)
            for run in entrant.runs.values():
                run()
                run()
            assert set(entrant.runs) == set(work.MODES)
            entered.append(name)
    assert {"jaxrnn", "plain scan", "linen"} <= set(entered)
    assert ("nnx" in entered) == (cell != "gru")


@pytest.mark.slow
def test_populations_are_the_same_members():
    """The first losses of three members, in slices of two, the last filled up."""
    population = pytest.importorskip("benchmarks.population")
    with jax.enable_x64(False):
        runs = population.contestants(3, 2, hidden=4, updates=2, devices=2)
        losses = {name: run() for name, run in runs.items()}
        few = population.contestants(2, 2, hidden=4, updates=2, devices=2)
    where = ("", " on 2 devices")
    sliced = [f"{how}{w}" for w in where for how in ("all at once", "2 at a time")]
    assert list(runs) == ["one by one", "torch", *sliced]
    assert list(few) == [name for name in runs if "2 at a time" not in name]
    wanted = losses["one by one"]
    assert len(set(np.round(wanted, 3))) == 3
    for name, found in losses.items():
        np.testing.assert_allclose(found, wanted, rtol=1e-4, err_msg=name)
