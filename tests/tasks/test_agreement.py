"""The agreement task against its definition: by counts, and by reading its sentences."""

import itertools

import jax
import numpy as np
import pytest

from jaxrnn.tasks import agreement

MANY, LENGTH = 4000, 42  # one shape for most tests, since a compilation takes seconds
NOUNS = {**dict.fromkeys(agreement.SINGULAR, 0), **dict.fromkeys(agreement.PLURAL, 1)}


def draw(seed, **options):
    return agreement.draw(jax.random.key(seed), MANY, length=LENGTH, **options)


@pytest.fixture(scope="module")
def sentences():
    """Of 3 to 25 words between, with nouns of random number."""
    return draw(3, distance=(3, 25))


@pytest.fixture(scope="module")
def read(sentences):
    return [agreement.decode(row) for row in np.asarray(sentences.tokens).T]


def near(share, expected, count):
    """Whether a share of `count` fair draws is within 5 standard deviations."""
    return abs(share - expected) < 5 * (expected * (1 - expected) / count) ** 0.5


def test_fields_agree_with_the_words(sentences, read):
    for words, length, target, last, attractors in zip(
        read, *map(np.asarray, sentences[1:]), strict=True
    ):
        numbers = [NOUNS[word] for word in words if word in NOUNS]
        assert len(words) == length
        assert NOUNS[words[1]] == numbers[0] == target
        assert numbers[-1] == last
        assert sum(number != target for number in numbers) == attractors


def test_the_answer_is_a_fair_coin_and_distances_are_uniform(sentences):
    assert near(np.mean(sentences.target), 1 / 2, MANY)
    distances, counts = np.unique(np.asarray(sentences.lengths) - 2, return_counts=True)
    assert distances.tolist() == list(range(3, 26))
    assert all(near(count / MANY, 1 / 23, MANY) for count in counts)
    assert sentences.tokens.dtype == sentences.lengths.dtype == np.int32


@pytest.mark.parametrize(
    ("distance", "attractors"), [(3, 1), (5, 0), (9, 2), (20, 6), (40, 13)]
)
def test_distance_and_attractors_are_exact(distance, attractors):
    drawn = draw(0, distance=distance, attractors=attractors)
    assert drawn.tokens.shape == (LENGTH, MANY)
    assert (drawn.lengths == distance + 2).all()
    assert (drawn.attractors == attractors).all()
    for row, target in zip(
        np.asarray(drawn.tokens).T[:300], np.asarray(drawn.target), strict=False
    ):
        numbers = [NOUNS[word] for word in agreement.decode(row) if word in NOUNS]
        assert numbers == [target] + attractors * [1 - target]
        assert (row != 0).tolist() == [True] * (distance + 2) + [False] * (
            40 - distance
        )
    # the last noun is right where there is no attractor, and wrong where there is one
    assert (
        drawn.last_noun == (drawn.target if attractors == 0 else 1 - drawn.target)
    ).all()


def test_every_distance_fits_its_own_length():
    drawn = agreement.draw(jax.random.key(0), 500, distance=(3, 6))
    assert drawn.tokens.shape == (8, 500)
    assert set(np.asarray(drawn.lengths).tolist()) == {5, 6, 7, 8}
    assert (np.count_nonzero(drawn.tokens, axis=0) == drawn.lengths).all()


@pytest.mark.parametrize("attractors", [None, 2])
def test_all_other_words_are_independent_of_the_answer(attractors):
    drawn = draw(5, distance=(10, 25), attractors=attractors)
    tokens, plural = np.asarray(drawn.tokens), np.asarray(drawn.target) == 1
    if attractors is not None:  # compare attractors as cat with cats
        singular = agreement.VOCABULARY.index("cat"), agreement.VOCABULARY.index("cats")
        tokens = np.where(
            tokens >= singular[1], tokens - singular[1] + singular[0], tokens
        )
    between = tokens[2:]
    size = len(agreement.VOCABULARY)
    for part in (between, between[0], between[2], between[5], between[:, :2000]):
        counts = [
            np.bincount(part[..., side[: part.shape[-1]]].ravel(), minlength=size)
            for side in (plural, ~plural)
        ]
        one, other = (count / count.sum() for count in counts)
        spread = np.sqrt(
            np.maximum(one, 1e-3) * sum(1 / count.sum() for count in counts)
        )
        # words of one sentence are not independent of each other: a little wider
        assert (np.abs(one - other) < 6 * spread).all()
    lengths = np.asarray(drawn.lengths)
    assert near(np.mean(plural[lengths > 20]), 1 / 2, np.sum(lengths > 20))


def test_sentences_are_english(read):
    kind = {word: name for name, words in agreement.KINDS.items() for word in words}
    nouns = {"nouns", "singular nouns", "plural nouns"}
    follows = {
        "determiners": {"sizes", "looks", *nouns},
        "sizes": {"looks", *nouns},
        "looks": nouns,
        **{noun: {"markers", "prepositions"} for noun in nouns},
        "markers": {"adverbs", "verbs"},
        "adverbs": {"verbs"},
        "verbs": {"determiners"},
        "prepositions": {"determiners"},
    }
    for words in read:
        kinds = [kind[word] for word in words]
        assert kinds[0] == "determiners"
        assert kinds[-1] in nouns
        assert all(b in follows[a] for a, b in itertools.pairwise(kinds)), words
        for a, b in itertools.pairwise(words):
            assert a != b
        determiners = [w for w in words[2:] if w in agreement.DETERMINERS]
        assert all(a != b for a, b in itertools.pairwise(determiners))
        for place in (i for i, word in enumerate(words) if word == "ate"):
            eaten = next(w for w in words[place:] if kind[w] in nouns)
            assert eaten in agreement.NEUTRAL
    used = {word for words in read for word in words}
    assert used == set(agreement.VOCABULARY) - {agreement.PADDING}
    subjects = {words[1] for words in read}
    assert subjects == {*agreement.SINGULAR[:10], *agreement.PLURAL[:10]}


@pytest.mark.parametrize(
    ("distance", "stated"), [((30, 40), "50.2%"), ((3, 40), "55.5%")]
)
def test_last_noun_baseline_is_as_stated(distance, stated):
    # right by a coin, or surely if none of the count nouns in between is numbered
    counts = {
        d: range(max(1, -(-(d - 2) // 5)), max(1, (d - 1) // 3) + 1)
        for d in range(3, 41)
    }
    lucky = lambda d: np.mean([0.5**count for count in counts[d]])
    expected = 0.5 + 0.5 * np.mean(
        [lucky(d) for d in range(distance[0], distance[1] + 1)]
    )
    assert f"{expected:.1%}" == stated
    assert stated in agreement.__doc__
    drawn = draw(2, distance=distance)
    assert near(np.mean(drawn.last_noun == drawn.target), expected, MANY)


def test_same_key_same_batch_under_jit_too():
    one, two, other = (draw(seed, distance=(5, 9)) for seed in (1, 1, 2))
    inside = jax.jit(lambda: draw(1, distance=(5, 9)))()
    for again in (two, inside):
        jax.tree.map(np.testing.assert_array_equal, one, again)
    assert np.mean(one.target == other.target) < 0.6
    assert len({tuple(row) for row in np.asarray(one.tokens).T}) > 0.99 * MANY


def test_same_batch_in_float32():
    one = draw(1, distance=(5, 9))
    with jax.enable_x64(False):
        narrow = draw(1, distance=(5, 9))
    jax.tree.map(np.testing.assert_array_equal, one, narrow)


def test_exam_is_the_grid_it_says():
    drawn = agreement.exam(jax.random.key(0), MANY, (5, 40), (1, 3))
    assert drawn.tokens.shape == (LENGTH, 2, 2, MANY)
    assert (drawn.lengths == np.array([[[7], [7]], [[42], [42]]])).all()
    assert (drawn.attractors == np.array([[[0], [1]], [[0], [3]]])).all()
    tokens, target, lengths = map(
        np.asarray, (drawn.tokens, drawn.target, drawn.lengths)
    )
    for d, a, b in itertools.product(range(2), range(2), range(20)):
        words = agreement.decode(tokens[:, d, a, b])
        assert NOUNS[words[1]] == target[d, a, b]
        assert len(words) == lengths[d, a, b]


def test_encode_and_decode_are_inverse(sentences, read):
    for words, row, length in zip(
        read[:50],
        np.asarray(sentences.tokens).T,
        np.asarray(sentences.lengths),
        strict=False,
    ):
        np.testing.assert_array_equal(agreement.encode(" ".join(words)), row[:length])


def test_encode_takes_what_people_type():
    typed = agreement.encode("  The CATS, which already ate\tthe fish -- were full!")
    assert agreement.decode(typed) == "the cats which already ate the fish".split()
    assert typed.dtype == np.int32


def test_encode_names_unknown_words_and_near_ones():
    with pytest.raises(
        ValueError, match=r"got hous, zebra.*house, houses.*singular nouns: cat"
    ):
        agreement.encode("The cat near the hous with the zebra")


@pytest.mark.parametrize("sentence", ["", " ... ", "Were the cats full?"])
def test_encode_wants_words_before_the_verb(sentence):
    with pytest.raises(ValueError, match="expected words before the verb"):
        agreement.encode(sentence)


@pytest.mark.parametrize(
    ("ids", "match"),
    [
        ([[1, 2]], r"got int64 \[1, 2\]"),
        ([0.5], "got float64"),
        ([1, 99], "got 1 to 99"),
    ],
)
def test_decode_names_what_is_wrong(ids, match):
    with pytest.raises(ValueError, match=match):
        agreement.decode(ids)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"distance": 2}, "distance: expected a number of words from 3"),
        ({"distance": (9, 5)}, "distance: expected"),
        (
            {"distance": 5, "attractors": 2},
            "attractors: expected 0 to 1, as many as 5 words",
        ),
        ({"distance": (5, 40), "attractors": 4}, "attractors: expected 0 to 1"),
        ({"distance": 5, "attractors": -1}, "attractors: expected"),
        ({"distance": 5, "length": 6}, "length: expected 7 or more"),
    ],
)
def test_draw_names_what_is_wrong(options, match):
    with pytest.raises(ValueError, match=match):
        agreement.draw(jax.random.key(0), 2, **options)
