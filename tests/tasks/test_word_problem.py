"""The word problems against permutations that are carried out one by one."""

import itertools

import jax
import numpy as np
import pytest

from jaxrnn.tasks import word_problem


def even(p) -> bool:
    swaps = 0
    p = list(p)
    for i in range(len(p)):
        while p[i] != i:
            j = p[i]
            p[i], p[j] = p[j], p[i]
            swaps += 1
    return swaps % 2 == 0


def test_a5_permutes():
    elements = [p for p in itertools.permutations(range(5)) if even(p)]
    batch = word_problem.draw(jax.random.key(0), 20, length=12)
    for word, products in zip(
        np.asarray(batch.inputs).T, np.asarray(batch.targets).T, strict=True
    ):
        things = list(range(5))  # where each thing stands
        for element, product in zip(word, products, strict=True):
            things = [elements[element][place] for place in things]
            assert elements[product] == tuple(things)


def test_z60_adds():
    batch = word_problem.draw(jax.random.key(0), 20, length=12, group="Z60")
    np.testing.assert_array_equal(np.cumsum(batch.inputs, axis=0) % 60, batch.targets)


@pytest.mark.parametrize("group", word_problem.GROUPS)
def test_they_are_groups(group):
    table = word_problem.table(group)
    every = np.arange(60)
    np.testing.assert_array_equal(np.sort(table), np.broadcast_to(every, (60, 60)))
    np.testing.assert_array_equal(np.sort(table.T), np.broadcast_to(every, (60, 60)))
    np.testing.assert_array_equal(table[0], every)
    np.testing.assert_array_equal(table[table], table[:, table])  # associative
    assert (table == table.T).all() == (group == "Z60")


def test_a5_has_no_normal_subgroup():
    """Simple, so no part of the product is easier than the whole."""
    table = word_problem.table("A5")
    inverse = np.argmin(table, axis=1)  # a · inverse[a] = 0
    for x in range(1, 60):
        part = {0}
        fresh = {int(table[table[g, x], inverse[g]]) for g in range(60)}
        while fresh - part:
            part |= fresh
            fresh = {int(table[a, b]) for a in part for b in part}
        assert len(part) == 60


@pytest.mark.parametrize("group", word_problem.GROUPS)
def test_no_answer_is_likelier(group):
    batch = word_problem.draw(jax.random.key(1), 30_000, length=3, group=group)
    for products in np.asarray(batch.targets):
        shares = np.bincount(products, minlength=60) / len(products)
        np.testing.assert_allclose(shares, word_problem.BASELINE, atol=0.005)


@pytest.mark.parametrize("options", [{"group": "S5"}, {"length": 0}])
def test_wrong_options(options):
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"{name}: expected"):
        word_problem.draw(jax.random.key(0), 3, **{"length": 4} | options)
