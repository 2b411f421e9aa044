"""The agreement program at reduced size; what it teaches, in the slow test."""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import jaxrnn
from tests.examples.load import load


@pytest.fixture(scope="module")
def program():
    yield load("agreement")
    plt.close("all")


@pytest.fixture
def small(program, monkeypatch):
    """Two cells, so that two are compiled."""
    cells = {"LSTM, open": jaxrnn.lstm(9), "GRU, open": jaxrnn.gru(9)}
    monkeypatch.setattr(program, "CELLS", cells)
    monkeypatch.setattr(program, "RATES", {"mixed": (1e-2, 2e-2)})
    return program


@pytest.mark.slow  # most of it compiling
def test_reduced_program_prints_and_draws(small, tmp_path, capsys, monkeypatch):
    sentences = (
        "The cats near my house",
        "My dog, which already ate the fish, was full.",
    )
    settings = small.Settings(
        updates=4, seeds=2, batch=3, tests=10, sentence=sentences, out=tmp_path
    )
    cats = small.agreement.VOCABULARY.index("cats")  # plural nouns are last

    def insight(model, tokens, lengths):
        """Log odds of two seeds that read the subject."""
        odds = np.where(np.asarray(tokens[1]) >= cats, 50.0, -50.0)
        return np.stack([odds, 2 * odds])

    monkeypatch.setattr(small, "judge", insight)
    small.attend("mixed", settings)
    said = capsys.readouterr().out
    parameters = 79 * 16 + 4 * 9 * (16 + 9 + 1) + 9 + 1
    table = said[said.index("accuracy in %") : said.index("1: The cats")].splitlines()
    rows = {" ".join(line.split()[:2]): line.split()[2:] for line in table}
    size, ms, learned, *accuracies = rows["LSTM, open"]
    assert size == f"{parameters:,}"
    assert float(ms) > 0
    assert learned == "never"
    assert accuracies == ["100|100"] * 5
    answers = [line.split() for line in said.splitlines() if "was 100%" in line]
    assert answers == [
        [*name.split(), "were", "100%", "was", "100%"] for name in small.CELLS
    ]
    assert rows["last noun"] == ["100|0"] * 5
    assert all(sentence in said for sentence in sentences)
    figures = [plt.figure(number) for number in plt.get_fignums()]
    for figure in figures:
        assert "trained on mixed distances (3 to 40 words)" in figure.get_suptitle()
        assert not any(str(small.SEVERAL) in ax.get_title() for ax in figure.axes)
    legend = figures[0].axes[1].get_legend()
    assert "bars: worst to best seed" in legend.get_title().get_text()
    for name in ("accuracy", "gradient", "lstm", "gru"):
        assert str(tmp_path / f"mixed-{name}.png") in said.replace("\n", "")
        picture = plt.imread(tmp_path / f"mixed-{name}.png")
        assert picture.shape[1] >= 1000
        assert picture[..., :3].std() > 0.1


@pytest.mark.slow
def test_same_seed_same_networks(program):
    cell, rates = jaxrnn.simple_rnn(5), np.array([0.01, 0.02])
    keys = jax.random.split(jax.random.key(0), 6)
    drawn = [program.agreement.draw(key, 3, distance=4) for key in keys]
    stack = lambda *parts: np.stack(parts).reshape(3, 2, *parts[0].shape)
    lessons = jax.tree.map(stack, *drawn)
    train = lambda: program.train(
        cell, rates, lessons, 7, jax.random.key(1), lambda **told: None
    )
    one, two = train(), train()
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)
    np.testing.assert_array_equal(one.loss, two.loss)
    assert one.loss[0] != one.loss[1]
    for before, after in zip(one.before, one.params, strict=True):
        for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
            assert (a != b).any()


@pytest.mark.nightly
def test_far_school(program):
    """From afar the open gates learn and generalise; the simple RNN stays at chance."""
    rates = np.repeat(np.array(program.RATES["far"])[:, None], 3, axis=1)
    settings = program.Settings(updates=500)
    exam = program.agreement.exam(jax.random.key(9), 100, (10, 40, 80), (3, 4, 4))
    models = program.train_all("far", rates, settings, jax.random.key(5))
    for name, model in models.items():
        right = (program.judge(model, exam.tokens, exam.lengths) > 0) == exam.target
        accuracy = np.median(right.mean(axis=-1), axis=0)
        if name in ("LSTM, open", "GRU, open"):
            assert (accuracy >= 0.98).all(), name
        if name == "simple RNN":
            assert (accuracy < 0.65).all(), name
