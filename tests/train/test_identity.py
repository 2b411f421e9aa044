"""A folder knows its run, and says what it does with it."""

import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import train
from tests.train.cases import assert_same_bits

OPTIMIZER = optax.sgd(0.1, momentum=0.9)
BATCHES = [np.full((2, 2), n, float) for n in (1, 3, 2)]


def loss(params, carry, batch, key):
    return None, {"loss": train.mean((params["a"] - batch) ** 2)}


def other_loss(params, carry, batch, key):
    return None, {"loss": train.mean(abs(params["a"] - batch))}


def start(seed=0, optimizer=OPTIMIZER, **params):
    params = {"a": jnp.array(0.5)} | params
    return train.init(params, optimizer, jax.random.key(seed))


def fit(folder, steps=4, loss=loss, optimizer=OPTIMIZER, data=BATCHES, **options):
    state = options.pop("state", None) or start(optimizer=optimizer)
    options = {"steps_per_call": 2, "progress": False} | options
    return train.fit(
        loss, optimizer, state, data, steps=steps, folder=folder, **options
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """That of a run of four updates; each test leaves it as it was."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    fit(folder)
    return folder


OTHER = {
    "key": (
        dict(state=start(1)),
        r"key \(that of train.init\) was \[0, 0\], now \[0, 1\]",
    ),
    "a parameter more": (
        dict(state=start(b=jnp.zeros(3))),
        r"params: \['b'\] was absent, now float64 \[3\]",
    ),
    "another shape": (
        dict(state=start(a=jnp.zeros(2))),
        r"params: \['a'\] was float64 \[\], now float64 \[2\]",
    ),
    "optimizer": (dict(optimizer=optax.adam(0.1)), "opt_state: .*mu"),
    "loss": (dict(loss=other_loss), "loss was loss, now other_loss"),
    "data": (dict(data=lambda key: jnp.ones((2, 2))), "data"),
    "shared": (
        dict(state=train.init(start().params, OPTIMIZER, jax.random.key(0), shared=1)),
        "shared: value was absent, now int",
    ),
}


@pytest.mark.parametrize("steps", [4, 8])
@pytest.mark.parametrize("what", OTHER)
def test_another_run_is_refused(folder, what, steps):
    """Whether the folder's is finished or not; nothing in it changes."""
    options, said = OTHER[what]
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=f"holds another run: .*{said}") as raised:
        fit(folder, steps, **options)
    assert "run.json" in str(raised.value)
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_may_change(tmp_path):
    """More steps, validation, patience, logging, other calls, devices."""
    fit(tmp_path)
    options = dict(valid=BATCHES, valid_every=3, patience=9, log_every=1, save_every=5)
    options |= dict(mesh=train.data_mesh(2), batch_axis=0, steps_per_call=3, keep=1)
    fitted = fit(tmp_path, 8, **options)
    np.testing.assert_allclose(fitted.state.params["a"], fit(None, 8).params["a"])
    assert [r["step"] for r in fitted.history if r["split"] == "valid"] == [6, 8]


def test_it_goes_on_where_that_is_meant(tmp_path):
    fit(tmp_path)
    (tmp_path / "run.json").unlink()
    fitted = fit(tmp_path, 6, loss=other_loss)
    assert int(fitted.state.step) == 6
    assert json.loads((tmp_path / "run.json").read_text())["loss"] == "other_loss"


def test_a_folder_in_which_nothing_was_trained_is_begun_anew(tmp_path):
    """A first try that failed in the loss, with a model of another size."""

    def broken(params, carry, batch, key):
        raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        fit(tmp_path, loss=broken, state=start(a=jnp.zeros(3)))
    assert_same_bits(fit(tmp_path).state, fit(None).state)


def test_another_learning_rate_is_said(tmp_path):
    fit(tmp_path)
    with pytest.warns(UserWarning, match="another learning rate"):
        fit(tmp_path, 6, optimizer=optax.sgd(0.2, momentum=0.9))
    fit(tmp_path, 8, optimizer=optax.sgd(0.2, momentum=0.9))  # it is that run's now


def test_what_it_does_is_said(tmp_path, caplog, capsys):
    with caplog.at_level(logging.INFO, "jaxrnn"):
        fit(tmp_path)
        assert not caplog.messages
        fit(tmp_path, 6)
        fit(tmp_path, 6)
    assert caplog.messages == [
        f"{tmp_path} resumed at step 4",
        f"{tmp_path} is complete at step 6: nothing to do",
    ]
    assert capsys.readouterr().out == ""
    fit(tmp_path, 6, progress=True)
    assert f"{tmp_path} is complete at step 6" in capsys.readouterr().out


def test_a_stop_says_its_reason(tmp_path, caplog):
    worse = [np.full((2, 2), -9.0)]
    options = dict(valid=worse, valid_every=2, patience=2, data=[np.full((2, 2), 9.0)])
    fit(tmp_path, 40, **options)
    with caplog.at_level(logging.INFO, "jaxrnn"):
        fit(tmp_path, 60, **options)
        fit(tmp_path, 60, **options | {"patience": 3})
    assert "step 6 of 60, after 2 validations without a better" in caplog.messages[0]
    assert "resumed at step 6" in caplog.messages[1]


def test_lines_where_there_is_no_terminal(capsys):
    data = [np.full((2, 2), n, float) for n in (1, 3, 2)]
    fit(None, 7, data=data, log_every=3, valid=BATCHES, valid_every=7, progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:4] for line in lines] == [
        ["step", "3/7", "train"],
        ["step", "6/7", "train"],
        ["step", "7/7", "train"],
        ["step", "7/7", "valid"],
    ]
    assert all("loss" in line and "steps/s" in line for line in lines)
    assert not any("tokens/s" in line for line in lines)


def test_tokens_a_second_only_of_tokens(tmp_path):
    data = train.streams(np.arange(200) % 7, 2, 5)

    def of_stream(params, carry, window, key):
        return None, {"loss": train.mean((params["a"] - window.inputs) ** 2)}

    fit(tmp_path, 4, loss=of_stream, data=data)
    row = json.loads((tmp_path / "timing.jsonl").read_text().splitlines()[0])
    np.testing.assert_allclose(row["tokens_per_s"] * row["seconds"], 2 * 5 * 2)


def test_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    fit("~/runs/one", 2)
    assert (tmp_path / "runs/one/metrics.jsonl").exists()


def test_a_best_that_never_was(tmp_path):
    """No validation was finite: the last params are given back, loudly."""
    never = [np.full((2, 2), np.nan)]
    options = dict(valid=never, valid_every=2)
    with pytest.warns(RuntimeWarning, match="no validation was finite"):
        fitted = fit(tmp_path, **options)
    assert fitted.best is None
    assert_same_bits(fitted.params, fitted.state.params)
    assert fitted.params["a"] != start().params["a"]
    with pytest.warns(RuntimeWarning, match="no validation was finite"):
        again = fit(tmp_path, **options)
    assert_same_bits(again.params, fitted.params)


def test_without_validation_the_last(tmp_path):
    """Even where validation comes too late to be made."""
    fit(tmp_path)
    fitted = fit(tmp_path, valid=BATCHES)
    assert_same_bits(fitted.params, fitted.state.params)
