"""Batches of real data: rows where they belong, epochs whole, any position resumes."""

import itertools

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


ERRORS = {
    "rows": (lambda: arrays(epochs=0), "epochs: expected an integer from 1"),
    "leaves": (
        lambda: train.arrays((XS, LABELS[:9]), 3, batch_axis=(1, 0)),
        r"10 rows.*\[9\]",
    ),
    "axis": (
        lambda: train.arrays((XS, LABELS), 3),
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
