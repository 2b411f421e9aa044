"""Batches of real data: rows where they belong, epochs whole, any position resumes."""

import itertools
import threading

import cloudpickle
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxrnn import train

R = np.random.default_rng(0)
XS, LABELS = R.normal(size=(4, 10, 3)), np.arange(10)
TOKENS = R.integers(0, 50, 103)
LENGTHS = [3, 9, 4, 2, 1, 16, 7, 8, 5, 5, 0]
WORDS = [R.normal(size=(n, 2)) + 10 for n in LENGTHS]


def arrays(**options):
    return train.arrays((XS, LABELS), 3, batch_axis=(1, 0), **options)


def epoch(data, number, count):
    return [data[i] for i in range(number * count, (number + 1) * count)]


def test_arrays_keep_rows_together():
    for xs, labels in epoch(arrays(seed=1), 0, 3):
        assert xs.shape == (4, 3, 3)
        np.testing.assert_array_equal(xs, XS[:, labels])


def test_arrays_shuffle_each_epoch_anew():
    data = arrays(seed=1, drop_last=False)
    orders = [
        np.concatenate([labels for _, labels in epoch(data, n, 4)]) for n in range(3)
    ]
    for order in orders:
        assert sorted(order) == list(range(10))
    assert len({tuple(order) for order in orders}) == 3
    other = np.concatenate(
        [labels for _, labels in epoch(arrays(seed=2, drop_last=False), 0, 4)]
    )
    assert (other != orders[0]).any()
    np.testing.assert_array_equal(arrays(seed=1, drop_last=False)[5][1], data[5][1])


def test_arrays_in_order_and_ending():
    found = list(arrays(epochs=2))
    assert [labels.tolist() for _, labels in found] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
    ] * 2
    last = list(arrays(epochs=1, drop_last=False))[-1]
    np.testing.assert_array_equal(last[0], XS[:, 9:])


def test_streams_flow_and_cover():
    """Row by row and window by window, the corpus again; targets are one ahead."""
    count, rows = 3, 25  # (103 - 1) // 4 tokens a row, 8 a window
    data = train.streams(TOKENS, 4, 8)
    for b in range(4):
        inputs = np.concatenate([w.inputs[:, b] for w in epoch(data, 0, count)])
        targets = np.concatenate([w.targets[:, b] for w in epoch(data, 0, count)])
        np.testing.assert_array_equal(inputs, TOKENS[b * rows : b * rows + 24])
        np.testing.assert_array_equal(targets, TOKENS[b * rows + 1 : b * rows + 25])
    assert data[0].resets[0].all()
    assert sum(w.resets.sum() for w in epoch(data, 0, count)) == 4
    assert data[3].resets[0].all()
    np.testing.assert_array_equal(data[4].inputs, data[1].inputs)


def test_streams_of_a_list():
    one, other = train.streams(TOKENS.tolist(), 4, 8), train.streams(TOKENS, 4, 8)
    np.testing.assert_array_equal(one[4].targets, other[4].targets)


def test_streams_reset_at_documents():
    data = train.streams(TOKENS, 4, 8, separator=int(TOKENS[35]))
    for window in epoch(data, 0, 3)[1:]:
        np.testing.assert_array_equal(window.resets, window.inputs == TOKENS[35])
    assert sum(w.resets.sum() for w in epoch(data, 0, 3)[1:]) >= 1


def test_streams_read_a_file(tmp_path):
    TOKENS.astype(np.uint8).tofile(tmp_path / "tokens.bin")
    mapped = np.memmap(tmp_path / "tokens.bin", np.uint8, mode="r")
    one, other = train.streams(mapped, 4, 8), train.streams(TOKENS, 4, 8)
    for a, b in itertools.islice(zip(one, other, strict=True), 5):
        np.testing.assert_array_equal(a.inputs, b.inputs)
        assert a.inputs.dtype == np.uint8


def buckets(**options):
    return train.buckets(WORDS, 3, labels=np.arange(11), widths=(4, 8, 16), **options)


def test_buckets_hold_every_sequence_once():
    for number in range(2):
        seen = []
        for b in epoch(buckets(seed=4), number, 5):
            for i, (length, label) in enumerate(zip(b.lengths, b.labels, strict=True)):
                if length or (not label and not b.xs[:, i].any()):
                    np.testing.assert_array_equal(
                        b.xs[:length, i], WORDS[label][:length]
                    )
                    assert not b.xs[length:, i].any()
                    seen.append(label) if length else None
                    assert length in (0, LENGTHS[label])
            width = len(b.xs)
            most = max(b.lengths)
            assert most <= width == min(w for w in (4, 8, 16) if w >= most)
        assert sorted(seen) == [i for i in range(11) if LENGTHS[i]]


def test_buckets_shuffle_within_and_between():
    orders = [[tuple(b.labels) for b in epoch(buckets(seed=4), n, 5)] for n in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    shapes = [[len(b.xs) for b in epoch(buckets(seed=4), n, 5)] for n in range(8)]
    assert any(widths != sorted(widths) for widths in shapes)
    assert [len(b.xs) for b in buckets(epochs=1)] == [4, 4, 8, 8, 16]


def test_buckets_of_trees():
    pairs = [{"x": word, "y": word[:, 0] * 2} for word in WORDS]
    found = train.buckets(pairs, 2, epochs=1)[1]
    np.testing.assert_array_equal(found.xs["y"], found.xs["x"][..., 0] * 2)
    assert found.labels is None


DTYPES = {
    "integers first": ([[1, 2, 3], [0.5, 0.7, 0.9]], "float64"),
    "not a number": ([np.array([1, 2]), np.array([np.nan, 0.5])], "float64"),
    "negative": ([np.array([1, 2], "uint8"), np.array([-1, 300])], "int64"),
    "narrow": ([np.array([1, 2], "int8"), np.array([200, 1], "uint8")], "int16"),
    "bool": ([np.array([True, False]), np.array([0.5, 0.0], "float32")], "float32"),
    "half": ([np.array([1, 2], "int16"), np.array([0.5], "float16")], "float32"),
    "bfloat16": (
        [np.array([1.5, 2], ml_dtypes.bfloat16), np.array([0.1], "float32")],
        "float32",
    ),
    "on the device": ([jnp.array([1, 2], "int8"), np.array([7, 9], "int8")], "int8"),
    "complex": ([np.array([1, 2]), np.array([1j, 2])], "complex128"),
    "no steps": ([[], np.zeros(0), np.array([3, 4], "int8"), []], "int8"),
    "no steps of two features": (
        [np.zeros((0, 2)), np.array([[3, 4]], "int8")],
        "int8",
    ),
    "only no steps": ([np.zeros(0, "int8"), np.zeros(0, "int8")], "int8"),
    "large integers": ([[2**60 + 1, 3], [2**61 + 1]], "int64"),
    "exact": ([np.array([2**53, 3]), np.array([0.5], "float32")], "float64"),
}


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
def test_rows_come_out_as_they_came_in(name, turned):
    """Whichever row comes first, and in whatever batch it lies."""
    rows, dtype = DTYPES[name]
    rows = rows[::-1] if turned else rows
    numbers = list(range(len(rows)))
    for batch in (1, 2):
        seen = set()
        for b in train.buckets(rows, batch, labels=numbers, seed=3, epochs=1):
            assert b.xs.dtype == dtype
            for i, label in enumerate(b.labels):
                if b.lengths[i]:
                    got = b.xs[: b.lengths[i], i]
                    np.testing.assert_array_equal(got, rows[label])
                    seen.add(int(label))
        assert seen == {i for i, row in enumerate(rows) if len(row)}


def test_rows_of_lists():
    """A list is an array, wherever it stands; a tuple or a dict is a tree."""
    rows = [
        {"ids": [3, 1, 2], "at": ([[1.5, 2], [3, 4], [5, 6]],)},
        {"ids": [7], "at": ([[8, 9]],)},
    ]
    labels = [[0, 1], [2, 3]], {"weights": [0.5, 2]}
    first, second = train.buckets(rows, 1, labels=labels, epochs=1)
    assert first.xs["ids"].tolist() == [[7]]
    assert first.xs["at"][0].tolist() == [[[8, 9]]]
    assert second.xs["ids"][:3, 0].tolist() == [3, 1, 2]
    assert second.xs["at"][0][:3, 0].tolist() == [[1.5, 2], [3, 4], [5, 6]]
    assert second.xs["ids"].dtype == np.int64
    assert second.labels[0].tolist() == [[0, 1]]
    assert second.labels[1]["weights"].tolist() == [0.5]
    assert train.buckets([[], [[1.5, 2]]], 2, epochs=1)[0].xs.shape == (1, 2, 2)
    given = XS.tolist(), [*range(10)]
    xs, labels = train.arrays(given, 3, batch_axis=(1, 0), seed=1)[1]
    np.testing.assert_array_equal(xs, XS[:, labels])


class Read:
    """An array that counts what was read of it."""

    def __init__(self, values):
        self.values, self.read = values, 0
        self.shape, self.dtype = values.shape, values.dtype

    def __len__(self):
        return len(self.values)

    def __getitem__(self, i):
        self.read += np.size(self.values[i])
        return self.values[i]

    def __array__(self, dtype=None, copy=None):
        return self[:]


def test_what_lies_in_files_is_read_in_parts():
    rows = [Read(np.arange(n + 1) + 10 * n) for n in range(6)]
    data = train.buckets(rows, 2, seed=0, epochs=1)
    assert not any(row.read for row in rows)
    assert data[0].lengths.sum() == sum(row.read for row in rows)
    tokens, xs = Read(TOKENS), Read(np.arange(40.0))
    window = train.streams(tokens, 4, 8)[2]
    assert window.inputs[:, 1].tolist() == TOKENS[41:49].tolist()
    assert tokens.read == 4 * 9
    assert len(train.arrays(xs, 3, batch_axis=0, seed=0)[4]) == xs.read == 3


def test_rows_read_on_demand():
    """A source of rows, such as a data set on disk, is asked for them when they are due."""

    class Source:
        asked = 0

        def __len__(self):
            return 5

        def __getitem__(self, i):
            assert type(i) is int
            self.asked += 1
            return [0.5 * i] * (i + 1)

    source = Source()
    data = train.buckets(source, 5, widths=[8], epochs=1)
    before = source.asked
    xs = data[0].xs
    assert source.asked == before + 5
    want = [[0.5 * i] * (i + 1) + [0] * (7 - i) for i in range(5)]
    assert xs.T.tolist() == want


@pytest.mark.parametrize(
    "data",
    [arrays(seed=3), train.streams(TOKENS, 4, 8), buckets(seed=3)],
    ids=["arrays", "streams", "buckets"],
)
def test_resumes_anywhere(data):
    """The state before every element, restored in a new iterator, gives the rest."""
    whole = [data[i] for i in range(12)]
    iterator = iter(data)
    for i in range(8):
        state = iterator.get_state()
        other = iter(data)
        other.set_state(state)
        for j in range(i, 12):
            got = next(other)
            for a, b in zip(got, whole[j], strict=True):
                np.testing.assert_array_equal(a, b)
        next(iterator)


PICKLED = {
    "arrays": arrays(seed=3),
    "streams": train.streams(TOKENS, 4, 8, separator=7),
    "buckets": buckets(seed=3),
    "trees": train.buckets([train.Window(w, w, w > 10) for w in WORDS], 3, seed=1),
    "mapped": arrays(seed=3).map(lambda batch: (batch[0] * 2, batch[1])),
}


@pytest.mark.parametrize("name", PICKLED)
def test_pickles(name):
    """Also after use; from where it stood the copy goes on."""
    data = PICKLED[name]
    iterator = iter(data)
    next(iterator), next(iterator)
    sent = cloudpickle.dumps((data, iterator.get_state()))
    there, state = cloudpickle.loads(sent)
    again = iter(there)
    again.set_state(state)
    for want in (data[2], data[3], data[4]):
        jax.tree.map(np.testing.assert_array_equal, next(again), want)
    jax.tree.map(np.testing.assert_array_equal, there[17], data[17])


def test_what_is_remembered_is_not_pickled():
    data = train.arrays(np.zeros(5000, "int8"), 10, batch_axis=0, seed=0)
    size = len(cloudpickle.dumps(data))
    data[0], data[500]
    assert len(cloudpickle.dumps(data)) < size + 5000


def test_an_order_is_drawn_once(monkeypatch):
    """By threads that read at the same time, about once; two epochs are remembered."""
    draw, drawn = np.random.default_rng, []
    monkeypatch.setattr(
        np.random, "default_rng", lambda seed: drawn.append(seed[1]) or draw(seed)
    )
    for data, count in ((arrays(seed=3), 3), (buckets(seed=3), 5)):
        drawn.clear()
        for n in [*range(4 * count), 3 * count - 1, 4 * count - 1]:
            data[n]
        assert drawn == [0, 1, 2, 3]
        data[0]
        assert drawn == [0, 1, 2, 3, 0]
        want, found = [data[n] for n in range(40)], {}

        def read(first, data=data, found=found):
            for n in range(first, 40, 4):
                found[n] = data[n]

        threads = [threading.Thread(target=read, args=(n,)) for n in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        for n in range(40):
            jax.tree.map(np.testing.assert_array_equal, found[n], want[n])


RUNS = [R.normal(size=(n % 8 + 1)) for n in range(500)]


def test_buckets_come_in_runs():
    """Of one width, up to 16 batches, in as few as can be; whole epochs, other orders."""

    def drawn(number, **options):
        data = train.buckets(
            RUNS, 2, labels=np.arange(500), widths=(2, 7, 8), seed=5, **options
        )
        return epoch(data, number, 63 + 156 + 31)

    for options, runs, longest in (({}, 4 + 10 + 2, 16), ({"run": 40}, 2 + 4 + 1, 40)):
        orders = set()
        for number in range(3):
            batches = drawn(number, **options)
            widths = [len(b.xs) for b in batches]
            found = [len(list(run)) for _, run in itertools.groupby(widths)]
            assert len(found) <= runs  # neighbours may be of one width
            assert max(found) > longest / 2
            labels = [tuple(b.labels[b.lengths > 0].tolist()) for b in batches]
            assert sorted(itertools.chain(*labels)) == list(range(500))
            orders.add(tuple(labels))
        assert len(orders) == 3
    widths = [len(b.xs) for b in drawn(0, run=1)]
    found = [len(list(run)) for _, run in itertools.groupby(widths)]
    assert np.mean(found) < 3


ERRORS = {
    "rows": (lambda: arrays(epochs=0), "epochs: expected an integer from 1"),
    "leaves": (
        lambda: train.arrays((XS, LABELS[:9]), 3, batch_axis=(1, 0)),
        r"10 rows.*\[9\]",
    ),
    "axis": (
        lambda: train.arrays((XS, LABELS), 3, batch_axis=1),
        r"batch\[1\]: expected the batch on axis 1",
    ),
    "many": (lambda: train.arrays(LABELS, 11, batch_axis=0), "at most 10"),
    "batch": (lambda: train.streams(TOKENS, 0, 8), "batch: expected an integer"),
    "length": (lambda: train.streams(TOKENS, 4, 26), "at least 105"),
    "floats": (lambda: train.streams(TOKENS * 1.0, 4, 8), "expected integers"),
    "text": (
        lambda: train.streams("abc", 1, 1),
        r"integers \[N\], got <U3",
    ),
    "no target": (lambda: train.streams(TOKENS[:32], 4, 8), "at least 33 for one"),
    "none": (lambda: train.buckets([], 2), "at least one"),
    "long": (lambda: train.buckets(WORDS, 2, widths=(4, 8)), "at least 16"),
    "labels": (lambda: train.buckets(WORDS, 2, labels=np.arange(3)), "expected 11"),
    "rank": (
        lambda: train.buckets([np.ones((2, 4), "f")] * 3 + [np.ones(4)], 2),
        r"sequences\[3\]: expected \[T, 4\] as sequences\[0\], got \[T\]",
    ),
    "rank of no steps": (
        lambda: train.buckets([[], np.ones(3), np.ones((0, 4))], 2),
        r"sequences\[2\]: expected \[T\] as sequences\[1\], got \[T, 4\]",
    ),
    "broadcast": (
        lambda: train.buckets([{"x": np.ones((2, 4))}, {"x": np.ones((2, 1))}], 2),
        r"sequences\[1\]\['x'\]: expected \[T, 4\].*got \[T, 1\]",
    ),
    "signs": (
        lambda: train.buckets([[1], [2], np.array([3], "uint64")], 2),
        r"sequences\[2\]: expected \[T\] int64 as sequences\[0\], got uint64",
    ),
    "halves": (
        lambda: train.buckets([np.ones(2, ml_dtypes.bfloat16), np.ones(1, int)], 2),
        r"sequences\[1\]: expected \[T\] bfloat16",
    ),
    "rounded": (
        lambda: train.buckets([np.ones(2, "f"), [1, 2], [2**60]], 2),
        r"sequences\[2\]: expected integers that float64 holds",
    ),
    "rounded in a list": (
        lambda: train.buckets([[0.5, 2**60 + 1]], 2),
        r"sequences\[0\]: expected numbers of one dtype, got 1152921504606846977",
    ),
    "structures": (
        lambda: train.buckets([{"x": [1]}, {"y": [1]}], 2),
        r"sequences\[1\]: expected a tree like that of sequences\[0\]",
    ),
    "ragged row": (
        lambda: train.buckets([[[1, 2], [3, 4]], [[1, 2], [3]]], 2),
        r"sequences\[1\]: expected an array",
    ),
    "pairs in lists": (
        lambda: train.buckets([[np.ones((3, 2)), np.ones(3)]], 2),
        r"sequences\[0\]: expected an array.*tuple or dict",
    ),
    "pair in a tuple": (
        lambda: train.buckets([(1, 2, 3)], 2),
        r"sequences\[0\]\[0\]: .*got a scalar",
    ),
    "numbers": (lambda: train.buckets([1, 2], 2), r"sequences\[0\]: .*got a scalar"),
    "words": (lambda: train.buckets(["abc", "de"], 2), r"sequences\[0\].*got <U3"),
    "a word": (lambda: train.buckets("abc", 2), "sequences: expected a list"),
    "nothing": (lambda: train.buckets([[1, None]], 2), r"sequences\[0\].*got object"),
    "no row": (lambda: train.buckets([None], 2), r"sequences\[0\]: expected an array"),
    "one dict": (
        lambda: train.buckets({"x": [[1]]}, 2),
        "sequences: expected a list of arrays",
    ),
    "generator": (lambda: train.buckets(iter(WORDS), 2), r"sequences: .*len\(\)"),
    "label words": (
        lambda: train.buckets([[1], [2]], 2, labels=["a", "b"]),
        "labels: expected an array of numbers or bools, got <U1",
    ),
    "label tuple": (
        lambda: train.buckets([[1], [2]], 2, labels=(0, 1)),
        "labels: expected 2, one per sequence, got a scalar",
    ),
    "ragged labels": (
        lambda: train.buckets([[1], [2]], 2, labels=[[1], [1, 2]]),
        "labels: expected an array",
    ),
    "widths": (
        lambda: train.buckets(WORDS, 2, widths=[16.5]),
        "widths: expected an int",
    ),
    "seed": (lambda: arrays(seed=-1), "seed: expected an integer from 0"),
    "array list": (
        lambda: train.arrays([XS, XS], 2),
        r"tree: expected arrays, got a list of arrays. Write a tuple",
    ),
    "array words": (lambda: train.arrays(["a", "b"], 2), "tree: .*got <U1"),
    "array none": (lambda: train.arrays({}, 2), "tree: expected an array"),
    "ragged array": (
        lambda: train.arrays([[1], [2, 3]], 1),
        r"tree: expected an array .*\[2, 3\]\]. Its parts differ in shape. A list",
    ),
    "separator": (
        lambda: train.streams(TOKENS.astype("uint8"), 2, 3, separator=300),
        "separator: expected one of the tokens, which are uint8, got 300",
    ),
    "bools": (lambda: train.streams([True] * 9, 2, 3), "expected integers.*bool"),
    "ragged tokens": (
        lambda: train.streams([[1], [2, 3]], 2, 3),
        "tokens: expected int",
    ),
    "uneven": (
        lambda: train.buckets([(WORDS[0], WORDS[1])], 2),
        r"sequences\[0\].*one T",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, said = ERRORS[name]
    with pytest.raises(ValueError, match=said):
        call()
