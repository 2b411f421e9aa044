"""The formal languages against their definitions, by reading the rows."""

import itertools

import jax
import numpy as np
import pytest

from jaxrnn.tasks import formal

MANY = 2000


def by_hand(name: str, symbols: list[int]) -> list[int]:
    match name:
        case "parity":
            return [symbols.count(1) % 2]
        case "even_pairs":
            pairs = itertools.pairwise(symbols)
            return [sum(a != b for a, b in pairs) % 2]
        case "cycle_navigation":
            return [(symbols.count(2) - symbols.count(0)) % 5]
        case "modular_arithmetic":
            return [eval("".join("01234+-*"[s] for s in symbols)) % 5]
        case "bucket_sort":
            return sorted(symbols)


@pytest.mark.parametrize("name", formal.TASKS)
def test_the_answers_are_right(name):
    batch = formal.TASKS[name](jax.random.key(5), MANY, length=(3, 11))
    seen = set()
    for row, target, asked, length in zip(
        *(np.asarray(a).T for a in batch[:3]), batch.lengths, strict=True
    ):
        at = np.flatnonzero(asked)
        symbols = row[: at[0]].tolist()
        seen.add(len(symbols))
        assert set(symbols) <= set(range(formal.ASK[name]))
        assert (row[at] == formal.ASK[name]).all()
        wanted = by_hand(name, symbols)
        assert target[at].tolist() == wanted
        assert at.tolist() == list(range(len(symbols), length))
        assert not row[length:].any()
        assert target.sum() == sum(wanted)
    odd = range(3, 12, 2)
    assert seen == set(odd if name == "modular_arithmetic" else range(3, 12))


@pytest.mark.slow
@pytest.mark.parametrize("name", formal.TASKS)
def test_all_symbols_are_used_alike(name):
    """And a length that is a number is every row's."""
    batch = formal.TASKS[name](jax.random.key(6), MANY, length=9)
    inputs = np.asarray(batch.inputs)[:9]
    counts = np.bincount(inputs.ravel(), minlength=formal.SYMBOLS[name])
    if name == "modular_arithmetic":
        digits, operators = inputs[::2], inputs[1::2] - 5
        shares = np.bincount(digits.ravel()) / digits.size
        np.testing.assert_allclose(shares, 1 / 5, atol=0.02)
        shares = np.bincount(operators.ravel()) / operators.size
        np.testing.assert_allclose(shares, 1 / 3, atol=0.02)
    else:
        assert counts[-1] == 0
        shares = counts[:-1] / inputs.size
        np.testing.assert_allclose(shares, 1 / (len(counts) - 1), atol=0.02)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("name", formal.TASKS)
def test_the_baseline_is_the_best_without_the_symbols(name, length):
    """Of all rows of three symbols, or of many drawn ones."""
    if name == "modular_arithmetic" and length % 2 == 0:
        with pytest.raises(ValueError, match="length: expected an odd"):
            formal.baseline(name, length)
        return
    kinds = {"cycle_navigation": 3, "bucket_sort": 5}.get(name, 2)
    rng = np.random.default_rng(0)
    if name == "modular_arithmetic":
        rows = rng.integers(5, size=(4000, length))
        rows[:, 1::2] = rng.integers(5, 8, size=(4000, length // 2))
    elif kinds**length < 30_000:
        rows = np.array(list(itertools.product(range(kinds), repeat=length)))
    else:
        rows = rng.integers(kinds, size=(4000, length))
    answers = np.array([by_hand(name, row.tolist()) for row in rows])
    best = np.mean([np.bincount(place).max() / len(rows) for place in answers.T])
    error = 1e-12 if kinds**length < 30_000 and name != "modular_arithmetic" else 0.03
    np.testing.assert_allclose(formal.baseline(name, length), best, atol=error)


def test_another_name():
    with pytest.raises(ValueError, match="name: expected one of"):
        formal.baseline("sort", 3)


@pytest.mark.parametrize("name", formal.TASKS)
@pytest.mark.parametrize("length", [0, (5, 3), (0, 7)])
def test_wrong_lengths(name, length):
    with pytest.raises(ValueError, match="length: expected a number"):
        formal.TASKS[name](jax.random.key(0), 3, length=length)


def test_an_expression_has_an_odd_length():
    with pytest.raises(ValueError, match="length: expected odd"):
        formal.modular_arithmetic(jax.random.key(0), 3, length=(3, 6))
