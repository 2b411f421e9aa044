"""A sweep does all that fit does: validates, stops, survives, and takes any key."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import train
from jaxrnn.train.progress import shown
from tests.train.cases import assert_same_bits

RATES = [0.3, 0.02, 0.1, 1.5, 0.05]
HYPERS = train.grid(rate=RATES)
rng = np.random.default_rng(0)
BATCHES = [rng.normal(size=(3, 4)) + 1 for _ in range(5)]
VALID = [rng.normal(size=(3, 4)) - 1, rng.normal(size=(3, 4)) - 1]


def trial(hyper, key=jax.random.key):
    def loss(params, carry, batch, key):
        stats = carry.shared if key is None else 0.9 * carry.shared + 0.1 * batch.mean()
        losses = (params * batch - 0.5) ** 2 + 0.01 * stats
        return train.Carry(None, stats), {"loss": train.mean(losses)}

    optimizer = optax.sgd(hyper["rate"], momentum=0.5)
    state = train.init(jnp.array(2.0), optimizer, key(3), shared=jnp.zeros(()))
    return train.Trial(loss, optimizer, state)


def react(state, means, finite):
    return state.shared + 0.001


OPTIONS = dict(steps_per_call=2, progress=False)
PATIENT = dict(steps=24, valid=VALID, valid_every=2, patience=2, log_every=3)
PATIENT["update_shared"] = react


@functools.cache
def alone(n, **options):
    """Member n by `fit`."""
    hyper = {name: values[n] for name, values in HYPERS.items()}
    return train.fit(*trial(hyper), BATCHES, **PATIENT | OPTIONS | options)


def sweep(**options):
    return train.sweep(trial, HYPERS, BATCHES, **PATIENT | OPTIONS | options)


@functools.cache
def swept():
    return sweep()


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-9, 1e-9), a, b)


def test_members_stop_as_alone():
    """Each at its own update, with its own best; others go on."""
    found, ends = swept(), []
    for n in range(len(RATES)):
        fitted = alone(n)
        ends.append(int(fitted.state.step))
        member = found.member(n)
        assert member.step == ends[-1]
        close(
            (member.params, member.shared), (fitted.state.params, fitted.state.shared)
        )
        close((found.params[n], found.shared[n]), (fitted.params, fitted.shared))
        close(found.valid["loss"][n], fitted.best["loss"])
        rows = [row for row in fitted.history if row["split"] == "train"]
        for row in (row for row in rows if row["step"] % 3 == 0):
            at = found.steps.tolist().index(row["step"])
            close(found.means["loss"][n, at], row["loss"])
    assert min(ends) < max(ends)
    close(found.order()[0], np.argmin([alone(n).best["loss"] for n in range(5)]))


def test_accumulates():
    close(sweep(accumulate=2).params, swept().params)


@pytest.mark.slow
@pytest.mark.parametrize("at_a_time", [5, 2])
def test_survives_bit_for_bit(at_a_time, tmp_path):
    """Stopped in the middle of a slice; rows and arrays are those of one never stopped."""
    options = dict(at_a_time=at_a_time, save_every=3)
    told = []
    whole = sweep(folder=tmp_path / "whole", callback=told.append, **options)
    assert told == whole.history

    def stop(row):
        if row["step"] == 5 or (row["step"] == 4 and row["members"][0] == 2):
            raise KeyboardInterrupt

    tries = 0
    while tries < 9:
        tries += 1
        try:
            again = sweep(folder=tmp_path / "one", callback=stop, **options)
            break
        except KeyboardInterrupt:
            stop = lambda row: None
    assert tries == (2 if at_a_time == 2 else 1)
    plain = lambda found: (found.params, found.shared, found.means, found.valid)
    assert_same_bits(plain(again), plain(whole))
    assert_same_bits(again.state, whole.state)
    assert again.history == whole.history
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    expected = ["members-0-2", "members-2-4", "members-4-5"]
    assert names == (expected if at_a_time == 2 else ["members-0-5"])
    for name in names:
        rows = (tmp_path / "one" / name / "metrics.jsonl").read_text().splitlines()
        bounds = [int(n) for n in name.split("-")[1:]]
        assert all(json.loads(row)["members"] == bounds for row in rows)
        assert len(json.loads(rows[0])["loss"]) == bounds[1] - bounds[0]


def test_a_folder_of_another_sweep(tmp_path):
    run = functools.partial(train.sweep, trial, data=BATCHES, steps=2, **OPTIONS)
    run(hypers=HYPERS, folder=tmp_path)
    with pytest.raises(ValueError, match="expected members-0-3 or nothing"):
        run(hypers=train.grid(rate=[1, 2, 3]), folder=tmp_path)
    with pytest.raises(ValueError, match="holds another run: hypers: rate was"):
        run(hypers=train.grid(rate=RATES[::-1]), folder=tmp_path)
    hyper = {"rate": 0.1}
    alone = functools.partial(train.fit, *trial(hyper), BATCHES, steps=2)
    with pytest.raises(ValueError, match="holds a sweep"):
        alone(folder=tmp_path, **OPTIONS)
    alone(folder=tmp_path / "other", **OPTIONS)
    with pytest.raises(ValueError, match=r"folder: .* got checkpoints"):
        run(hypers=HYPERS, folder=tmp_path / "other")


def simple(hyper, key):
    def loss(params, carry, batch, key):
        noise = 0.0 if key is None else jax.random.normal(key)
        return None, {"loss": train.mean((params - batch + noise) ** 2)}

    optimizer = optax.sgd(hyper["rate"])
    return train.Trial(loss, optimizer, train.init(jnp.ones(2), optimizer, key(hyper)))


KEYS = {
    "legacy, shared": lambda hyper: jax.random.PRNGKey(9),
    "legacy, one per member": lambda hyper: jax.random.PRNGKey(hyper["seed"]),
    "typed, shared": lambda hyper: jax.random.key(0),
    "typed, one per member": lambda hyper: jax.random.key(hyper["seed"]),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(k, marks=pytest.mark.slow if "shared" in k else ()) for k in KEYS],
)
def test_keys_of_either_kind(name):
    draw = lambda key: jax.random.normal(key, (4, 2))
    hypers = train.grid(rate=[0.1], seed=[5, 6, 8])
    made = functools.partial(simple, key=KEYS[name])
    found = train.sweep(made, hypers, draw, steps=3, **OPTIONS)
    for n in range(3):
        hyper = {"rate": np.float32(0.1), "seed": hypers["seed"][n]}
        fitted = train.fit(*made(hyper), draw, steps=3, **OPTIONS)
        np.testing.assert_allclose(found.params[n], fitted.params, 1e-6)
        key = found.member(n).key
        assert key.dtype == fitted.state.key.dtype
        assert_same_bits(key, fitted.state.key)


def test_a_key_that_is_none():
    data = lambda key: jnp.ones((2, 2))
    wrong = functools.partial(simple, key=lambda hyper: hyper["rate"])
    with pytest.raises(ValueError, match="key: expected one PRNG key"):
        train.sweep(wrong, train.grid(rate=[0.1]), data, steps=1, **OPTIONS)


@pytest.mark.parametrize("values", [["lstm", "gru"], [None, 1], [[1], [1, 2]]], ids=str)
def test_what_is_no_number(values):
    with pytest.raises(ValueError, match=r"hypers\['a'\]: expected numbers"):
        train.grid(a=values)
    with pytest.raises(ValueError, match=r"hypers\['a'\]: expected numbers"):
        train.sweep(trial, {"a": values}, BATCHES, steps=1)


@pytest.mark.parametrize("values", [None, 0.1, "0.1"])
def test_an_axis_that_is_no_list(values):
    with pytest.raises(ValueError, match=r"rate: expected numbers, got .*rate=\[0.1\]"):
        train.grid(rate=values)


def test_print_shows_a_table(capsys):
    print(swept().table(most=2))
    said = capsys.readouterr().out
    assert f"{swept().valid['loss'][swept().order()[0]]:.4g}" in said
    for head in ("rate", "valid loss", "steps", "skipped"):
        assert head in said


def test_a_line_of_a_population_says_what_it_shows(capsys):
    row = swept().history[0]
    with shown(60, 0, True) as progress:
        progress.row(row, {"steps/s": "3.0"})
    said = capsys.readouterr().out
    middle = f"{np.median(row['loss']):.4g}"
    first, end = row["members"]
    assert f"{row['split']}  median of members {first} to {end - 1}  " in said
    assert f"loss {middle}" in said
    assert "steps/s 3.0" in said


def empty_loss(params, carry, batch, key):
    """Of a batch of which some rows count, or none; counts what flows."""
    xs, where = batch
    return carry + 1, {
        "loss": train.mean((params - xs) ** 2, where) + 0.5 * train.mean(xs, where)
    }


def empty_data(pattern):
    some, none = np.array([True, False, True]), np.zeros(3, bool)
    rows = np.random.default_rng(1).normal(size=(len(pattern), 3))
    return [
        (xs, some if full else none) for xs, full in zip(rows, pattern, strict=True)
    ]


def test_empty_batches_are_no_failure():
    """No update, but the carry flows; they neither end nor continue a row of failures."""
    optimizer = optax.sgd(0.1, momentum=0.9)
    start = train.init(jnp.array(2.0), optimizer, jax.random.key(0), carry=jnp.zeros(3))
    pattern = [0, 0, 0, 1, 0, 1, 0, 0]
    options = dict(max_nonfinite=2, log_every=4, **OPTIONS)
    fitted = train.fit(
        empty_loss, optimizer, start, empty_data(pattern), steps=8, **options
    )
    full = [b for b, n in zip(empty_data(pattern), pattern, strict=True) if n]
    good = train.fit(empty_loss, optimizer, start, full, steps=2, **options)
    assert_same_bits(fitted.state.params, good.state.params)
    assert_same_bits(fitted.state.opt_state, good.state.opt_state)
    assert fitted.state.carry.tolist() == [8.0] * 3
    assert (fitted.state.empty, fitted.state.skipped, fitted.state.step) == (6, 0, 8)
    assert [row["empty"] for row in fitted.history] == [3, 3]
    assert all(np.isfinite(row["loss"]) for row in fitted.history)

    data = empty_data([1, 1, 0, 1])
    data[1] = (data[1][0] * np.nan, data[1][1])
    data[3] = (data[3][0] * np.inf, data[3][1])
    with pytest.raises(train.NonFinite, match="update 4"):
        train.fit(empty_loss, optimizer, start, data, steps=4, **options)
    step, state = train.make_step(empty_loss, optimizer), start
    state, means = step(state, empty_data([0])[0])
    assert means["empty"] == train.Mean(1, 1)
    assert means["grad_norm"].weight == 0
    # What is not finite and counts for nothing is a failure all the same.
    bad = lambda p, c, b, k: (c, {"loss": train.Mean(p * jnp.nan, jnp.zeros(()))})
    state, means = train.make_step(bad, optimizer)(start, empty_data([0])[0])
    assert (state.skipped, state.empty) == (1, 0)


def test_a_term_that_counts_nothing():
    """One mean of a sum has no weight in this batch: the other decides."""
    optimizer = optax.sgd(1.0)
    state = train.init(jnp.array(2.0), optimizer, jax.random.key(0))
    batch = np.arange(6.0).reshape(2, 3), np.zeros((2, 3), bool)

    def loss(params, carry, batch, key):
        xs, none = batch
        first = train.mean(params * xs**2, none)
        return None, {"loss": first + 0.5 * train.mean(params * xs)}

    for accumulate, axis in ((1, 0), (2, 0), (3, 1)):
        step = train.make_step(loss, optimizer, accumulate=accumulate, batch_axis=axis)
        after, means = step(state, batch)
        np.testing.assert_allclose(2 - after.params, 0.5 * batch[0].mean())
        assert means["empty"].total == 0


@pytest.mark.parametrize(
    ("accumulate", "devices"),
    [(1, None), (2, None), (4, None), (1, 2), (2, 2)],
    ids=str,
)
def test_a_sum_of_means_is_cut_as_you_like(accumulate, devices):
    """Per token and per sequence, with weights of unlike denominators; one is traced."""
    rng = np.random.default_rng(2)
    batch = rng.normal(size=(5, 8)), np.array([5, 1, 0, 3, 5, 2, 4, 5])

    def whole(p, beta):
        xs, lengths = batch
        valid = np.arange(5)[:, None] < lengths
        tokens = jnp.where(valid, (p * xs - 1) ** 2, 0).sum() / lengths.sum()
        rows = lengths > 0
        sequences = jnp.where(rows, (p - xs[0]) ** 2, 0).sum() / rows.sum()
        return tokens + beta * sequences

    def loss(p, carry, batch, key):
        xs, lengths = batch
        tokens = train.mean((p * xs - 1) ** 2, jnp.arange(5)[:, None] < lengths)
        sequences = train.mean((p - xs[0]) ** 2, lengths > 0)
        return None, {"loss": sum([tokens, sequences * beta]), "tokens": tokens}

    optimizer = optax.sgd(1.0)
    state = train.init(jnp.array(0.3), optimizer, jax.random.key(0))
    beta = 0.25
    mesh = devices and train.data_mesh(devices)
    step = train.make_step(loss, optimizer, accumulate=accumulate, mesh=mesh)
    after, means = step(state, batch)
    value, gradient = jax.value_and_grad(whole)(0.3, beta)
    np.testing.assert_allclose(means["loss"].value, value, 1e-12)
    np.testing.assert_allclose(0.3 - after.params, gradient, 1e-12)
    found = train.evaluate(loss, 0.3, [batch, batch])
    np.testing.assert_allclose(found["loss"], value, 1e-12)


def test_only_means_are_added():
    with pytest.raises(ValueError, match=r"expected a train.Mean on both sides of \+"):
        train.mean(jnp.ones(2)) + 1.0


def test_strict_dtypes():
    """Half-wide types meet nowhere unasked, in one model and in a population."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        loss = lambda p, c, b, key: (None, {"loss": train.mean((p - b) ** 2)})
        optimizer = optax.sgd(0.1)
        state = train.init(jnp.float32(0), optimizer, jax.random.key(0))
        step = train.make_step(loss, optimizer, accumulate=3)
        new, _ = step(state, jnp.arange(3, dtype=jnp.float32))
        np.testing.assert_allclose(new.params, 0.2, 1e-6)
        half = train.init(jnp.bfloat16(0), optimizer, jax.random.key(0))
        step = train.make_step(loss, optimizer, accumulate=3)
        new, _ = step(half, jnp.arange(3, dtype=jnp.bfloat16))
        np.testing.assert_allclose(float(new.params), 0.2, 2**-8)


def diverging(hyper):
    def loss(params, carry, batch, key):
        return None, {
            "loss": train.mean(
                (params - batch) ** 2 / jnp.where(hyper["bad"], 0.0, 1.0)
            )
        }

    optimizer = optax.sgd(0.1)
    return train.Trial(
        loss, optimizer, train.init(jnp.ones(()), optimizer, jax.random.key(0))
    )


@pytest.mark.parametrize(
    ("bad", "valid"),
    [
        ([1, 0], VALID),
        ([1, 1], None),
        pytest.param([0, 1], VALID, marks=pytest.mark.slow),
        pytest.param([0, 1], None, marks=pytest.mark.slow),
        pytest.param([1, 1], VALID, marks=pytest.mark.slow),
    ],
    ids=lambda value: "valid" if value is VALID else str(value),
)
def test_a_slice_that_diverges_at_once(bad, valid):
    """Before its first validation and its first row; the other slice has its results."""
    options = dict(steps=20, log_every=20, valid=valid, valid_every=20, max_nonfinite=2)
    hypers = train.grid(bad=bad)
    found = train.sweep(diverging, hypers, BATCHES, at_a_time=1, **options, **OPTIONS)
    last = found.means["loss"][:, -1]
    assert np.isnan(last).tolist() == [bool(b) for b in bad]
    assert [int(n) for n in found.state.skipped] == [2 * b for b in bad]
    skipped = sum(sum(r["skipped"]) for r in found.history if r["split"] == "train")
    assert skipped == 2 * sum(bad)
    if valid is not None and not all(bad):
        assert np.isnan(found.valid["loss"]).tolist() == [bool(b) for b in bad]
        assert found.order()[0] == bad.index(0)


def test_numpy_numbers_scale_means():
    mean = train.mean(jnp.arange(4.0))
    assert float((np.float32(0.5) * mean).value) == 0.75
    assert float((mean * np.float64(2)).value) == 3.0
