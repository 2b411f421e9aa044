"""The loop: the same bits however cut, resumed or fed; rows that say what was done."""

import itertools
import json
import os
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import train
from jaxrnn.train.checkpoint import Folder
from tests.train.cases import (
    CELL,
    OPTIMIZER,
    B,
    F,
    assert_same_bits,
    batches,
    draw,
    fit,
    loss,
    start,
)

LIST = batches(7)
RAGGED = train.buckets(
    [np.random.default_rng(n).normal(size=(n % 9, F)) for n in range(30)],
    B,
    seed=2,
    widths=(5, 8),
)
DATA = {"drawn": draw, "list": LIST, "buckets": RAGGED}


def ragged_loss(params, carry, batch, key):
    if isinstance(batch, train.Bucket):
        batch = batch.xs, batch.lengths
    return loss(params, carry, batch, key)


def run(data, steps, folder=None, **options):
    options = {"batch_axis": (1, 0), "progress": False, "steps_per_call": 4} | options
    state = start(carry=True)
    return train.fit(
        ragged_loss, OPTIMIZER, state, data, steps=steps, folder=folder, **options
    )


def rows(folder, name="metrics.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.fixture(
    scope="module",
    params=[
        "drawn",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("list", "buckets")),
    ],
)
def whole(request, tmp_path_factory):
    """An uninterrupted run: its data, what it returned, its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    options = dict(save_every=3, log_every=5, valid=LIST[:3], valid_every=6)
    fitted = run(DATA[request.param], 14, folder, **options)
    return DATA[request.param], options, fitted, folder


def test_is_make_step_in_a_loop(whole):
    data, _, fitted, _ = whole
    step, state = train.make_step(ragged_loss, OPTIMIZER), start(carry=True)
    source = itertools.cycle(data) if isinstance(data, list) else data
    if data is draw:
        key = jax.random.fold_in(state.key, 2**32 - 1)
        source = (draw(jax.random.fold_in(key, n)) for n in range(14))
    totals = []
    for batch in itertools.islice(source, 14):
        state, means = step(state, batch)
        totals.append(means["loss"])
    close = lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-12)
    jax.tree.map(close, state.params, fitted.state.params)
    jax.tree.map(close, state.carry, fitted.state.carry)
    found = [row["loss"] for row in fitted.history if row["split"] == "train"]
    want = [
        sum(m.total for m in some) / sum(m.weight for m in some)
        for some in (totals[:5], totals[5:10], totals[10:])
    ]
    close(found, want)


@pytest.mark.parametrize("steps_per_call", [3, pytest.param(2, marks=pytest.mark.slow)])
def test_calls_do_not_change_bits(whole, steps_per_call, tmp_path):
    data, options, fitted, folder = whole
    again = run(data, 14, tmp_path, steps_per_call=steps_per_call, **options)
    assert_same_bits(again.state, fitted.state)
    assert_same_bits(again.params, fitted.params)
    assert again.history == fitted.history == rows(tmp_path) == rows(folder)


@pytest.mark.slow
def test_one_update_a_call(whole):
    """Room for a single batch is another program for XLA, so these are not the bits."""
    data, options, fitted, _ = whole
    again = run(data, 14, steps_per_call=1, **options)
    close = lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-12)
    jax.tree.map(close, again.state.params, fitted.state.params)
    assert [r["step"] for r in again.history] == [r["step"] for r in fitted.history]


def test_resumed_is_uninterrupted(whole, tmp_path):
    """Stopped by an exception between two checkpoints, and in the middle of a row."""
    data, options, fitted, folder = whole

    def stop(row):
        if row["step"] == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, 14, tmp_path, callback=stop, **options)
    again = run(data, 14, tmp_path, **options)
    assert_same_bits(again[:2], fitted[:2])
    assert again[2:] == fitted[2:]
    assert (tmp_path / "metrics.jsonl").read_bytes() == (
        folder / "metrics.jsonl"
    ).read_bytes()
    hashed = lambda path: json.loads(
        (path / "checkpoints/14/_CHECKPOINT_METADATA").read_text()
    )["custom_metadata"]["hash"]
    assert hashed(tmp_path) == hashed(folder)
    assert run(data, 14, tmp_path, **options).history == fitted.history


def test_rows_after_the_checkpoint_are_cut(whole, tmp_path):
    data, options, fitted, _ = whole
    run(data, 9, tmp_path, **options)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 10, "split": "train", "loss": 1}\n{"step": 11, "spl')
    again = run(data, 14, tmp_path, **options)
    # The run of 9 steps closed a row and validated there; all others are the same.
    assert [r for r in again.history if r["step"] not in (9, 10)] == [
        r for r in fitted.history if r["step"] != 10
    ]
    timing = rows(tmp_path, "timing.jsonl")
    assert [row["step"] for row in timing] == sorted({row["step"] for row in timing})
    tokens = {"tokens_per_s"} if data is RAGGED else set()
    assert set(timing[0]) == {"step", "seconds", "steps_per_s"} | tokens


def test_validation_weighs_tokens(whole):
    _, _, fitted, _ = whole
    found = train.evaluate(loss, fitted.state.params, LIST[:3])
    total, weight = 0.0, 0
    carry = jnp.zeros((B, 4))
    for xs, lengths in LIST[:3]:  # without a carry each starts anew
        for b in range(B):
            h = carry[b]
            for t in range(lengths[b]):
                h, _ = CELL.step(fitted.state.params, h, xs[t, b])
                total += ((h - xs[t, b].sum()) ** 2).sum()
                weight += 1
    np.testing.assert_allclose(found["loss"], total / weight, 1e-10)
    assert fitted.history[-1] == {"step": 14, "split": "valid"} | found
    best = min(
        (r for r in fitted.history if r["split"] == "valid"), key=lambda r: r["loss"]
    )
    assert fitted.best == best


@pytest.mark.slow
def test_patience_and_the_best(tmp_path):
    """Validated on what it must unlearn, it stops, and gives back the best."""
    valid = [(xs, lengths) for xs, lengths in batches(2, seed=5)]
    for xs, _ in valid:
        xs *= -1
    wrong = [(-xs, lengths) for xs, lengths in valid]
    options = dict(valid=valid, valid_every=2, patience=3, save_every=2)
    fitted = fit(start(), wrong, steps=400, folder=tmp_path, **options)
    losses = [r["loss"] for r in fitted.history if r["split"] == "valid"]
    assert len(losses) < 200
    assert np.argmin(losses) == len(losses) - 4
    assert fitted.best["loss"] == min(losses)
    again = train.evaluate(loss, fitted.params, valid)["loss"]
    np.testing.assert_allclose(again, min(losses), 1e-12)
    ended = fitted.history[-1]["step"]
    assert (tmp_path / "checkpoints" / str(ended)).exists()
    resumed = fit(start(), wrong, steps=400, folder=tmp_path, **options)
    assert_same_bits(resumed.state, fitted.state)
    assert resumed.history == fitted.history


@pytest.mark.slow
def test_on_a_mesh(whole):
    """Four devices, ragged rows: the sum over all is that of one device."""
    data, _, fitted, _ = whole
    axes = train.Bucket(1, 0, None) if data is RAGGED else (1, 0)
    split = run(data, 14, mesh=train.data_mesh(), batch_axis=axes, log_every=5)
    close = lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-12)
    jax.tree.map(close, split.state.params, fitted.state.params)
    want = [row["loss"] for row in fitted.history if row["split"] == "train"]
    close([row["loss"] for row in split.history], want)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(RAGGED, marks=pytest.mark.slow),
        pytest.param(LIST, marks=pytest.mark.slow),
        draw,
    ],
    ids=["buckets", "list", "drawn"],
)
def test_a_mesh_is_one_line(data):
    """Nobody says where the rows are, of training and of validation data."""
    options = dict(valid=LIST[:2], valid_every=2, batch_axis=None)
    split = run(data, 4, mesh=train.data_mesh(2), **options)
    plainly = run(data, 4, **options)
    close = lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-12)
    jax.tree.map(close, split.state.params, plainly.state.params)
    close(split.best["loss"], plainly.best["loss"])


ENDLESS = {
    "arrays": lambda: train.arrays(LIST[0], 4),
    "buckets": lambda: RAGGED,
    "repeated": lambda: itertools.repeat(LIST[0]),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_validation_that_never_ends(name):
    valid = ENDLESS[name]()
    with pytest.raises(ValueError, match=r"valid: expected batches that end.*epochs=1"):
        run(draw, 4, valid=valid)
    with pytest.raises(ValueError, match=r"batches: expected batches that end"):
        train.evaluate(ragged_loss, start().params, valid)


def test_validation_that_is_given_once():
    """A generator: the second validation would have none, and it may never end."""
    endless = (batch for batch in itertools.repeat(LIST[0]))
    for valid in (endless, iter(LIST), map(tuple, LIST)):
        with pytest.raises(ValueError, match=r"valid: .* anew, got a .*islice\(valid"):
            run(draw, 4, valid=valid)
    assert next(endless) is LIST[0]


def test_a_short_last_batch_is_told_first():
    data = train.arrays(LIST[0], 3, batch_axis=(1, 0), drop_last=False)
    seen = []
    for cut in (dict(accumulate=3), dict(mesh=train.data_mesh(3))):
        with pytest.raises(ValueError, match=r"data: .* 3 divides .* some of 2"):
            run(data, 9, callback=seen.append, **cut)
    assert not seen


def test_a_carry_that_devices_cannot_split():
    with pytest.raises(
        ValueError, match=r"carry.*rows on axis 0 that 3 devices divide"
    ):
        run(draw, 2, mesh=train.data_mesh(3))


@pytest.mark.slow
def test_the_given_state_stays():
    state = start(carry=True)
    before = jax.tree.map(np.array, (state.params, state.carry))
    fit(state, draw, steps=2)
    fit(state, draw, steps=2, mesh=train.data_mesh(2))
    assert_same_bits((state.params, state.carry), before)


def test_sigterm_saves_and_leaves(tmp_path):
    before = signal.getsignal(signal.SIGTERM)

    def end(row):
        if row["step"] == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    options = dict(folder=tmp_path, log_every=2, save_every=100)
    with pytest.raises(SystemExit) as left:
        fit(start(), draw, steps=20, callback=end, **options)
    assert left.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"0", "8"}
    resumed = fit(start(), draw, steps=20, **options)
    assert_same_bits(resumed.state, fit(start(), draw, steps=20).state)


def test_from_a_thread(tmp_path):
    """No signal handler can be set there; all else works."""
    found = []
    work = lambda: found.append(fit(start(), draw, steps=3, folder=tmp_path))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert_same_bits(found[0].state, fit(start(), draw, steps=3).state)


def test_two_writers(tmp_path):
    def second(row):
        fit(start(), draw, steps=2, folder=tmp_path)

    with pytest.raises(BlockingIOError, match="another run is writing"):
        fit(start(), draw, steps=2, folder=tmp_path, callback=second)
    fit(start(), draw, steps=2, folder=tmp_path)  # the first one's lock is gone with it


@pytest.mark.slow
def test_a_second_fit_compiles_nothing():
    """Not even with a state and steps of its own; an unhashable loss works too."""
    fit(start(), draw, steps=2)
    traced = []

    def counted(params, carry, batch, key):
        traced.append(params)
        return loss(params, carry, batch, key)

    options = dict(valid=LIST[:1], batch_axis=(1, 0), progress=False, steps_per_call=4)
    train.fit(counted, OPTIMIZER, start(), draw, steps=2, **options)
    assert traced
    traced.clear()
    train.fit(counted, OPTIMIZER, start(), draw, steps=3, **options)
    assert not traced

    class Unhashable:
        __hash__ = None

        def __call__(self, *args):
            return loss(*args)

    one = train.fit(Unhashable(), OPTIMIZER, start(), draw, steps=2, **options)
    assert_same_bits(one.state, fit(start(), draw, steps=2).state)


def test_data_that_end():
    ended = (batch for batch in LIST)
    with pytest.raises(ValueError, match="data: expected batches for all steps"):
        run(ended, 14)
    assert int(run(iter(LIST), 7).state.step) == 7


def test_data_that_cannot_resume(tmp_path):
    with pytest.raises(ValueError, match="get_state and set_state"):
        run((batch for batch in LIST), 14, tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_other_data_than_the_folders(tmp_path):
    run(draw, 2, tmp_path / "drawn")
    with pytest.raises(ValueError, match="another run: data: kind was drawn, now list"):
        run(LIST, 4, tmp_path / "drawn")
    run(LIST, 2, tmp_path / "fed")
    with pytest.raises(ValueError, match="another run: data: kind was list, now drawn"):
        run(draw, 4, tmp_path / "fed")


def test_data_that_end_lose_no_update(tmp_path):
    """What was done before is recorded and saved."""

    class Once:
        """Seven batches, with a position, and no second round."""

        def __init__(self):
            self.given = 0

        __iter__ = lambda self: self
        get_state = lambda self: self.given
        set_state = lambda self, given: setattr(self, "given", given)

        def __next__(self):
            if self.given == 7:
                raise StopIteration
            self.given += 1
            return LIST[self.given - 1]

    with pytest.raises(ValueError, match="they ended"):
        run(Once(), 14, tmp_path, steps_per_call=3)
    assert [row["step"] for row in rows(tmp_path)] == [3, 6]
    assert (tmp_path / "checkpoints" / "6").exists()


@pytest.mark.slow
def test_arrays_that_are_filled_again():
    """An iterator may reuse its arrays; each update has its own batch."""

    def reusing():
        xs, lengths = (np.empty_like(a) for a in LIST[0])
        for batch in LIST:
            xs[:], lengths[:] = batch
            yield xs, lengths

    assert_same_bits(run(reusing(), 6).state, run(LIST, 6).state)


def test_a_position_of_bytes(tmp_path):
    class Data:
        def __init__(self):
            self.given = 0

        def __iter__(self):
            return Data()

        def __next__(self):
            self.given += 1
            return LIST[(self.given - 1) % 7]

        get_state = lambda self: bytes([255, self.given])
        set_state = lambda self, state: setattr(self, "given", state[1])

    run(Data(), 5, tmp_path)
    again = run(Data(), 9, tmp_path)
    assert_same_bits(again.state, run(LIST, 9).state)


@pytest.mark.slow
def test_few_batches_of_one_shape_run_alone():
    """Padding a few to many steps a call would cost more than it saves: same result."""
    one = run(RAGGED, 14, steps_per_call=30).state
    close = lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-12)
    jax.tree.map(close, one.params, run(RAGGED, 14).state.params)


def test_sigterm_in_the_last_save(tmp_path, monkeypatch):
    save = Folder.save

    def ended(self, step, *args, **notes):
        save(self, step, *args, **notes)
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Folder, "save", ended)
    with pytest.raises(SystemExit) as left:
        fit(start(), draw, steps=4, folder=tmp_path)
    assert left.value.code == 143


def test_validation_may_come_later(tmp_path):
    run(draw, 4, tmp_path)
    fitted = run(draw, 8, tmp_path, valid=LIST[:2], valid_every=2)
    assert [r["step"] for r in fitted.history if r["split"] == "valid"] == [6, 8]
    run(draw, 10, tmp_path)


def test_rows_that_are_gone(tmp_path):
    run(draw, 8, tmp_path)
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"metrics.jsonl: expected the \d+ bytes"):
        run(draw, 12, tmp_path)


OPTIONS = {
    "steps": 0,
    "steps_per_call": 0,
    "log_every": 1.5,
    "save_every": -1,
    "valid_every": 0,
    "keep": 0,
    "max_nonfinite": True,
    "accumulate": 0,
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name):
    with pytest.raises(ValueError, match=f"{name}: expected an integer from 1, got"):
        fit(start(), draw, **{"steps": 1, name: OPTIONS[name]})


def test_more_errors():
    with pytest.raises(ValueError, match="patience: expected `valid`"):
        fit(start(), draw, steps=1, patience=2)
    with pytest.raises(ValueError, match="valid: expected at least one batch"):
        fit(start(), draw, steps=1, valid=[])
    with pytest.raises(ValueError, match="mesh of one axis"):
        fit(start(), draw, steps=1, mesh="all")
