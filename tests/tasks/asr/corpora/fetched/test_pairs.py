"""Recordings and texts that do not belong together."""

import pytest

from tasks.asr.corpora.fetched import pairs
from tasks.asr.data import manifest, rejections


def pair(name, text, seconds, digest=""):
    utterance = manifest.Utterance(
        f"/{name}.flac", text, "ann", name, seconds, language="es"
    )
    return pairs.Pair(f"{name}.ogg", utterance, digest or name)


def usual(number=12):
    """Eight letters a second."""
    return [pair(f"usual{n}", f"palabra{n:02}"[:8], 1.0) for n in range(number)]


def run(*odd, number=12):
    left_out = rejections.Rejections()
    good = pairs.usable([*usual(number), *odd], left_out)
    names = [each.utterance.utt_id for each in good]
    return (
        [name for name in names if not name.startswith("usual")],
        {each.utt_id: each.reason for each in left_out},
    )


def test_a_text_far_too_long_for_its_recording_is_another_s():
    # 60 letters in a second, where the voice says 8.
    good, left_out = run(
        pair("long", "a" * 60, 1.0),
        # Quick, but people can.
        pair("quick", "a" * 17, 1.0),
    )
    assert good == ["quick"]
    assert left_out == {"long": "too short for its text"}


@pytest.mark.parametrize(
    "pace, most", [(4, 17), (9, 17), (10, 18), (12, 21), (15, 22)]
)
def test_how_fast_a_voice_may_be_follows_from_its_pace(pace, most):
    left_out = rejections.Rejections()
    found = [pair(f"n{n}", "a" * pace, 1.0) for n in range(12)]
    odd = [pair("quick", "a" * most, 1.0), pair("long", "a" * (most + 1), 1.0)]
    good = pairs.usable([*found, *odd], left_out)
    assert [each.utterance.utt_id for each in good[12:]] == ["quick"]
    assert [each.utt_id for each in left_out] == ["long"]


def test_a_recording_far_too_long_for_its_text_has_more_in_it():
    good, left_out = run(
        pair("song", "si", 10.0),
        # A short word between pauses.
        pair("yes", "si", 1.5),
    )
    assert good == ["yes"]
    assert left_out == {"song": "too long for its text"}


def test_the_pace_of_a_few_utterances_decides_nothing():
    good, left_out = run(pair("long", "a" * 60, 1.0), number=3)
    assert good == ["long"]
    assert not left_out


def test_a_recording_that_is_there_again_counts_once():
    good, left_out = run(
        pair("first", "Un gato.", 1.0, "same"),
        pair("second", "un gato", 1.0, "same"),
    )
    assert good == ["first"]
    assert left_out == {"second": "the recording of another once more"}


def test_a_recording_with_two_texts_is_of_no_use():
    good, left_out = run(
        pair("first", "Un gato.", 1.0, "same"),
        pair("second", "Un perro.", 1.0, "same"),
    )
    assert good == []
    assert set(left_out.values()) == {"one recording with several texts"}
    assert len(left_out) == 2
