"""What feeds `fit`: batches and nothing else, in one room a form, and known by its kind."""

import itertools
import json

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import train
from jaxrnn.train import batches
from jaxrnn.train.feed import Fed

R = np.random.default_rng(0)
XS, YS, LABELS = R.normal(size=(5, 8, 3)), R.normal(size=(5, 8, 3)), np.arange(8)
WORDS = [R.normal(size=(n % 9 + 1, 2)) for n in range(95)]


def arrays(**options):
    return train.arrays((XS, LABELS), 2, batch_axis=(1, 0), **options)


def buckets(**options):
    options = {"seed": 3, "epochs": 1} | options
    return train.buckets(WORDS, 2, widths=(2, 5, 9), labels=np.arange(95), **options)


def fed(data, size=4):
    return Fed(data, size, 1, None)


ONE = {
    "tuple": (XS, LABELS),
    "tuple of like": (XS, YS),
    "tuple of a tree": (XS, {"labels": LABELS}),
    "nested": ((XS, YS), LABELS),
    "list": [XS, LABELS],
    "dict": {"xs": XS, "labels": LABELS},
    "array": XS,
    "device array": jnp.ones((3, 2)),
    "bucket": buckets()[0],
    "window": train.Window(LABELS, LABELS, LABELS > 2),
}


@pytest.mark.parametrize("check", [fed, lambda data: batches.check_ends("data", data)])
@pytest.mark.parametrize("name", ONE)
def test_one_batch_is_no_data(name, check):
    with pytest.raises(
        ValueError, match=r"data: .* got one batch, .*\[batch\].*arrays"
    ):
        check(ONE[name])


MANY = {
    "list": [(XS, LABELS), (YS, LABELS)],
    "list of arrays": [XS, XS[:4]],
    "tuple": ((XS, LABELS), (YS, LABELS)),
    "tuple of buckets": (buckets()[0], buckets()[1]),
    "tuple of dicts": ({"xs": XS}, {"xs": YS}),
    "generator": (b for b in [XS, YS]),
}


@pytest.mark.parametrize("name", MANY)
def test_many_batches_are(name):
    batches.check_ends("data", MANY[name])
    source = fed(MANY[name])
    first = source.take(1).batches[0]
    assert jax.tree.structure(first) == jax.tree.structure(source.take(1).batches[0])


NONE = {
    "nothing": (None, "expected an iterable of batches, got NoneType"),
    "a number": (3, "expected an iterable of batches, got int"),
    "text": ("abc", "expected an iterable of batches, got str"),
    "no batch": ([], "expected at least one batch"),
    "batches of text": ([np.array(["a"])], r"data: batch: .*got <U1"),
    "batches of None": ([None], "expected batches, trees of arrays, got None"),
    "later": ([(XS, LABELS), (XS, None)], None),
    "text later": ([{"x": XS}, {"x": "abc"}], r"batch\['x'\]: .*got <U3"),
    "keys": ([jax.random.key(0)], "data: batch: expected an array of numbers"),
    "nothing in time": (
        iter([XS, None]),
        "expected batches, trees of arrays, got None",
    ),
}


@pytest.mark.parametrize("name", NONE)
def test_what_gives_no_batches(name):
    data, said = NONE[name]
    if said is None:
        fed(data)
        return
    with pytest.raises(ValueError, match=said):
        fed(data).take(2)


def mapped(data):
    return data.map(lambda batch: batch)


SOURCE = grain.MapDataset.source([XS, YS])
STREAM = SOURCE.to_iter_dataset()
WITHOUT_END = {
    "arrays": arrays(),
    "buckets": buckets(epochs=None),
    "streams": train.streams(np.arange(40), 2, 3),
    "mapped": mapped(arrays(seed=2)),
    "read ahead": arrays().to_iter_dataset(),
    "its iterator": iter(arrays()),
    "from the fifth": arrays()[5:],
    "every second": buckets(epochs=None)[::2],
    "batched": mapped(arrays()).batch(64).to_iter_dataset(),
    "filtered": mapped(arrays()).filter(lambda batch: True).to_iter_dataset(),
    "repeated": SOURCE.repeat(),
    "repeated later": mapped(grain.experimental.RepeatIterDataset(STREAM)),
    "count": itertools.count(),
    "cycle": itertools.cycle([XS]),
    "repeat": itertools.repeat(XS),
}
WITH_END = {
    "arrays": arrays(epochs=2),
    "buckets": mapped(buckets()).to_iter_dataset(),
    "a slice": arrays()[:10],
    "iterator": iter(arrays(epochs=1)),
    "repeated": SOURCE.repeat(3),
    "repeated later": mapped(grain.experimental.RepeatIterDataset(STREAM, 3)),
    "limited": grain.experimental.LimitIterDataset(
        grain.experimental.RepeatIterDataset(STREAM), 3
    ),
    "repeat": itertools.repeat(XS, 3),
    "list": [XS],
}


@pytest.mark.parametrize("name", WITHOUT_END)
def test_what_has_no_end(name):
    with pytest.raises(ValueError, match=r"valid: expected batches that end.*epochs=1"):
        batches.check_ends("valid", WITHOUT_END[name])


@pytest.mark.parametrize("name", WITH_END)
def test_what_ends(name):
    assert sum(1 for _ in batches.each("valid", WITH_END[name])) < 100


def test_a_function_is_no_validation():
    with pytest.raises(ValueError, match=r"valid: expected an iterable.*function"):
        batches.check_ends("valid", lambda key: XS)


def again(batches):
    """Batches of unknown order, and which iterator they come from."""
    return type("Own", (), {"__iter__": lambda self: iter(batches)})()


RAGGED = {
    "buckets": lambda: buckets(run=3),
    "not shuffled": lambda: buckets(seed=None),
    "one by one": lambda: buckets(run=1),
    "list": lambda: list(buckets(run=3)),
    "iterator": lambda: again(list(buckets(run=3))),
    "mapped": lambda: mapped(buckets(run=3)),
}


@pytest.mark.parametrize("name", RAGGED)
def test_one_room_a_form(name):
    """Whatever comes in a row and wherever a call must end: one program for each width."""
    source, rooms, taken = fed(RAGGED[name](), 8), {}, []
    want = list(RAGGED[name]())
    for n in range(60):
        group = source.take(n % 8 + 1)
        assert 1 <= group.count <= n % 8 + 1
        room, width = group.stacked.xs.shape[:2]
        assert rooms.setdefault(width, room) == room <= 8
        for i, batch in enumerate(group.batches):
            np.testing.assert_array_equal(group.stacked.labels[i], batch.labels)
            taken.append(batch)
    assert set(rooms) == {2, 5, 9}
    for a, b in zip(taken, itertools.cycle(want), strict=False):
        np.testing.assert_array_equal(a.labels, b.labels)
        np.testing.assert_array_equal(a.xs, b.xs)


def test_rooms_are_the_runs():
    """22 batches of width 2 are 8 runs of up to 3, 21 of width 9 are 7."""
    for data in (buckets(run=3), list(buckets(run=3))):
        source = fed(data, 50)
        for _ in range(40):
            source.take(50)
        rooms = {form[1][0][0][0]: room for form, room in source.rooms.items()}
        assert set(rooms) == {2, 5, 9}
        assert all(3 <= room <= 9 for room in rooms.values())
    source = fed([(XS, LABELS)] * 3, 50)
    assert source.take(50).count == 50


def test_integers_that_do_not_fit():
    with jax.enable_x64(False):
        source = fed([np.array([1, 2**31 - 1]), np.array([3, 2**31])])
        with pytest.raises(ValueError, match="integers that int32 holds, got int64"):
            source.take(2)
        np.testing.assert_array_equal(
            fed([np.array([5, -(2**31)])]).take(1).stacked[0], [5, -(2**31)]
        )


class Own:
    def __init__(self, key="i"):
        self.key = key

    def __iter__(self):
        self.i = 0
        return self

    def __next__(self):
        self.i += 1
        return np.full(2, self.i)

    def get_state(self):
        return {self.key: self.i}

    def set_state(self, state):
        self.i = state[self.key]


KINDS = {
    "list": lambda: [np.full(2, i) for i in range(5)],
    "grain": lambda: train.arrays(np.arange(8), 2, batch_axis=0),
    "iterator": Own,
}


@pytest.mark.parametrize("a", KINDS)
@pytest.mark.parametrize("b", KINDS)
def test_a_position_is_of_one_kind(a, b):
    one = fed(KINDS[a]())
    one.take(2)
    other = fed(KINDS[b]())
    position = json.loads(json.dumps(one.position))
    if a != b:
        with pytest.raises(
            ValueError, match=r"data: the folder's run was given .*another"
        ):
            other.seek(position)
        return
    other.seek(position)
    np.testing.assert_array_equal(other.take(1).batches[0], one.take(1).batches[0])
    position.pop("kind")  # as folders had it before
    other.seek(position)
    assert one.kind["kind"] == a


def test_a_position_that_is_another_iterators():
    one = fed(Own())
    one.take(2)
    with pytest.raises(
        ValueError, match=r"data: expected an iterator.*KeyError.*folder"
    ):
        fed(Own("j")).seek(one.position)


def test_kinds_are_told():
    told = fed(mapped(buckets(run=5)).repeat(2)).kind
    assert json.loads(json.dumps(told)) == {
        "kind": "grain",
        "name": "buckets",
        "batch": 2,
        "seed": 3,
        "widths": [2, 5, 9],
        "run": 5,
        "rows": 95,
        "epochs": 1,
        "then": ["MapMapDataset", "RepeatMapDataset"],
    }
    assert fed(arrays(seed=1)).kind != fed(arrays(seed=2)).kind
    assert fed([XS, YS]).kind == {"kind": "list", "batches": 2}
    assert fed(Own()).kind == {"kind": "iterator", "name": "Own"}
    assert json.dumps(fed(train.streams(np.arange(40), 2, 3)).kind)


def test_where_rows_are():
    data = train.arrays({"x": XS, "y": LABELS}, 3)
    for some in (data, data[3:], data.to_iter_dataset()):
        assert batches.batch_axis_of(some, None) == {"x": 1, "y": 0}
        assert batches.batch_axis_of(some, 0) == 0
    assert batches.batch_axis_of(mapped(data), None) is None
    assert batches.batch_axis_of(buckets(), None) == train.Bucket(1, 0, 0)
    assert buckets()[0].batch_axis == train.Bucket(1, 0, 0)


LAST = train.arrays(LABELS, 3, drop_last=False)
ROWS = {
    "a short last batch": (LAST, None, 3, "of 2"),
    "the only one": (train.arrays(LABELS, 9, drop_last=False), None, 3, "of 8"),
    "none divides": (LAST, None, 4, "of (2, 3|3, 2)"),
    "buckets": (buckets(), None, 4, "of 2"),
    "sliced": (LAST[5:], None, 3, "of 2"),
    "a list": ([XS, XS[:, :3]], 1, 2, "that 2 divides"),
    "fine": (LAST, None, 1, None),
    "fine with two": (buckets(), None, 2, None),
    "a fine list": ([XS, XS[:, :4]], None, 4, None),
    "unknown": (mapped(LAST), None, 4, None),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_do_not_divide(name):
    data, axis, parts, said = ROWS[name]
    if said is None:
        batches.check_rows(data, axis, parts)
        return
    with pytest.raises(ValueError, match=said):
        batches.check_rows(data, axis, parts)


def test_arrays_of_jax_are_batches():
    """In a list and from an iterator; their dtype is asked for and not converted."""
    loss = lambda p, c, batch, key: (None, {"loss": train.mean((p - batch) ** 2)})
    optimizer = optax.sgd(0.5)
    state = train.init(jnp.zeros(()), optimizer, jax.random.key(0))
    for data in ([jnp.ones((2, 3))], itertools.repeat(jnp.ones((2, 3)))):
        fitted = train.fit(loss, optimizer, state, data, steps=2, progress=False)
        assert fitted.params == 1


def test_no_room_for_one_alone():
    """Where calls end decides how long a first run is; a room of one has other bits."""
    short, long = np.zeros((2, 3)), np.zeros((4, 3))
    pattern = [short, long, long, long, short, short]
    for most in (1, 2, 3):
        fed = Fed(iter(pattern * 3), 3, 0, None)
        groups = [fed.take(most) for _ in range(6)]
        assert {len(group.stacked) for group in groups} <= {2, 3}
