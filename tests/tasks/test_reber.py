"""The embedded Reber grammar against an automaton that reads it."""

import re

import jax
import numpy as np
import pytest

from jaxrnn.tasks import reber

MANY = 4000


def read_inner(text: str) -> tuple[str, set]:
    """The state's edges, by walking: what may come after `text` of the inner grammar."""
    edges = {
        0: {"B": 1},
        1: {"T": 2, "P": 3},
        2: {"S": 2, "X": 4},
        3: {"T": 3, "V": 5},
        4: {"X": 3, "S": 6},
        5: {"P": 4, "V": 6},
        6: {"E": 7},
        7: {},
    }
    state = 0
    for symbol in text:
        state = edges[state][symbol]
    return state, set(edges[state])


def may_follow(string: str) -> set:
    """What may come after a prefix of one embedded string."""
    if not string:
        return {"B"}
    if len(string) == 1:
        return {"T", "P"}
    outer, inner = string[1], string[2:]
    if "E" not in inner:
        return read_inner(inner)[1]
    rest = inner[inner.index("E") + 1 :]
    read_inner(inner[: inner.index("E") + 1])
    return {0: {outer}, 1: {"E"}, 2: {"B"}}[len(rest)]


def texts(batch):
    for row, length in zip(np.asarray(batch.inputs).T, batch.lengths, strict=True):
        yield "".join(reber.VOCABULARY[i] for i in row[:length])


def check(text, sets, wanted):
    said = {reber.VOCABULARY[i] for i in np.flatnonzero(sets)}
    assert said == wanted, text


def test_every_set_of_a_string():
    batch = reber.draw(jax.random.key(0), 300)
    targets, mask = np.asarray(batch.targets), np.asarray(batch.mask)
    asked_again = np.asarray(reber.outer(batch))
    for b, text in enumerate(texts(batch)):
        assert text[0] == "B"
        assert text[-1] == "E"
        assert text[-2] == text[1]
        for t in range(len(text)):
            assert text[t] in may_follow(text[:t])
            if t < len(text) - 1:
                check(text, targets[t, b], may_follow(text[: t + 1]))
        assert mask[:, b].sum() == len(text) - 1
        assert not targets[len(text) - 1 :, b].any()
        assert np.flatnonzero(asked_again[:, b]).tolist() == [len(text) - 3]


def test_every_set_of_a_stream():
    batch = reber.draw_continual(jax.random.key(1), 30, length=100)
    targets = np.asarray(batch.targets)
    for b, text in enumerate(texts(batch)):
        begun = 0  # where the string that is being read begins
        for t in range(len(text)):
            so_far = text[begun : t + 1]
            check(so_far, targets[t, b], may_follow(so_far))
            if so_far.count("E") == 2:
                begun = t + 1
    assert np.asarray(batch.mask).all()


@pytest.mark.slow
def test_whole_streams_may_follow_one_another():
    """All of them end with a string, and are as likely as among streams that may not."""
    length = 19  # the shortest two strings and one symbol more, or one long string

    def of(**options):
        some = reber.draw_continual(jax.random.key(5), 40_000, length=length, **options)
        return list(texts(some))

    whole = of(whole=True)
    assert all(text.endswith("E") and text.count("E") % 2 == 0 for text in whole)
    ended = [text for text in of() if text.endswith("E") and text.count("E") % 2 == 0]
    counted = lambda some: np.array(
        [np.mean([text.count("E") == 4 for text in some])]
        + [np.mean([text[2:4] == start for text in some]) for start in ("BT", "BP")]
        + [np.mean(["TSX" in text for text in some])]
    )
    np.testing.assert_allclose(counted(whole), counted(ended), atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("length", [10, 60])
def test_short_strings_keep_the_grammars_proportions(length):
    """Against throwing away all long strings of the grammar drawn by coins."""
    rng = np.random.default_rng(0)

    def one():
        text = ""
        while True:
            may = sorted(may_follow(text))
            if text.count("E") == 2:
                return text
            text += str(rng.choice(may)) if text else "B"

    def counted(strings):
        strings = [s[2:-2] for s in strings if len(s) <= length]
        names = "BTXSE", "BPVVE", "BTSXSE", "BPTVVE", "BTXXVVE"
        return np.array([strings.count(name) / len(strings) for name in names])

    drawn = list(texts(reber.draw(jax.random.key(2), MANY, length=length)))
    assert max(map(len, drawn)) <= length
    by_hand = counted([one() for _ in range(MANY)])
    np.testing.assert_allclose(counted(drawn), by_hand, atol=0.04)
    shares = np.mean([text[1] == "T" for text in drawn])
    assert abs(shares - reber.BASELINE) < 0.03


@pytest.mark.slow
def test_how_many_strings_are_longer_than_forty():
    lengths = np.asarray(reber.draw(jax.random.key(3), 20_000, length=120).lengths)
    assert lengths.min() == reber.SHORTEST
    assert (lengths <= 40).mean() > 0.9995


def test_an_inner_string_is_a_regular_expression():
    """The five ways through, with loops: a second reading of the same grammar."""
    word = re.compile(
        r"B(?:(?:TS*X(?:S|XT*V(?:V|PS|(?:PXT*V)+(?:V|PS))))|PT*V(?:V|PS|(?:PXT*V)+(?:V|PS)))E"
    )
    for text in texts(reber.draw(jax.random.key(4), 300)):
        assert word.fullmatch(text[2:-2]), text


@pytest.mark.parametrize(
    ("draw", "options"),
    [
        ("draw", {"length": 8}),
        ("draw_continual", {"length": 0}),
        ("draw_continual", {"length": 8, "whole": True}),
    ],
)
def test_too_short(draw, options):
    with pytest.raises(ValueError, match="length: expected"):
        getattr(reber, draw)(jax.random.key(0), 3, **options)
