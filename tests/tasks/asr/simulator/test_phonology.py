"""Phonological processes, and the homophones that they make."""

import numpy as np
import pytest

from tasks.asr.simulator import phonology

CAR = ["k", "'A@"]
TAR = ["t", "'A@"]
STREET = ["s", "t", "r", "'i:", "t"]


def apply(phonemes, **rates):
    return phonology.apply(phonemes, rates, np.random.default_rng(0))


@pytest.mark.parametrize(
    "process, word, said",
    [
        ("gliding", ["r", "'aI", "t"], ["w", "'aI", "t"]),
        ("fronting", CAR, TAR),
        ("stopping", ["tS", "'E", "k"], ["t", "'E", "k"]),
        ("devoicing", ["b", "'E", "d"], ["p", "'E", "t"]),
        ("backing", TAR, CAR),
        ("cluster_reduction", STREET, ["r", "'i:", "t"]),
        ("final_deletion", STREET, ["s", "t", "r", "'i:"]),
        ("centralise", STREET, ["s", "t", "r", "'@", "t"]),
    ],
)
def test_each_process_changes_what_it_is_named_after(process, word, said):
    assert apply(word, **{process: 1.0}) == said


def test_every_process_is_covered_above():
    assert len(phonology.PROCESSES) == 8


def test_rate_is_how_often_a_process_fires():
    rng = np.random.default_rng(0)
    said = [phonology.apply(CAR, {"fronting": 0.3}, rng) for _ in range(4000)]
    assert said.count(TAR) / 4000 == pytest.approx(0.3, abs=0.03)


def test_no_process_leaves_the_word_alone():
    assert apply(STREET) == STREET


def test_words_of_two_sounds_keep_their_final_consonant():
    assert apply(["'O2", "n"], final_deletion=1.0) == ["'O2", "n"]


def test_fronting_makes_car_and_tar_one():
    lexicon = {"car": CAR, "tar": TAR, "street": STREET}
    phrases = ["car street", "tar street", "street car", "street"]
    collisions = phonology.collisions
    assert collisions(phrases, lexicon, {"fronting": 1.0}) == [
        ["car street", "tar street"]
    ]
    assert collisions(phrases, lexicon, {}) == []


def test_a_process_that_may_not_fire_makes_no_certain_collision():
    lexicon = {"car": CAR, "tar": TAR}
    assert not phonology.collisions(lexicon, lexicon, {"fronting": 0.99})


def test_word_boundaries_tell_phrases_apart():
    lexicon = {"a": ["@"], "ab": ["@", "b"], "b": ["b"]}
    assert not phonology.collisions(["ab", "a b"], lexicon, {})


def test_bound_counts_what_the_best_guess_must_miss():
    spoken = [
        ("open the car", "x"),
        ("open the car", "x"),
        ("open the tar", "x"),
        ("close the door", "y"),
    ]
    assert phonology.error_bounds(spoken) == {
        "phrase_error_rate": pytest.approx(1 / 4),
        "word_error_rate": pytest.approx(1 / 12),
    }


def test_a_guess_of_other_length_misses_what_is_inserted_and_left_out():
    spoken = [("a b c d", "x"), ("b c", "x"), ("e", "y")]
    assert phonology.error_bounds(spoken)["word_error_rate"] == 2 / 7


def test_bound_is_zero_without_homophones():
    spoken = [("a b", "x"), ("a b", "x"), ("c", "y")]
    assert phonology.error_bounds(spoken)["word_error_rate"] == 0
    assert phonology.error_bounds([])["phrase_error_rate"] == 0
