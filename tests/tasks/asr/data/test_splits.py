import collections
import dataclasses
import hashlib
import random

import pytest

from tasks.asr.data import manifest, splits


def utterances(num_phrases=20, speakers=("ann", "bob"), takes=2):
    return [
        manifest.Utterance(
            f"/audio/{speaker}/{phrase}-{take}.wav",
            # Takes of one phrase differ in how they are set.
            [f"Phrase {phrase}, please!", f"phrase {phrase} PLEASE"][take % 2],
            speaker,
            f"{phrase}-{take}",
            1.0,
        )
        for speaker in speakers
        for phrase in range(num_phrases)
        for take in range(takes)
    ]


def phrases(part, speaker):
    return {splits.phrase_key(u.text) for u in part if u.speaker == speaker}


def placed(parts):
    return {
        (each.speaker, each.utt_id): name
        for name, part in parts.items()
        for each in part
    }


@pytest.mark.parametrize("by", splits.BY)
def test_no_phrase_of_a_speaker_is_in_two_splits(by):
    parts, _ = splits.assign(utterances(), seed=3, by=by)
    assert sum(len(part) for part in parts.values()) == 80
    for speaker in ("ann", "bob"):
        train, dev, test = (phrases(parts[s], speaker) for s in splits.SPLITS)
        assert (len(train), len(dev), len(test)) == (16, 2, 2)
        assert not (train & dev or train & test or dev & test)
    for name, part in parts.items():
        assert {each.split for each in part} == {name}


def test_split_depends_on_seed_and_speaker_and_nothing_else():
    items = utterances(speakers=("ann", "bob"))
    parts, _ = splits.assign(items)
    shuffled = list(items)
    random.Random(0).shuffle(shuffled)
    assert placed(splits.assign(shuffled)[0]) == placed(parts)
    alone, _ = splits.assign([u for u in items if u.speaker == "ann"])
    for name in splits.SPLITS:
        assert phrases(alone[name], "ann") == phrases(parts[name], "ann")
    assert phrases(parts["test"], "ann") != phrases(parts["test"], "bob")
    assert placed(splits.assign(items, seed=1)[0]) != placed(parts)


def test_split_is_the_same_on_every_machine():
    parts, _ = splits.assign(utterances(speakers=("ann",)), seed=7)
    # SHA-256 of seed, speaker and phrase, not Python's hash().
    ranked = sorted(
        (f"phrase {number} please" for number in range(20)),
        key=lambda key: hashlib.sha256(f"7\0ann\0{key}".encode()).digest(),
    )
    assert phrases(parts["test"], "ann") == set(ranked[:2])
    assert phrases(parts["dev"], "ann") == set(ranked[2:4])


def test_by_phrases_holds_the_same_phrases_out_for_everybody():
    parts, _ = splits.assign(utterances(), by="phrases")
    assert phrases(parts["test"], "ann") == phrases(parts["test"], "bob")


def test_fractions_are_shares_of_phrases_and_zero_means_none():
    parts, report = splits.assign(utterances(), fractions=(0.7, 0.0, 0.3))
    assert len(phrases(parts["train"], "ann")) == 14
    assert len(phrases(parts["test"], "ann")) == 6
    assert not parts["dev"] and not report.absent


def test_smallest_speaker_keeps_a_phrase_in_each_split():
    parts, report = splits.assign(
        utterances(num_phrases=3), fractions=(0.1, 0.45, 0.45)
    )
    for name in splits.SPLITS:
        assert len(phrases(parts[name], "ann")) == 1
    assert not report.too_few


def test_speaker_with_too_few_phrases_is_reported_and_trains():
    items = utterances() + utterances(num_phrases=2, speakers=("cyd",))
    parts, report = splits.assign(items)
    assert report.too_few == {"cyd": 2}
    assert len(phrases(parts["train"], "cyd")) == 2
    assert "cyd: 2 phrases" in report.describe()


def test_existing_splits_are_kept_and_new_recordings_join_their_phrase():
    items = utterances(takes=2)
    items = [
        dataclasses.replace(
            each, split="test" if int(each.utt_id[:-2]) < 5 else "train"
        )
        if each.utt_id.endswith("-0") and int(each.utt_id[:-2]) < 10
        else each
        for each in items
    ]
    parts, report = splits.assign(items)
    where = placed(parts)
    for each in items:
        number = int(each.utt_id[:-2])
        if number < 10:
            expected = "test" if number < 5 else "train"
            assert where[each.speaker, each.utt_id] == expected
    assert not report.repeated


def test_keep_test_splits_the_rest_into_train_and_dev():
    items = [
        dataclasses.replace(
            each, split="test" if int(each.utt_id[:-2]) < 4 else "train"
        )
        for each in utterances()
    ]
    _, kept = splits.assign(items)
    assert kept.absent == {"ann": ("dev",), "bob": ("dev",)}
    parts, report = splits.assign(items, existing="keep_test")
    assert len(phrases(parts["test"], "ann")) == 4
    assert len(phrases(parts["dev"], "ann")) == 2
    assert len(phrases(parts["train"], "ann")) == 14
    assert not report.absent


def test_phrases_that_a_corpus_repeats_in_train_and_test_are_reported():
    items = [
        dataclasses.replace(
            each, split="test" if each.utt_id.endswith("1") else "train"
        )
        for each in utterances()
    ]
    _, report = splits.assign(items)
    assert report.repeated == {"ann": 20, "bob": 20}
    parts, report = splits.assign(items, existing="ignore")
    assert not report.repeated
    assert len(phrases(parts["test"], "ann")) == 2


def test_bad_arguments_are_refused():
    for fractions in [(0.8, 0.2), (0.8, 0.1, 0.2), (0, 0.5, 0.5), (2, -1, 0)]:
        with pytest.raises(ValueError, match="fractions must"):
            splits.assign(utterances(), fractions=fractions)
    with pytest.raises(ValueError, match="by must be one of"):
        splits.assign(utterances(), by="words")
    odd = [dataclasses.replace(utterances()[0], split="fold1")]
    with pytest.raises(ValueError, match="fold1.*--existing_splits=ignore"):
        splits.assign(odd)
    assert splits.assign(odd, existing="ignore")[0]["train"]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("Don't stop!", "dont  stop", True),
        ("Don’t stop", "DON'T STOP.", True),
        ("Straße", "STRASSE", True),
        ("e\u0301t\u00e9", "\u00e9t\u00e9", True),
        ("well-known", "well known", True),
        ("wellknown", "well known", False),
        ("你好。", "你好", True),
        ("?", "!", False),
        ("\ufeffo\u200bn", "on", True),
        ("hos\u00adpital", "hospital", True),
        ("wait…", "wait", True),
        ("Ａ１", "a1", True),
        ("3½ cups", "3 1/2 cups", True),
        ("مُحَمَّد", "محمد", True),
        ("schön", "schon", False),
    ],
)
def test_phrase_key_folds_setting_but_not_words(first, second, same):
    assert (splits.phrase_key(first) == splits.phrase_key(second)) is same


def test_novelty_tells_phrases_and_words_apart():
    train = ["Turn on the light", "Close the door!"]
    assert splits.Heard(train).novelty("turn on the LIGHT.") == "seen_phrase"
    assert splits.Heard(train).novelty("turn on the door") == "unseen_phrase"
    assert splits.Heard(train).novelty("turn on the radio") == "unseen_words"
    counts = collections.Counter(map(splits.Heard(train).novelty, train))
    assert counts == {"seen_phrase": 2}


def test_speakers_of_few_utterances_are_named_once():
    many = utterances(40, ("ann",)) + utterances(8, ("bob",))
    _, report = splits.assign(many + utterances(1, ("cleo",)))
    assert report.few == {"bob": "train 12, test 2"}
    assert "1 speaker with fewer than 20 utterances to train" in (
        report.describe()
    )
    assert "cleo: 1 phrase\n" in report.describe()
    assert not splits.assign(utterances(30, ("ann",)))[1].few
