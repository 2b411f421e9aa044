"""The pictures: what is drawn, how it is named, and that nothing covers it."""

import sys
from typing import NamedTuple

import jax
import matplotlib as mpl
import numpy as np
import pytest

from jaxrnn import plot
from jaxrnn.plot._outliers import MARK
from tests.laws.cases import BUILT_IN, CELLS, example

mpl.use("Agg")
import matplotlib.pyplot as plt

WORDS = "the cats which ate".split()
rng = np.random.default_rng(0)
GATE = rng.uniform(size=(4, 3))
STATE = rng.normal(size=(4, 3)) * 2 + 1  # reaches higher up than down


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def shown_words(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


def covers_no_data(ax):
    ax.figure.draw_without_rendering()
    return not ax.get_legend().get_window_extent().overlaps(ax.get_window_extent())


def test_gate_shows_units_down_and_words_across():
    own = plt.subplots()[1]
    ax = plot.gate(GATE, WORDS, title="forget gate f", units=[7, 2, 5], ax=own)
    assert ax is own
    np.testing.assert_array_equal(ax.images[0].get_array(), GATE.T)
    assert ax.images[0].get_clim() == (0, 1)
    assert shown_words(ax) == WORDS
    assert [label.get_text() for label in ax.get_yticklabels()] == ["7", "2", "5"]
    assert (ax.get_title("left"), ax.get_ylabel()) == ("forget gate f", "unit")


def test_state_is_white_at_zero_and_as_far_down_as_up():
    ax = plot.state(STATE, WORDS, title="c")
    image = ax.images[0]
    np.testing.assert_array_equal(image.get_array(), STATE.T)
    assert image.get_clim() == (-np.abs(STATE).max(), np.abs(STATE).max())
    red, green, blue, _ = image.to_rgba(np.zeros(1))[0]
    assert min(red, green, blue) > 0.95
    below, above = image.to_rgba(np.array([-1.0, 1.0]))
    assert below[2] > below[0]
    assert above[0] > above[2]


class Gates(NamedTuple):
    z: np.ndarray
    n: np.ndarray
    mine: np.ndarray


def test_gates_are_drawn_by_their_kind():
    axes = plot.gates(Gates(GATE, np.tanh(STATE), GATE / 2), WORDS)
    titles = [ax.get_title("left") for ax in axes]
    assert titles == [
        "keep gate z: how much of h is kept",
        "candidate n: what may enter h",
        "mine",
    ]
    assert len({ax.figure for ax in axes}) == len(plt.get_fignums()) == 1
    assert [ax.images[0].cmap.name for ax in axes] == ["viridis", "RdBu_r", "viridis"]
    np.testing.assert_array_equal(axes[2].images[0].get_array(), GATE.T / 2)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_gates_of_every_cell_have_titles(name):
    """In the colours of what they are; of images their mean is drawn."""
    cell, (params, carry, xs) = CELLS[name], example(name)
    pre = lambda p, c, x: cell.parts.recur(p, c, cell.parts.project(p, x))
    opened = lambda p, c, x: cell.parts.gates(p, c, pre(p, c, x))
    types = jax.eval_shape(opened, params, carry, xs[0])
    random, space = np.random.RandomState(0), (2, 3)[: cell.event_ndim - 1]
    shape = (len(WORDS), *space, 4)
    values = type(types)(*(random.rand(*shape) for _ in types))
    for ax, value in zip(plot.gates(values, WORDS), values, strict=True):
        title, shown = ax.get_title("left"), ax.images[0]
        assert ": " in title
        assert ("mean over the image" in title) == (space != ())
        assert (shown.cmap.name == "RdBu_r") == title.startswith("candidate")
        axes = tuple(range(1, 1 + len(space)))
        np.testing.assert_allclose(shown.get_array(), value.mean(axes).T)


def test_a_candidate_above_zero_is_still_a_candidate():
    axes = plot.gates(Gates(GATE, np.abs(np.tanh(STATE)), GATE), WORDS)
    assert [ax.images[0].cmap.name for ax in axes] == ["viridis", "RdBu_r", "viridis"]


DRAWN = {
    "gates": lambda: plot.gates(Gates(GATE, STATE, GATE), WORDS),
    "gate": lambda: plot.gate(GATE, WORDS, title="f"),
    "state": lambda: plot.state(STATE, WORDS, title="c"),
    "contrast": lambda: plot.contrast(
        {"a": STATE, "b": -STATE}, Gates(GATE, STATE, GATE), WORDS, name="c"
    ),
    "traces": lambda: plot.traces({"a": STATE[:, 0]}, WORDS, title="c", ylabel="c"),
    "gradient_flow": lambda: plot.gradient_flow({"a": GATE[:, 0]}, title="g"),
    "memory_span": lambda: plot.memory_span({"a": GATE[:, 0]}, range(4), title="g"),
    "timescales": lambda: plot.timescales({"a": GATE[0]}, title="g"),
    "spectrum": lambda: plot.spectrum({"a": GATE}, title="g"),
    "exponents": lambda: plot.exponents({"a": STATE[0]}, title="g"),
    "ablation": lambda: plot.ablation(GATE[0], 0.5, title="g", ylabel="score"),
    "accuracy": lambda: plot.accuracy([1, 2, 3], {"a": GATE}, title="g"),
    "history": lambda: plot.history(
        [{"step": 1, "split": "train", "loss": 2.0}], title="g"
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_without_axes_one_figure_is_made(name):
    drawn = DRAWN[name]()
    axes = drawn if isinstance(drawn, list) else [drawn]
    assert len({ax.figure for ax in axes}) == len(plt.get_fignums()) == 1
    assert all(ax in axes[0].figure.axes for ax in axes)


def test_every_function_that_draws_is_among_them():
    here = {
        n
        for n, f in vars(plot).items()
        if getattr(f, "__module__", "").startswith(plot.__name__)
    }
    assert {n for n in here if n[0] != "_"} - {"clip_outliers"} == set(DRAWN)


def contents(ax):
    """The part of the height that all but the last line take."""
    ends = [ax.transData.transform(line.get_xydata())[:, 1] for line in ax.lines[:2]]
    low, high = ax.get_window_extent().intervaly
    return (np.nanmax(ends) - np.nanmin(ends)) / (high - low)


def marks(ax):
    return [one for one in ax.get_children() if one.get_gid() == MARK]


T = np.arange(12)
FAR = {  # two ordinary lines and one that leaves them, and what is said of it
    "traces": (
        lambda: plot.traces(
            {"a": np.sin(T), "b": np.cos(T), "c": np.exp(2.0 * T)},
            list(map(str, T)),
            title="",
            ylabel="",
        ),
        "up to 3.6e+09",
    ),
    "gradient_flow": (
        lambda: plot.gradient_flow(
            {"a": 0.8 ** T[::-1], "b": 0.4 ** T[::-1], "c": 1e-9 ** T[::-1]}, title=""
        ),
        "down to 1e-99",
    ),
    "memory_span": (
        lambda: plot.memory_span({"a": 0.8**T, "b": 0.4**T, "c": 1e9**T}, T, title=""),
        "up to 1e+99",
    ),
    "timescales": (
        lambda: plot.timescales({"a": T + 1, "b": 2 * T + 1, "c": 1e30 + T}, title=""),
        "up to 1e+30",
    ),
    "history": (
        lambda: plot.history(
            [
                {"step": t, "split": split, "loss": 0.7**t + (t == 5) * far}
                for t in T
                for split, far in (("a", 0), ("b", 0.01), ("c", -1e5))
            ],
            title="",
        ),
        "down to -1e+05",
    ),
}


@pytest.mark.parametrize("name", FAR)
def test_one_line_does_not_squash_the_others(name):
    draw, said = FAR[name]
    ax = draw()
    ax.lines[0].remove() if name == "traces" else None  # the level at zero
    ax.figure.draw_without_rendering()
    assert contents(ax) > 0.4
    *triangles, text = marks(ax)
    assert text.get_text() == f"beyond the axis: {said}"
    line = next(line for line in ax.lines if line.get_label() == "c")
    low, high = ax.get_ylim()
    y = line.get_ydata()
    (triangle,) = triangles
    out = (y < low) | (y > high)
    np.testing.assert_array_equal(triangle.get_xdata(), line.get_xdata()[out])
    assert triangle.get_color() == line.get_color()


def test_what_is_not_far_is_shown_whole():
    """A spike of one unit, a loss that falls by far, a gradient that vanishes."""
    spike = np.where(T == 4, 5.0, 0.01)
    words = list(map(str, T))
    falls = [{"step": t, "split": "x", "loss": 0.7 * 0.2**t} for t in T]
    for ax in (
        plot.traces({"a": spike, "b": 0 * spike}, words, title="", ylabel=""),
        plot.history(falls, title=""),
        plot.gradient_flow({"a": 0.9 ** T[::-1], "b": 0.1 ** T[::-1]}, title=""),
        plot.exponents({"a": [-0.1, -9.0], "b": [0.01, -0.02]}, title=""),
    ):
        assert not marks(ax)
        low, high = ax.get_ylim()
        for line in ax.lines:
            assert (low <= line.get_ydata()).all()
            assert (line.get_ydata() <= high).all()


def test_axes_that_share_their_scale_are_clipped_together():
    _, axes = plt.subplots(1, 2, sharey=True)
    far = {"a": 0.8 ** T[::-1], "b": 1e-9 ** T[::-1]}
    plot.gradient_flow(far, title="", ax=axes[0])
    assert marks(axes[0])
    plot.gradient_flow({"a": 0.5 ** T[::-1]}, title="", ax=axes[1])
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert axes[1].get_ylim()[0] <= 0.5 ** T[-1]
    assert marks(axes[0])
    assert not marks(axes[1])


def test_limits_set_by_hand_stay():
    ax = plt.subplots()[1]
    ax.set_ylim(0, 1e12)
    plot.history(
        [{"step": t, "split": "x", "loss": 9.0**t} for t in T], title="", ax=ax
    )
    assert ax.get_ylim() == (0, 1e12)


def test_one_unit_does_not_bleach_the_others():
    values = np.random.default_rng(1).normal(size=(12, 6))
    usual = np.abs(values).max()
    words = list(map(str, T))
    assert plot.state(values, words, title="").images[0].get_clim() == (-usual, usual)
    values[3:, 2] = -1e5 * T[3:]
    values[0, 0] = np.nan
    ax = plot.state(values, words, title="")
    low, high = ax.images[0].get_clim()
    assert low == -high
    assert 0.5 < high <= usual
    bar = ax.images[0].colorbar
    assert (bar.extend, bar.ax.get_ylabel()) == ("both", "up to ±1.1e+06")


def test_ablation_is_not_squashed_by_one_unit():
    scores = np.array([0.5, 0.6, 1e5, 0.7, 0.55])
    ax = plot.ablation(scores, 0.5, title="", ylabel="loss")
    assert 0.7 < ax.get_ylim()[1] < 1
    assert marks(ax)[0].get_xdata().tolist() == [0]  # of the bars from the left
    assert marks(ax)[-1].get_text() == "beyond the axis: up to 1e+05"


def test_what_is_infinite_is_marked():
    ax = plot.traces({"a": [1, np.inf, 3, 2]}, WORDS, title="", ylabel="")
    assert marks(ax)[0].get_xdata().tolist() == [1]
    assert marks(ax)[-1].get_text() == "beyond the axis: up to inf"
    assert ax.get_ylim()[1] < 4
    ax = plot.ablation([0.5, np.inf, 0.75], 0.5, title="", ylabel="loss")
    ax.figure.draw_without_rendering()
    assert marks(ax)[0].get_xdata().tolist() == [0]
    assert ax.get_ylim()[1] < 1


def test_contrast_takes_the_units_that_differ_most_at_the_end():
    one, other = STATE, STATE + [[9, 0, -9], [0, 0, 0], [0, 9, 0], [0.1, -0.5, 0.3]]
    memories = {"cat": one, "cats": other}
    axes = plot.contrast(memories, Gates(GATE, STATE, GATE), WORDS, name="c", count=2)
    assert len(axes) == 5
    np.testing.assert_array_equal(axes[0].lines[1].get_ydata(), one[:, 1])
    np.testing.assert_array_equal(axes[0].lines[2].get_ydata(), other[:, 1])
    np.testing.assert_array_equal(axes[1].images[0].get_array(), other[:, [1, 2]].T)
    np.testing.assert_array_equal(axes[2].images[0].get_array(), GATE[:, [1, 2]].T)
    assert [label.get_text() for label in axes[3].get_yticklabels()] == ["1", "2"]
    assert shown_words(axes[-1]) == WORDS
    assert covers_no_data(axes[0])


def test_traces_have_a_line_and_a_marker_each():
    ax = plot.traces(
        {"cat": STATE[:, 0], "cats": STATE[:, 1]}, WORDS, title="a", ylabel="c"
    )
    zero, cat, cats = ax.lines
    assert set(zero.get_ydata()) == {0}
    np.testing.assert_array_equal(cat.get_ydata(), STATE[:, 0])
    np.testing.assert_array_equal(cats.get_ydata(), STATE[:, 1])
    assert cat.get_marker() != cats.get_marker()
    assert cat.get_color() != cats.get_color()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["cat", "cats"]
    assert covers_no_data(ax)


def test_gradient_flow_counts_lags_from_the_end():
    norms = {
        "RNN": [0.0, 1e-9, 1.0],
        "GRU": None,
        "LSTM": jax.numpy.array([0.1, 0.2, 0.3]),
    }
    ax = plot.gradient_flow(norms, title="before")
    rnn, lstm = ax.lines
    assert rnn.get_xdata().tolist() == [2, 1, 0]
    np.testing.assert_array_equal(rnn.get_ydata(), [np.nan, 1e-9, 1])
    assert lstm.get_color() == plot.COLOURS[2]  # None keeps the GRU's
    assert ax.get_yscale() == "log"
    assert ax.get_xlabel() == "lag (words before the loss)"
    assert covers_no_data(ax)
    assert plot.gradient_flow(norms, title="after", legend=False).get_legend() is None


def test_memory_span_is_drawn_at_its_lags():
    ax = plot.memory_span({"a": [1.0, 0.0, 1e-4], "b": [2, 1, 3]}, [0, 4, 9], title="x")
    one, other = ax.lines
    assert one.get_xdata().tolist() == other.get_xdata().tolist() == [0, 4, 9]
    np.testing.assert_array_equal(one.get_ydata(), [1, np.nan, 1e-4])
    assert ax.get_yscale() == "log"
    assert covers_no_data(ax)


def test_ranks_begin_with_the_largest_and_leave_gaps():
    scales = {"LSTM": [0.0, 20.0, np.inf, 3.0], "GRU": [1.0, 2.0]}
    ax = plot.timescales(scales, title="trained")
    lstm, gru = ax.lines
    np.testing.assert_array_equal(lstm.get_ydata(), [np.nan, 20, 3, np.nan])
    assert lstm.get_xdata().tolist() == [1, 2, 3, 4]
    assert gru.get_ydata().tolist() == [2, 1]
    assert covers_no_data(ax)
    values = np.array([[[3.0, 1.0]], [[1.0, 0.5]], [[2.0, 0.0]]])
    level, line = plot.spectrum({"GRU": values}, title="x").lines
    assert set(level.get_ydata()) == {1}
    assert line.get_ydata().tolist() == [2, 0.5]
    level, line = plot.exponents({"GRU": [-0.5, 0.25, -np.inf]}, title="x").lines
    assert set(level.get_ydata()) == {0}
    np.testing.assert_array_equal(line.get_ydata(), [0.25, -0.5, np.nan])


def test_ablation_begins_with_the_unit_most_missed():
    ax = plot.ablation([0.9, 0.5, 1.0], 0.97, title="x", ylabel="accuracy")
    assert [bar.get_height() for bar in ax.patches] == [0.5, 0.9, 1.0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "0", "2"]
    assert set(ax.lines[0].get_ydata()) == {0.97}
    assert covers_no_data(ax)


def test_accuracy_shows_median_and_reach():
    found = {
        "RNN": [[0.5, 0.4, 0.6], [0.6, 0.5, 0.5], [0.9, 0.6, 0.4]],
        "GRU": np.ones((3, 3)),
    }
    ax = plot.accuracy(
        [5, 10, 20], found, title="far", baselines={"last noun": [1, 0.5, 0]}
    )
    rnn, gru = (line for line in ax.lines if line.get_label() in found)
    np.testing.assert_allclose(rnn.get_ydata(), [60, 50, 50])
    np.testing.assert_allclose(rnn.get_xdata(), [5, 10, 20], rtol=0.1)
    assert (rnn.get_xdata() != gru.get_xdata()).all()
    bar = ax.collections[0].get_segments()[0]
    np.testing.assert_allclose(bar[:, 1], [50, 90])
    (last,) = (line for line in ax.lines if line.get_label() == "last noun")
    np.testing.assert_allclose(last.get_ydata(), [100, 50, 0])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["5", "10", "20"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("distance (words)", "accuracy (%)")
    assert covers_no_data(ax)
    meaning = ax.get_legend().get_title().get_text()
    assert meaning == "points: median of 3 seeds\nbars: worst to best seed"
    ax = plot.accuracy([5, 10, 20], {"RNN": found["RNN"][:1]}, title="far")
    assert ax.get_legend().get_title().get_text() == ""


def test_more_lines_than_colours_are_refused():
    lines = {str(n): [1.0, 2.0] for n in range(9)}
    found = {str(n): [[1.0, 0.5]] for n in range(9)}
    for draw in (
        lambda: plot.traces(lines, ["a", "b"], title="", ylabel=""),
        lambda: plot.gradient_flow(lines, title=""),
        lambda: plot.accuracy([1, 2], found, title=""),
    ):
        with pytest.raises(ValueError, match="expected at most 8 labels, got 9"):
            draw()


@pytest.mark.parametrize(
    ("draw", "match"),
    [
        (
            lambda: plot.gate(GATE.T, WORDS, title=""),
            r"values: expected \[4, 4\].*got \[3, 4\]",
        ),
        (lambda: plot.gate(GATE, WORDS, title="", units=[1]), r"expected \[4, 1\]"),
        (lambda: plot.state(STATE[0], WORDS, title=""), r"values: expected"),
        (
            lambda: plot.traces({"a": [1, 2]}, WORDS, title="", ylabel=""),
            r"\['a'\]: expected \[4\]",
        ),
        (
            lambda: plot.gradient_flow({"a": STATE}, title=""),
            r"\['a'\]: expected \[T\]",
        ),
        (
            lambda: plot.memory_span({"a": [1, 2]}, [0], title=""),
            r"\['a'\]: expected \[1\]",
        ),
        (
            lambda: plot.timescales({"a": STATE}, title=""),
            r"scales\['a'\]: expected",
        ),
        (
            lambda: plot.ablation(STATE, 1.0, title="", ylabel=""),
            "scores: expected",
        ),
        (
            lambda: plot.accuracy([1, 2], {"a": [1, 1]}, title=""),
            r"expected \[seeds, 2\]",
        ),
        (
            lambda: plot.gates(Gates(GATE, STATE, GATE), WORDS, axes=[None]),
            r"axes: expected 3, one for each of \['z', 'n', 'mine'\], got 1",
        ),
        (
            lambda: plot.gates((Gates(GATE, STATE, GATE),) * 2, WORDS),
            "values: expected the gates of one cell",
        ),
        (
            lambda: plot.contrast({"a": GATE}, Gates(1, 2, 3), WORDS, name="c"),
            "expected two",
        ),
    ],
)
def test_errors_name_what_is_wrong(draw, match):
    with pytest.raises(ValueError, match=match):
        draw()


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxrnn\[plot\]'"):
        plot.gate(GATE, WORDS, title="")


def test_history_splits_and_leaves_gaps():
    rows = [
        {"step": 2, "split": "train", "loss": 0.75, "accuracy": 0.25},
        {"step": 4, "split": "train", "loss": None, "accuracy": 0.5},
        {"step": 4, "split": "valid", "loss": 0.625},
        {"step": 6, "split": "train", "loss": 0.5, "accuracy": 0.75},
    ]
    ax = plot.history(rows, title="this run", ylabel="nats")
    lines = {line.get_label(): line.get_xydata() for line in ax.lines}
    np.testing.assert_array_equal(lines["train"], [[2, 0.75], [4, np.nan], [6, 0.5]])
    np.testing.assert_array_equal(lines["valid"], [[4, 0.625]])
    assert (ax.get_title(), ax.get_ylabel()) == ("this run", "nats")
    ax = plot.history(rows, "accuracy", title="this run")
    assert ax.lines[0].get_ydata().tolist() == [0.25, 0.5, 0.75]
    assert np.isnan(ax.lines[1].get_ydata()).all()
    with pytest.raises(ValueError, match="name: expected a mean that a row has"):
        plot.history(rows, "perplexity", title="this run")
