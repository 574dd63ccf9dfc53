"""Dev speech is held out by phrase, from each speaker's own utterances."""

import random

import pytest

from lingvo_like.submodel import heard
from tasks.asr.data import held_out, manifest, preparation, rejections


def utterance(number, text="", speaker="ann"):
    return manifest.Utterance(
        f"/{speaker}/{number}.wav",
        text or f"phrase {number}",
        speaker,
        f"{number:03d}",
        1.0,
        sha256=f"{number:012x}".ljust(64, "0"),
    )


def choose(utterances, seed=0, share=0.1, speaker="ann", **more):
    return held_out.choose(utterances, speaker, share, seed, **more)


@pytest.mark.parametrize(
    "count, expected", [(1, 0), (9, 0), (10, 2), (20, 2), (50, 5), (200, 20)]
)
def test_a_share_is_held_out_and_enough_is_left(count, expected):
    assert len(choose([utterance(i) for i in range(count)])) == expected


def test_which_ones_is_a_matter_of_the_speakers_own_texts_and_the_seed():
    utterances = [utterance(i) for i in range(40)]
    expected = choose(utterances)
    random.Random(0).shuffle(utterances)
    assert choose(utterances) == expected
    assert choose(utterances, seed=1) != expected
    assert choose(utterances, speaker="bob") != expected


def test_recordings_of_one_phrase_stay_together():
    utterances = [utterance(i, f"Phrase {i // 3}!") for i in range(60)]
    utterances += [utterance(60 + i, f"phrase {i}") for i in range(20)]
    chosen = choose(utterances)
    assert chosen
    for phrase in range(20):
        ids = {
            u.utt_id
            for u in utterances
            if str(phrase) == u.text.strip("!").split()[1]
        }
        assert ids <= chosen or not ids & chosen


def test_a_phrase_that_is_most_of_the_speech_is_not_held_out():
    assert choose([utterance(i, "stop") for i in range(50)]) == frozenset()
    utterances = [utterance(i, "stop" if i < 40 else "") for i in range(60)]
    chosen = choose(utterances)
    assert 6 <= len(chosen) <= 12
    assert all(int(each) >= 40 for each in chosen)


def test_what_the_start_has_heard_does_not_judge_it():
    utterances = [utterance(i) for i in range(40)]
    known = heard.keys(each.sha256 for each in utterances[:30])
    chosen = choose(utterances, heard=known)
    assert len(chosen) == 4
    assert all(int(each) >= 30 for each in chosen)


def test_a_corpus_is_parted_and_it_is_said(capsys):
    speakers = ("ann", "bob", "cy")
    train = preparation.by_slot(
        speakers,
        {
            "ann": [utterance(i) for i in range(40)],
            "bob": [utterance(i, speaker="bob") for i in range(5)],
            "cy": [utterance(i, speaker="cy") for i in range(20)],
        },
    )
    corpus = preparation.Corpus(
        speakers, train, {}, {}, rejections.Rejections()
    )
    held = held_out.hold_out(corpus, 0.1, 0)
    assert {s: len(d.utterances) for s, d in held.corpus.train.items()} == {
        0: 36,
        1: 5,
        2: 18,
    }
    assert {s: len(d.utterances) for s, d in held.corpus.dev.items()} == {
        0: 4,
        2: 2,
    }
    for slot, data in held.corpus.dev.items():
        kept = {u.utt_id for u in held.corpus.train[slot].utterances}
        assert not kept & {u.utt_id for u in data.utterances}
    assert held.describe() == (
        "6 utterances of 2 speakers are held out as dev speech, 2 to 4 of "
        "each (--dev=none holds out none); nothing to spare for dev speech, "
        "so all steps are trained and the last is kept: bob"
    )
