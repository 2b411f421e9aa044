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
    seen, answers = set(), []
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
        answers += wanted
    odd = range(3, 12, 2)
    assert seen == set(odd if name == "modular_arithmetic" else range(3, 12))
    chance = np.bincount(answers).max() / len(answers)
    # Of an expression's answers 0 is commoner than a fifth: a product may have a 0.
    above = 0.12 if name == "modular_arithmetic" else 0.03
    assert formal.BASELINE[name] - 0.03 < chance < formal.BASELINE[name] + above


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


@pytest.mark.slow
def test_the_baseline_of_an_expression():
    """Zero is a commoner value than the others, so chance is more than a fifth."""
    batch = formal.modular_arithmetic(jax.random.key(7), 20_000, length=(1, 41))
    values = np.asarray(batch.targets).sum(axis=0)
    shares = np.bincount(values) / len(values)
    assert abs(shares.max() - formal.BASELINE["modular_arithmetic"]) < 0.05


@pytest.mark.parametrize("name", formal.TASKS)
@pytest.mark.parametrize("length", [0, (5, 3), (0, 7)])
def test_wrong_lengths(name, length):
    with pytest.raises(ValueError, match="length: expected a number"):
        formal.TASKS[name](jax.random.key(0), 3, length=length)


def test_an_expression_has_an_odd_length():
    with pytest.raises(ValueError, match="length: expected odd"):
        formal.modular_arithmetic(jax.random.key(0), 3, length=(3, 6))
