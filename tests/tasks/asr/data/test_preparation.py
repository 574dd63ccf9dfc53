"""Unusable utterances are named before training, never dropped silently.

Each kind of bad input stands in a manifest beside good ones.
"""

import dataclasses
import json

import numpy as np
import pytest
import soundfile

from lingvo_like.base_models import base_model, text_tokenizers
from params import jobs
from tasks.asr.data import audio, preparation, rejections
from tests import tiny


class Base:
    """As much of a base model as manifests are checked against."""

    sample_rate = 16000
    max_samples = 4 * 16000
    max_tokens = 10
    languages = ("en",)

    seconds = base_model.BaseModel.seconds
    label = text_tokenizers.Characters().label
    tokenize = text_tokenizers.Characters().tokenize

    def fits(self, num_samples, tokens):
        return len(tokens) <= num_samples / 1600


@pytest.fixture
def folder(tmp_path):
    tiny.recordings(tmp_path, ("ann", "bob"), 3)
    return tmp_path


def line(**changes):
    return json.dumps(
        {
            "audio_filepath": "train_0_0.wav",
            "text": "on",
            "speaker": "ann",
            "utt_id": "odd",
        }
        | changes
    )


def append(folder, *lines, name="train"):
    with open(folder / f"{name}.jsonl", "a", encoding="utf-8") as file:
        file.writelines(f"{each}\n" for each in lines)


def prepare(folder, dev="", strict=False, experiment=None):
    return preparation.prepare(
        Base(),
        experiment or tiny.experiment(),
        str(folder / "train.jsonl"),
        dev and str(folder / dev),
        strict,
    )


def sound(folder, samples, rate=16000, subtype="FLOAT"):
    path = folder / "odd.wav"
    soundfile.write(path, np.asarray(samples, "float32"), rate, subtype)
    return path.name


def noise(seconds):
    return 0.1 * np.random.default_rng(0).standard_normal(int(16000 * seconds))


def missing(folder):
    return line(audio_filepath="gone.wav"), "audio file is missing"


def not_audio(folder):
    (folder / "odd.wav").write_bytes(b"no sound here" * 100)
    return line(audio_filepath="odd.wav"), "not readable as audio"


def no_bytes(folder):
    (folder / "odd.wav").write_bytes(b"")
    return line(audio_filepath="odd.wav"), "0 bytes"


def cut_off(folder):
    name = sound(folder, noise(1.0))
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    return line(audio_filepath=name), "truncated"


def no_samples(folder):
    return line(audio_filepath=sound(folder, [])), "no samples"


def zero_length(folder):
    return line(duration=0), "zero length"


def next_to_nothing(folder):
    name = sound(folder, noise(1.0)[:2], rate=96000)
    return line(audio_filepath=name), "too short to hear anything"


def nan(folder):
    samples = noise(1.0)
    samples[800] = np.nan
    return line(audio_filepath=sound(folder, samples)), "NaN"


def silence(folder):
    return line(audio_filepath=sound(folder, np.zeros(16000))), "silence"


def too_long(folder):
    name = sound(folder, noise(4.5))
    return line(audio_filepath=name), "longer than the base model takes"


def too_short(folder):
    name = sound(folder, noise(0.3))
    return line(audio_filepath=name, text="onoffgo"), "too short"


def empty_text(folder):
    return line(text="  "), "`text` is empty"


def not_text(folder):
    return line(text=7), "`text` is not text"


def nothing_to_write(folder):
    return line(text="... ?!"), "nothing that the base can write"


def other_letters(folder):
    return line(text="on 李"), "transcript has what the base cannot write"


def special_token(folder):
    return line(text="<|0.00|> on"), "special token of a model"


def bracketed_mark(folder):
    return line(text="[noise] on"), "mark in brackets"


def clock_time(folder):
    return line(text="5:30"), "'5:30': it never writes ':'"


def invisible_text(folder):
    return line(text="\ufeff\u200b"), "`text` is empty"


def too_many_tokens(folder):
    return line(text="turn the light on"), "transcript longer than the base"


def duplicate(folder):
    return line(utt_id="train0"), "duplicate utt_id"


def unknown_key(folder):
    return line(sevrity="mild"), "unknown key `sevrity`"


def not_json(folder):
    return '{"text": "on"', "not JSON"


KINDS = (
    missing,
    not_audio,
    no_bytes,
    cut_off,
    no_samples,
    zero_length,
    next_to_nothing,
    nan,
    silence,
    too_long,
    too_short,
    empty_text,
    not_text,
    nothing_to_write,
    other_letters,
    special_token,
    bracketed_mark,
    clock_time,
    invisible_text,
    too_many_tokens,
    duplicate,
    unknown_key,
    not_json,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_unusable_utterance_is_named_and_left_out(folder, kind):
    bad, reason = kind(folder)
    append(folder, bad)
    corpus = prepare(folder)
    assert corpus.speakers == ("ann", "bob")
    assert len(corpus.train[0].utterances) == 3
    account = corpus.left_out.describe(examples=None)
    assert account.startswith("1 left out:")
    assert reason in account
    # The line of the manifest, the utterance, or the file.
    assert any(
        place in account for place in ("train.jsonl:7", "  odd", "odd.wav")
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_strict_refuses_it_in_one_line(folder, kind):
    bad, reason = kind(folder)
    append(folder, bad)
    with pytest.raises(ValueError) as error:
        prepare(folder, strict=True)
    assert "\n" not in str(error.value)
    assert reason in str(error.value)


def test_trainings_own_limit_is_named_with_what_raises_it(folder):
    append(folder, line(text="go on"))
    path = str(folder / "train.jsonl")
    left_out = rejections.Rejections()
    read = preparation.read_speakers(Base(), path, left_out, max_tokens=4)
    assert len(read["ann"]) == 3
    assert left_out[0].reason == "transcript longer than training takes"
    assert left_out[0].detail == (
        "5 tokens, train.max_tokens is 4; --set=train.max_tokens=5 takes it"
    )
    assert len(prepare(folder).train[0].utterances) == 4
    low = tiny.experiment(max_tokens=4)
    assert len(prepare(folder, experiment=low).train[0].utterances) == 3


def test_what_is_only_recognised_has_no_limit_of_tokens(folder):
    append(folder, line(text="turn the light on, please"))
    left_out = rejections.Rejections()
    path = str(folder / "train.jsonl")
    read = preparation.read_speakers(Base(), path, left_out, max_tokens=None)
    assert len(read["ann"]) == 4 and not left_out


def test_a_missing_manifest_is_named(folder):
    with pytest.raises(FileNotFoundError, match="dev.jsonl does not exist"):
        prepare(folder, "dev.jsonl")
    (folder / "train.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match="train.jsonl does not exist"):
        prepare(folder)


def test_a_manifest_without_anything_usable_says_why(folder):
    (folder / "train.jsonl").write_text(
        f"{line(text='')}\n{line(audio_filepath='gone.wav')}\n"
    )
    with pytest.raises(ValueError) as error:
        prepare(folder)
    for part in ("train.jsonl", "`text` is empty", "audio file is missing"):
        assert part in str(error.value)


def test_nothing_left_after_the_bases_own_checks_says_why(folder):
    (folder / "train.jsonl").write_text(line(text="李") + "\n")
    with pytest.raises(ValueError, match="no speaker is left.*cannot write"):
        prepare(folder)


def test_a_speaker_with_too_few_utterances_is_named(folder):
    append(folder, line(speaker="cy"))
    corpus = prepare(folder, experiment=tiny.experiment(min_utterances=2))
    assert corpus.speakers == ("ann", "bob")
    account = corpus.left_out.describe()
    assert "too few utterances" in account
    assert "cy" in account
    assert "1, train.min_utterances is 2" in account


def test_a_speaker_whose_utterances_are_all_unusable_is_named(folder):
    for place in range(2):
        append(folder, line(speaker="cy", text="李", utt_id=f"odd{place}"))
    append(folder, line(speaker="di", audio_filepath="gone.wav", utt_id="gone"))
    left_out = prepare(folder).left_out
    lost = left_out.by_reason()["speaker has no usable utterance"]
    assert {each.utt_id for each in lost} == {"cy", "di"}
    assert all(each.where.endswith("train.jsonl") for each in lost)
    with pytest.raises(ValueError, match="5 unusable"):
        prepare(folder, strict=True)


def test_speakers_of_one_manifest_alone_are_named(folder):
    tiny.recordings(folder, ("ann", "zoe"), 2, name="dev")
    corpus = prepare(folder, "dev.jsonl")
    assert corpus.speakers == ("ann", "bob")
    assert sorted(corpus.dev) == [0]
    account = corpus.left_out.describe()
    assert "dev speaker is not in training" in account and "zoe" in account
    assert "speaker has no dev utterance" in account and "bob" in account


def test_a_length_that_slower_speech_makes_too_long_is_left_out(folder):
    append(folder, line(audio_filepath=sound(folder, noise(3.8))))
    assert not prepare(folder).left_out
    plain = tiny.experiment()
    slower = dataclasses.replace(
        plain,
        augment=dataclasses.replace(plain.augment, speed_factors=(0.9, 1.0)),
    )
    account = prepare(folder, experiment=slower).left_out.describe()
    assert "longer than the base model takes" in account


def test_the_digest_changes_with_the_recordings_of_that_speaker_alone(folder):
    before = prepare(folder).digests
    append(folder, line(utt_id="more", text="off"))
    after = prepare(folder).digests
    assert before["ann"] != after["ann"]
    assert before["bob"] == after["bob"]


def test_a_second_start_prepares_the_same_without_decoding(folder, monkeypatch):
    append(folder, silence(folder)[0])

    def prepared():
        return preparation.prepare(
            Base(),
            tiny.experiment(),
            str(folder / "train.jsonl"),
            checks_folder=str(folder),
        )

    first = prepared()
    monkeypatch.delattr(audio, "decode")
    assert prepared() == first
    assert len(first.left_out) == 1


def test_tokens_go_with_their_utterances(folder):
    data = prepare(folder).train[0]
    tokenize = Base().tokenize
    assert [each.text for each in data.utterances] == ["on", "off", "go"]
    for utterance in data.utterances:
        assert list(utterance.tokens) == list(tokenize(utterance.text))


def test_marks_that_are_not_learnt_are_remarked_on_once(folder):
    assert not prepare(folder).left_out.remarks
    append(folder, line(text="“On”…"), line(text="don’t, now", utt_id="zed"))
    corpus = prepare(folder, strict=True)
    (remark,) = corpus.left_out.remarks
    assert "without marks that the base never writes" in remark.reason
    assert remark.utt_id == "odd first"
    assert remark.detail == '2 of them: " , .'
    assert remark.reason in corpus.left_out.describe()


def test_silence_is_trimmed_where_the_experiment_says_so(folder):
    pytest.importorskip("tensorflow_io")
    quiet = np.zeros(16000)
    name = sound(folder, np.concatenate([quiet, noise(1.0), quiet]))
    # The first by its id.
    append(folder, line(audio_filepath=name, utt_id="a"))
    plain = tiny.experiment()
    trimming = dataclasses.replace(plain, data=jobs.Data(trim_silence=True))
    durations = [
        prepare(folder, experiment=each).train[0].utterances[0].duration
        for each in (plain, trimming)
    ]
    assert durations == [3.0, pytest.approx(1.2, abs=0.01)]
