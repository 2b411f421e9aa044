"""The sweep program at reduced size, and what its map shows."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest

from jaxrnn import train
from tests.examples.load import load


@pytest.fixture(scope="module")
def program():
    yield load("sweep")
    plt.close("all")


@pytest.fixture
def small(program, tmp_path):
    return program.Settings(
        rates=(1e-2, 1e-9),
        biases=(3.0, 0.0),
        seeds=2,
        distance=4,
        steps=30,
        batch=16,
        hidden=8,
        features=5,
        tests=50,
        out=tmp_path / "out",
    )


@pytest.mark.slow
def test_program(program, small, capsys):
    accuracies = program.main(small)
    assert accuracies.shape == (2, 2, 2)
    said = capsys.readouterr().out
    best = np.median(accuracies, axis=-1).max(axis=1)
    for bias, found in zip(small.biases, best, strict=True):
        assert f"forget bias {bias:4}: best median accuracy {found:6.1%}" in said
    picture = plt.imread(small.out / "map.png")
    assert picture[..., :3].std() > 0.1


@pytest.mark.slow
def test_a_square_is_its_own_run(program, small):
    """Rows are biases, columns rates: trained and judged alone, the same accuracies."""
    small = dataclasses.replace(small, steps=10)
    _, accuracies = program.run(small)
    made = program.trial(small, {"learning_rate": 1e-2, "forget_bias": 0.0, "seed": 1})
    draw = program.partial(program.agreement.draw, distance=4)
    options = dict(steps=10, progress=False)
    data = program.partial(draw, batch=16)
    fitted = train.fit(made.loss, made.optimizer, made.state, data, **options)
    judged = draw(program.jax.random.key(1), batch=50)
    found = train.evaluate(made.loss, fitted.params, [judged])["accuracy"]
    assert found == accuracies[1, 0, 1]


def test_map(program, small):
    accuracies = np.array([[[0.5, 0.6], [1.0, 1.0]], [[0.7, 0.8], [0.9, 0.9]]])
    ax = program.draw_map(small, accuracies).axes[0]
    shown = {tuple(map(int, t.get_position())): t.get_text() for t in ax.texts}
    assert shown == {(0, 0): "55", (1, 0): "100", (0, 1): "75", (1, 1): "90"}
    assert [t.get_text() for t in ax.get_yticklabels()] == ["3", "0"]


@pytest.mark.slow
def test_open_gates_learn(program, tmp_path):
    """At reduced size: from bias 3 on it learns, at 0 it stays at chance."""
    settings = program.Settings(
        rates=(1e-2, 3e-2), biases=(0.0, 3.0), steps=150, tests=300, out=tmp_path
    )
    closed, opened = np.median(program.main(settings), axis=-1)
    assert opened.min() > 0.95
    assert closed.max() < 0.65
