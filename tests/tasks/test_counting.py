"""Counting languages against their definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.tasks import counting


@pytest.mark.parametrize("letters", [2, 3])
def test_the_sets_of_what_may_follow(letters):
    batch = counting.strings(jnp.arange(1, 8), letters=letters, most=9)
    language = ["abc"[0] * n + "b" * n + "c" * n * (letters - 2) for n in range(1, 12)]
    for n, row, sets, asked in zip(
        range(1, 8),
        np.asarray(batch.inputs).T,
        np.moveaxis(np.asarray(batch.targets), 1, 0),
        np.asarray(batch.mask).T,
        strict=True,
    ):
        string = "".join(counting.VOCABULARY[i] for i in row[: 1 + letters * n])
        assert string == "S" + language[n - 1]
        assert not row[len(string) :].any()
        assert asked.sum() == len(string)
        for t in range(len(string)):
            prefix = string[1 : t + 1]
            longer = [word for word in language if word.startswith(prefix)]
            may = {(word + "$")[t] for word in longer}
            said = {counting.NEXT[i] for i in np.flatnonzero(sets[t])}
            assert said == {"end" if letter == "$" else letter for letter in may}
        assert not sets[len(string) :].any()


def test_n_is_uniform_and_so_is_the_baseline():
    batch = counting.draw(jax.random.key(0), 20_000, letters=3, n=(3, 12))
    n = (np.asarray(batch.lengths) - 1) // 3
    shares = np.bincount(n)[3:] / len(n)
    assert counting.baseline((3, 12)) == 0.1
    np.testing.assert_allclose(shares, 0.1, atol=0.01)
    assert batch.inputs.shape == (37, 20_000)


@pytest.mark.parametrize("options", [{"letters": 4}, {"n": (0, 3)}, {"n": (4, 3)}])
def test_wrong_options(options):
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"{name}: expected"):
        counting.draw(jax.random.key(0), 3, **options)
