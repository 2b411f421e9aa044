"""Hooks: when they are called, what they see, and that no run is changed by them."""

import json
import logging
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import train
from jaxrnn.train.checkpoint import Folder
from tests.train.cases import (
    B,
    F,
    assert_same_bits,
    batches,
    draw,
    fit,
    loss,
    plain,
    start,
)

LIST = batches(7)
RAGGED = train.buckets(
    [np.random.default_rng(n).normal(size=(n % 9, F)) for n in range(30)],
    B,
    seed=2,
    widths=(5, 8),
)


class Unlike:
    """Batches of two shapes, of which nobody knows which comes when."""

    def __init__(self):
        self.count = 0

    def __iter__(self):
        return Unlike()

    def __next__(self):
        self.count += 1
        xs, lengths = LIST[self.count % 7]
        cut = 3 if self.count % 4 == 1 else 5
        return xs[:cut], np.minimum(lengths, cut)

    get_state = lambda self: self.count
    set_state = lambda self, count: setattr(self, "count", count)


def ragged_loss(params, carry, batch, key):
    if isinstance(batch, train.Bucket):
        batch = batch.xs, batch.lengths
    return loss(params, carry, batch, key)


def ragged_fit(data, **options):
    options = {"batch_axis": (1, 0), "progress": False, "steps_per_call": 4} | options
    state = start(carry=True)
    optimizer = optax.adam(1e-2)
    state = state._replace(opt_state=optimizer.init(state.params))
    return train.fit(ragged_loss, optimizer, state, data, **options)


def nothing(snapshot):
    pass


@pytest.mark.parametrize(
    "data",
    [
        draw,
        pytest.param(Unlike(), marks=pytest.mark.slow),
        pytest.param(LIST, marks=pytest.mark.slow),
        pytest.param(RAGGED, marks=pytest.mark.slow),
    ],
    ids=["drawn", "unlike", "list", "buckets"],
)
def test_they_change_no_bits(data, tmp_path):
    """Not of the state, the best params, the rows, or the last checkpoint."""
    options = dict(steps=14, log_every=5, save_every=3, valid=LIST[:2], valid_every=4)
    several = [
        train.every(1, nothing),
        train.every(3, nothing),
        train.every(7, nothing),
    ]
    for hooks in ((), several[1:2], several):
        found = ragged_fit(
            data, folder=tmp_path / str(len(hooks)), hooks=hooks, **options
        )
        metrics = (tmp_path / str(len(hooks)) / "metrics.jsonl").read_bytes()
        label = tmp_path / str(len(hooks)) / "checkpoints/14/_CHECKPOINT_METADATA"
        saved = json.loads(label.read_text())["custom_metadata"]
        saved["notes"]["data"] = None
        if not hooks:
            want, rows, checkpoint = found, metrics, saved
        assert_same_bits(found[:2], want[:2])
        assert metrics == rows
        assert saved == checkpoint


def test_when_and_in_which_order(tmp_path, monkeypatch):
    """Rows, a validation, hooks as listed, a checkpoint; and all of them at the end."""
    seen, save = [], Folder.save

    def saved(self, step, *args, **notes):
        save(self, step, *args, **notes)
        seen.append((step, "saved"))

    monkeypatch.setattr(Folder, "save", saved)
    see = lambda name: lambda snapshot: seen.append((snapshot.step, name))
    fit(
        start(),
        draw,
        steps=7,
        log_every=3,
        valid=LIST[:1],
        valid_every=3,
        save_every=6,
        folder=tmp_path,
        hooks=[train.every(3, see("one")), train.every(2, see("two"))],
        callback=lambda row: seen.append((row["step"], row["split"])),
    )
    assert seen == [
        (0, "saved"),
        (2, "two"),
        *[(3, "train"), (3, "valid"), (3, "one")],
        (4, "two"),
        *[(6, "train"), (6, "valid"), (6, "one"), (6, "two"), (6, "saved")],
        *[(7, "train"), (7, "valid"), (7, "one"), (7, "two"), (7, "saved")],
    ]


@pytest.mark.parametrize("mesh", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_snapshots_may_be_kept(mesh):
    """Each is what `fit` returns after as many updates, when all are over."""
    mesh = mesh and train.data_mesh(mesh)
    kept, views = [], []

    def keep(snapshot):
        kept.append(snapshot)
        snapshot.history.clear()

    def view(snapshot):
        arrays = jax.tree.map(np.asarray, plain(snapshot.state))
        views.append((snapshot.step, arrays))

    hooks = [train.every(3, keep), train.every(4, view)]
    options = dict(mesh=mesh, log_every=2)
    fitted = fit(start(True), draw, steps=9, hooks=hooks, **options)
    assert len(fitted.history) == 5
    assert [snapshot.step for snapshot in kept] == [3, 6, 9]
    assert all(snapshot.members is None for snapshot in kept)
    assert [step for step, _ in views] == [4, 8, 9]
    seen = [(snapshot.step, snapshot.state) for snapshot in kept]
    for step, state in seen + views:
        assert_same_bits(state, fit(start(True), draw, steps=step, **options).state)


def test_history_is_that_so_far():
    seen = []
    look = lambda snapshot: seen.append(snapshot.history)
    options = dict(valid=LIST[:1], valid_every=4, log_every=2)
    fitted = fit(start(), draw, steps=8, hooks=[train.every(4, look)], **options)
    assert seen == [fitted.history[:3], fitted.history]


class Counting:
    """A hook that counts its calls, and stops or fails at given steps."""

    def __init__(self, stop=(), fail=()):
        self.steps, self.stop, self.fail = [], stop, fail

    def __call__(self, snapshot):
        self.steps.append(snapshot.step)
        if snapshot.step in self.fail:
            raise self.fail[snapshot.step]
        return snapshot.step in self.stop


STOPPED = dict(steps=20, log_every=4, save_every=8, valid=LIST[:1], valid_every=5)


def test_true_ends_the_run(tmp_path, caplog):
    """It is saved and returned; a second call asks once more, and goes on if it may."""
    hook = Counting(stop=[6])
    hooks = [train.every(3, hook)]
    fitted = fit(start(), draw, folder=tmp_path, hooks=hooks, **STOPPED)
    assert int(fitted.state.step) == 6
    assert_same_bits(fitted.state, fit(start(), draw, steps=6).state)
    assert [row["step"] for row in fitted.history] == [4, 5, 6]
    assert fitted.best["step"] == 5
    assert (tmp_path / "checkpoints" / "6").exists()
    assert hook.steps == [3, 6]
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with caplog.at_level(logging.INFO, "jaxrnn"):
        again = fit(start(), draw, folder=tmp_path, hooks=hooks, **STOPPED)
        assert hook.steps == [3, 6, 6]
        assert_same_bits(again[:2], fitted[:2])
        assert again[2:] == fitted[2:]
        assert (tmp_path / "metrics.jsonl").read_bytes() == before
        hook.stop = [12]
        fit(start(), draw, folder=tmp_path, hooks=hooks, **STOPPED)
        assert hook.steps == [3, 6, 6, 6, 9, 12]
        whole = fit(start(), draw, folder=tmp_path, **STOPPED)
    name = str(tmp_path)
    assert caplog.messages == [
        f"{name} stopped at step 6 of 20, as a hook asks: nothing to do. Without it the "
        "run goes on",
        f"{name} resumed at step 6",
        f"{name} resumed at step 12",
    ]
    assert_same_bits(whole.state, fit(start(), draw, **STOPPED).state)


@pytest.mark.parametrize("answer", [np.True_, np.array(True), jnp.array(True)], ids=str)
def test_other_booleans_end_it_too(answer):
    fitted = fit(start(), draw, steps=6, hooks=[train.every(2, lambda _: answer)])
    assert int(fitted.state.step) == 2
    hooks = [train.every(2, lambda _: ~answer if answer.ndim == 0 else False)]
    assert int(fit(start(), draw, steps=6, hooks=hooks).state.step) == 6


@pytest.mark.parametrize(
    "answer", [1, 0, "no", np.array([True]), np.float32(1)], ids=repr
)
def test_anything_else_is_a_mistake(answer):
    with pytest.raises(ValueError, match="expected a hook to return None, or True"):
        fit(start(), draw, steps=6, hooks=[train.every(2, lambda _: answer)])


def test_early_stopping_and_hooks():
    """A hook sees the validation that ends the run; then the last row comes."""
    seen = []
    look = lambda snapshot: seen.append((snapshot.step, snapshot.history[-1]["split"]))
    wrong = [(-xs, lengths) for xs, lengths in LIST]
    options = dict(valid=LIST, valid_every=2, patience=2, log_every=400)
    fitted = fit(start(), wrong, steps=400, hooks=[train.every(2, look)], **options)
    end = int(fitted.state.step)
    assert end < 400
    assert seen == [(step, "valid") for step in range(2, end + 1, 2)]
    assert [row["split"] for row in fitted.history[-2:]] == ["valid", "train"]


QUICK = {(KeyboardInterrupt, 3), (RuntimeError, 12)}


@pytest.mark.parametrize(
    ("failure", "at"),
    [
        pytest.param(
            failure, at, marks=() if (failure, at) in QUICK else pytest.mark.slow
        )
        for failure in (KeyboardInterrupt, RuntimeError)
        for at in (3, 9, 12, 15)
    ],
)
def test_an_exception_loses_and_doubles_nothing(failure, at, tmp_path):
    """The calls after the newest checkpoint come again, and no other."""
    whole = Counting()
    want = fit(start(), LIST, hooks=[train.every(3, whole)], **STOPPED)
    hook = Counting(fail={at: failure("a mistake")})
    options = STOPPED | dict(folder=tmp_path, hooks=[train.every(3, hook)])
    with pytest.raises(failure):
        fit(start(), LIST, **options)
    saved = max(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
    assert saved == at // 8 * 8
    hook.fail = ()
    again = fit(start(), LIST, **options)
    assert_same_bits(again.state, want.state)
    before = [step for step in whole.steps if step <= at]
    after = [step for step in whole.steps if step > saved]
    assert hook.steps == before + after


def test_sigterm_in_a_hook(tmp_path):
    """It is saved where it came, and no call comes twice."""
    hook = Counting()

    def end(snapshot):
        if snapshot.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    hooks = [train.every(3, end), train.every(3, hook)]
    options = STOPPED | dict(folder=tmp_path, hooks=hooks)
    with pytest.raises(SystemExit) as left:
        fit(start(), draw, **options)
    assert left.value.code == 143
    assert hook.steps == [3, 6]
    assert (tmp_path / "checkpoints" / "6").exists()
    again = fit(start(), draw, **options | dict(hooks=hooks[1:]))
    assert hook.steps == [3, 6, 9, 12, 15, 18, 20]
    assert_same_bits(again.state, fit(start(), draw, **STOPPED).state)


HYPERS = train.grid(rate=[0.3, 0.1, 0.02])


def trial(hyper, seeded=True):
    def scalar_loss(params, carry, batch, key):
        return None, {"loss": train.mean((params["a"] - batch) ** 2)}

    optimizer = optax.sgd(hyper["rate"], momentum=0.5)
    key = jax.random.key(3)
    state = train.init({"a": jnp.ones(2)}, optimizer, key)
    return train.Trial(scalar_loss, optimizer, state)


SHORT = dict(steps=6, steps_per_call=4, progress=False)
MOVED = [np.random.default_rng(n).normal(size=(4, 2)) for n in range(5)]


@pytest.mark.parametrize(
    "options",
    [
        dict(at_a_time=2),
        pytest.param(dict(at_a_time=2, mesh=2), marks=pytest.mark.slow),
        pytest.param(dict(mesh=2), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_sweep_shows_its_population(options):
    """Each slice without what fills it; a member is as it would be alone."""
    if "mesh" in options:
        options = options | dict(mesh=train.data_mesh(options["mesh"]))
    seen = []
    hooks = [train.every(3, seen.append)]
    found = train.sweep(trial, HYPERS, MOVED, hooks=hooks, **SHORT, **options)
    bounds = [(0, 2), (2, 3)] if "at_a_time" in options else [(0, 3)]
    assert [(s.step, s.members) for s in seen] == [
        (step, members) for members in bounds for step in (3, 6)
    ]
    for snapshot in seen:
        first, end = snapshot.members
        for leaf in jax.tree.leaves(snapshot.state):
            assert leaf.shape[0] == end - first
        for n in range(first, end):
            member = jax.tree.map(lambda a, n=n: a[n], snapshot.state)
            if snapshot.step == 6:
                assert_same_bits(member[:2], found.member(n)[:2])
            alone = []
            hook = [train.every(3, alone.append)]
            hyper = {"rate": HYPERS["rate"][n]}
            train.fit(*trial(hyper), MOVED, hooks=hook, **SHORT)
            same = next(s for s in alone if s.step == snapshot.step).state
            close = lambda a, b: np.testing.assert_allclose(a, b, 1e-9, 1e-12)
            jax.tree.map(close, plain(member), plain(same))


def test_true_ends_a_slice():
    """The next one begins; what the first has no rows of is NaN."""
    stop = lambda snapshot: snapshot.members == (0, 2) and snapshot.step == 3
    options = dict(at_a_time=2, log_every=3, hooks=[train.every(3, stop)])
    found = train.sweep(trial, HYPERS, MOVED, **SHORT, **options)
    assert found.state.step.tolist() == [3, 3, 6]
    assert np.isnan(found.means["loss"]).tolist() == [[False, True]] * 2 + [[False] * 2]


def test_errors():
    with pytest.raises(ValueError, match="updates: expected an integer from 1, got 0"):
        train.every(0, nothing)
    with pytest.raises(ValueError, match=r"call: expected a function of \(snapshot\)"):
        train.every(1, lambda: None)
    one = train.every(1, nothing)
    for hooks, got in (
        (nothing, "function"),
        ([nothing], "function in it"),
        (one, "Hook"),
        (iter([one]), "list_iterator"),
        (None, "NoneType"),
    ):
        with pytest.raises(ValueError, match=rf"list of train\.every.*, got {got}\."):
            fit(start(), draw, steps=1, hooks=hooks)
        with pytest.raises(ValueError, match=rf"list of train\.every.*, got {got}\."):
            train.sweep(trial, HYPERS, MOVED, hooks=hooks, **SHORT)
