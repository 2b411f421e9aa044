"""Subject and verb across a distance: "The cats, which ate the fish, were full."

The verb agrees with the subject, however many words and nouns are in between. A
synthetic version of Linzen, Dupoux and Goldberg 2016, arXiv:1611.01368. A sentence is

    determiner subject (phrase ...) -> was | were
    phrase = preposition noun-phrase | which [adverb] verb noun-phrase
    noun-phrase = determiner [size] [look] noun

and nouns in between are neutral (fish, sheep) or numbered (house, houses). One whose
number is not the subject's is an *attractor*. Accuracies to compare with:

    optimum (remember the subject)     100%
    majority (always were)              50%
    last numbered noun                 100% with 0 attractors asked for, 0% with 1 or more;
                                       with nouns of random number 50.2% at 30 to 40 words
                                       and 55.5% at 3 to 40
"""

import difflib
import functools
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

VERBS = ("was", "were")  # the answers, by target; not in the vocabulary
DETERMINERS = ("the", "my", "our", "your")
MARKERS = ("which", "that")
ADVERBS = ("already", "often", "never", "once", "rarely", "quietly")
DEEDS = ("saw", "liked", "found", "watched", "passed", "missed", "remembered", "ate")
PREPOSITIONS = ("near", "behind", "beside", "by", "with", "opposite")
SIZES = ("big", "small", "little", "tall", "short", "huge")
LOOKS = ("old", "young", "white", "brown", "grey", "black")
NEUTRAL = ("fish", "sheep", "deer", "trout", "salmon", "moose", "bison", "cod")
# The first SUBJECTS of them eat, see and like, so they may be subjects.
SUBJECTS = 10
SINGULAR = "cat dog bird horse cow child woman man farmer teacher".split()
SINGULAR += "house tree garden river bridge barn".split()
PLURAL = "cats dogs birds horses cows children women men farmers teachers".split()
PLURAL += "houses trees gardens rivers bridges barns".split()

KINDS = {
    "determiners": DETERMINERS,
    "markers": MARKERS,
    "adverbs": ADVERBS,
    "verbs": DEEDS,
    "prepositions": PREPOSITIONS,
    "sizes": SIZES,
    "looks": LOOKS,
    "nouns": NEUTRAL,
    "singular nouns": tuple(SINGULAR),
    "plural nouns": tuple(PLURAL),
}
PADDING = ""
VOCABULARY = (PADDING, *itertools.chain(*KINDS.values()))
_ID = {word: i for i, word in enumerate(VOCABULARY)}


class Agreement(NamedTuple):
    """Sentences up to their verb, and which verb follows.

    Fields:
        tokens: int32 [T, B], time first; 0 beyond a sentence's length. The subject is
            token 1.
        lengths: int32 [B], words before the verb: 2 more than the distance.
        target: int32 [B], 0 for was and 1 for were.
        last_noun: int32 [B], the answer of the baseline that follows the last numbered noun
            before the verb.
        attractors: int32 [B], nouns in between whose number is not the subject's.
    """

    tokens: jax.Array
    lengths: jax.Array
    target: jax.Array
    last_noun: jax.Array
    attractors: jax.Array


def draw(
    key: jax.Array,
    batch: int,
    *,
    distance: int | tuple[int, int],
    attractors: int | None = None,
    length: int | None = None,
) -> Agreement:
    """Draws sentences: a pure function of the key, under jit too.

    Subjects are singular or plural with probability 1/2. All words but the attractors are
    independent of the answer. With ``attractors=None`` those are independent too.

    Args:
        key: a PRNG key.
        batch: B, how many sentences.
        distance: words between subject and verb, 3 or more: a number, or the least and
            the most, between which each sentence draws one uniformly.
        attractors: how many of the nouns in between have the other number; the rest are
            neutral. None: each noun in between is neutral,
            singular or plural with probability 1/2, 1/4, 1/4, whatever the subject.
        length: T; None: two more than the greatest distance. With the same length for many
            distances, they share one compiled program.

    Returns:
        An `Agreement` with tokens [T, B].

    Raises:
        ValueError: for a distance below 3 or an empty range, more attractors than have
            room (see `most_attractors`), or a length that is too short.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import agreement
        >>> sentences = agreement.draw(jax.random.key(1), 2, distance=(5, 9), attractors=1)
        >>> sentences.tokens.shape, sentences.attractors.tolist()
        ((11, 2), [1, 1])
        >>> words = agreement.decode(sentences.tokens[:, 0])
        >>> " ".join([*words, agreement.VERBS[int(sentences.target[0])]])
        'our cat which remembered your cod beside the white farmers was'
    """
    least, most = (distance, distance) if isinstance(distance, int) else distance
    if not 3 <= least <= most:
        raise ValueError(
            "distance: expected a number of words from 3, or (least, most), "
            f"got {distance}."
        )
    if attractors is not None and not 0 <= attractors <= most_attractors(least):
        raise ValueError(
            f"attractors: expected 0 to {most_attractors(least)}, as many as {least} words "
            f"have room for, got {attractors}. Take a greater distance."
        )
    length = most + 2 if length is None else length
    if length < most + 2:
        raise ValueError(
            f"length: expected {most + 2} or more, for the subject and {most} words after "
            f"it, got {length}."
        )
    return _draw(jax.random.split(key, batch), least, most, attractors, length)


def exam(
    key: jax.Array, batch: int, distances: Sequence[int], attractors: Sequence[int]
) -> Agreement:
    """Draws sentences of every distance, each without attractors and with some.

    Args:
        key: a PRNG key.
        batch: B, how many sentences for each pair of a distance and a number.
        distances: D numbers of words between subject and verb.
        attractors: D numbers, one per distance; see `most_attractors`.

    Returns:
        An `Agreement` with tokens [T, D, 2, B] and the other fields [D, 2, B]: index 0 is
        without attractors, index 1 with them. T is two more than the greatest distance.

    Raises:
        ValueError: see `draw`.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import agreement
        >>> sentences = agreement.exam(jax.random.key(0), 50, (5, 20), (1, 4))
        >>> (sentences.last_noun == sentences.target).mean(axis=-1).tolist()
        [[1.0, 0.0], [1.0, 0.0]]
    """
    length = max(distances) + 2
    pairs = [
        (d, a) for d, most in zip(distances, attractors, strict=True) for a in (0, most)
    ]
    drawn = [
        draw(key, batch, distance=distance, attractors=count, length=length)
        for key, (distance, count) in zip(
            jax.random.split(key, len(pairs)), pairs, strict=True
        )
    ]

    def arrange(*parts):
        parts = jnp.stack(parts, axis=-2)
        return parts.reshape(*parts.shape[:-2], len(distances), 2, batch)

    return jax.tree.map(arrange, *drawn)


def baselines(sentences: Agreement) -> dict[str, jax.Array]:
    """The accuracies of two answers that ignore the subject.

    Args:
        sentences: what `draw` or `exam` returned.

    Returns:
        Name of the baseline -> its accuracy over the last axis of ``target``.

    Example:
        >>> import jax
        >>> from jaxrnn.tasks import agreement
        >>> sentences = agreement.draw(jax.random.key(0), 50, distance=9, attractors=2)
        >>> float(agreement.baselines(sentences)["last noun"])
        0.0
    """
    answers = {"always were": 1, "last noun": sentences.last_noun}
    right = {name: answer == sentences.target for name, answer in answers.items()}
    return {name: jnp.mean(hits, axis=-1) for name, hits in right.items()}


def most_attractors(distance: int) -> int:
    """The largest number of attractors for a distance.

    Args:
        distance: words between subject and verb, 3 or more.

    Example:
        >>> from jaxrnn.tasks import agreement
        >>> [agreement.most_attractors(distance) for distance in (5, 10, 20)]
        [1, 3, 6]
    """
    return max(1, (distance - 1) // 3)


@functools.partial(jax.jit, static_argnums=4)
@functools.partial(
    jax.vmap,
    in_axes=(0, None, None, None, None),
    out_axes=Agreement._make((1, 0, 0, 0, 0)),  # tokens [T, B], all else [B]
)
def _draw(key, least, most, attractors, length):
    """One sentence; `vmap` makes it a batch."""
    phrases = most_attractors(length - 2)  # room for so many
    each = jnp.arange(phrases, dtype=jnp.int32)
    # One draw for everything: to compile a draw for each word takes 10 times longer.
    chances = iter(jax.random.uniform(key, (29, phrases), jnp.float32))

    def among(low, high):
        """An integer for each phrase, from low to high, high left out."""
        width = jnp.asarray(high - low, jnp.float32)
        return low + (next(chances) * width).astype(jnp.int32)

    def varied(words):
        """An id for each phrase, uniform, never that of the phrase before."""
        step = jnp.where(each == 0, among(0, len(words)), among(1, len(words)))
        return _ID[words[0]] + jnp.cumsum(step, dtype=jnp.int32) % len(words)

    def choose(count, *allowed):
        """`count` of the allowed places, all choices alike."""
        allowed = jnp.stack(allowed)
        order = jnp.stack([next(chances) for _ in allowed])
        first = jnp.argsort(jnp.where(allowed, order, 2), axis=None)
        chosen = (
            jnp.zeros(allowed.size, bool)
            .at[first]
            .set(jnp.arange(allowed.size, dtype=jnp.int32) < count)
        )
        return chosen.reshape(allowed.shape)

    # How many words and phrases: three words each, one more in a clause (the first phrase
    # is one where it can be), and what is left goes to optional words.
    distance = among(least, most + 1)[0]
    fewest = jnp.maximum(1, -(-(distance - 2) // 5))
    if attractors is not None:
        fewest = jnp.maximum(fewest, attractors)
    highest = jnp.maximum(1, (distance - 1) // 3)
    count = among(fewest, highest + 1)[0]
    phrase = each < count
    spare = distance - 3 * count
    clause = phrase & ((among(0, 3) == 0) | (each == 0))
    clause &= jnp.cumsum(clause, dtype=jnp.int32) <= spare
    adverb, size, look = choose(
        spare - clause.sum(dtype=jnp.int32), clause, phrase, phrase
    )

    # The subject, and the nouns in between.
    plural, subject = among(0, 2)[0], among(0, SUBJECTS)[0]
    if attractors is None:
        numbered, plurals = phrase & (among(0, 2) == 0), among(0, 2)
    else:
        numbered, plurals = (
            choose(attractors, phrase)[0],
            jnp.full(phrases, 1 - plural, jnp.int32),
        )
    noun = jnp.where(
        numbered, varied(SINGULAR) + plurals * len(SINGULAR), varied(NEUTRAL)
    )
    # no one ate the house
    verb = jnp.where(numbered, varied(DEEDS[:-1]), varied(DEEDS))

    columns = (
        (clause, _ID["which"] + (each > 0).astype(jnp.int32)),
        (adverb, varied(ADVERBS)),
        (phrase, jnp.where(clause, verb, varied(PREPOSITIONS))),
        (phrase, varied(DETERMINERS)),
        (size, varied(SIZES)),
        (look, varied(LOOKS)),
        (phrase, noun),
    )
    said = jnp.stack([said for said, _ in columns], axis=1).reshape(-1)
    words = jnp.stack([word for _, word in columns], axis=1).reshape(-1)
    place = jnp.where(said, 1 + jnp.cumsum(said, dtype=jnp.int32), length)
    tokens = jnp.zeros(length, jnp.int32).at[place].set(words, mode="drop")
    tokens = tokens.at[0].set(_ID[DETERMINERS[0]] + among(0, len(DETERMINERS))[0])
    tokens = tokens.at[1].set(_ID[SINGULAR[0]] + subject + plural * len(SINGULAR))

    last = jnp.max(jnp.where(numbered, each, -1))
    return Agreement(
        tokens=tokens,
        lengths=distance + 2,
        target=plural,
        last_noun=jnp.where(last < 0, plural, plurals[last]),
        attractors=jnp.sum(numbered & (plurals != plural), dtype=jnp.int32),
    )


def encode(sentence: str) -> np.ndarray:
    """The ids of a typed sentence, up to its verb.

    Args:
        sentence: words of `VOCABULARY`; capitals and punctuation do not matter. What
            follows from "was" or "were" on is left out.

    Returns:
        int32 [T], which `decode` turns into words again.

    Raises:
        ValueError: for unknown words, with suggestions, and for a sentence without words.

    Example:
        >>> from jaxrnn.tasks import agreement
        >>> ids = agreement.encode("The cats, which ate my fish, were full.")
        >>> agreement.decode(ids)
        ['the', 'cats', 'which', 'ate', 'my', 'fish']
    """
    typed = re.findall(r"[^\W_]+", sentence.lower())
    words = list(itertools.takewhile(lambda word: word not in VERBS, typed))
    unknown = [word for word in words if word not in _ID]
    if unknown:
        near = [
            w for word in unknown for w in difflib.get_close_matches(word, VOCABULARY)
        ]
        hint = f"Did you mean {', '.join(near)}? " if near else ""
        known = "; ".join(f"{kind}: {' '.join(words)}" for kind, words in KINDS.items())
        raise ValueError(
            f"sentence: expected words of the vocabulary, got {', '.join(unknown)}. "
            f"{hint}The vocabulary: {known}."
        )
    if not words:
        raise ValueError(
            f"sentence: expected words before the verb, got {sentence!r}. "
            'Such as "The cats near the old house".'
        )
    return np.array([_ID[word] for word in words], np.int32)


def decode(ids: Iterable[int]) -> list[str]:
    """The words of one sentence, padding left out.

    Args:
        ids: int [T], such as ``tokens[:, 0]`` of an `Agreement`.

    Returns:
        One word for each id that is not 0.

    Raises:
        ValueError: for ids that are not one sentence's, or no words.

    Example:
        >>> from jaxrnn.tasks import agreement
        >>> agreement.decode([1, agreement.VOCABULARY.index("cats"), 0, 0])
        ['the', 'cats']
    """
    ids = np.asarray(ids)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(
            f"ids: expected integers [T] of one sentence, got {ids.dtype} "
            f"{list(ids.shape)}. Of a batch, take tokens[:, b]."
        )
    if ids.size and not (ids.min() >= 0 and ids.max() < len(VOCABULARY)):
        raise ValueError(
            f"ids: expected 0 to {len(VOCABULARY) - 1}, got {ids.min()} to {ids.max()}."
        )
    return [VOCABULARY[i] for i in ids if i]
