import json
import os

import numpy as np
import pytest
import soundfile

from tasks.asr.data import inspection, manifest, rejections


@pytest.fixture
def folder(tmp_path):
    for index in range(4):
        make_audio(tmp_path / "audio" / f"{index}.wav")
    return tmp_path


def make_audio(path, seconds=1.0, scale=0.1):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(0, 1, int(seconds * 16000))
    soundfile.write(path, scale * noise, 16000)
    return path


def line(**changes):
    fields = {
        "audio_filepath": "audio/0.wav",
        "text": "turn on",
        "speaker": "ann",
        "duration": 1.0,
    } | changes
    return json.dumps({k: v for k, v in fields.items() if v is not ...})


def read(folder, *lines, strict=False):
    path = folder / "manifest.jsonl"
    data = b"\n".join(
        each if isinstance(each, bytes) else each.encode() for each in lines
    )
    path.write_bytes(data + b"\n")
    return inspection.read(str(path), strict)


def test_written_manifest_reads_back_the_same(folder):
    utterances = [
        manifest.Utterance(
            str(folder / "audio" / "0.wav"),
            "Schalt’ das Licht an",
            "Jürgen 李",
            "ü-1",
            0.5,
            offset=0.25,
            split="dev",
            session="s1",
            mic="head",
            severity="mild",
            etiology="ALS",
            simulated=True,
        ),
        manifest.Utterance(
            str(folder / "audio" / "1.wav"), "b", "ann", "2", 1.0
        ),
    ]
    path = str(folder / "new" / "manifest.jsonl")
    manifest.write(path, utterances)
    again, left_out = inspection.read(path, any_ids=True)
    assert again == utterances
    assert not left_out


def test_folder_of_manifest_and_audio_can_be_moved(folder):
    utterance = manifest.Utterance(
        str(folder / "audio" / "0.wav"), "a", "ann", "1", 1.0
    )
    manifest.write(str(folder / "manifest.jsonl"), [utterance])
    moved = folder.parent / (folder.name + "-moved")
    os.rename(folder, moved)
    (again,), _ = inspection.read(str(moved / "manifest.jsonl"))
    assert again.audio_filepath == str(moved / "audio" / "0.wav")


def test_failed_write_keeps_the_old_manifest(folder, monkeypatch):
    path = folder / "manifest.jsonl"
    path.write_text("old")
    utterance = manifest.Utterance("/a.wav", "a", "ann", "1", 1.0)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        manifest.write(str(path), [utterance])
    assert path.read_text() == "old"
    assert sorted(os.listdir(folder)) == ["audio", "manifest.jsonl"]


def test_missing_duration_and_utt_id_come_from_the_file(folder):
    (first, second), _ = read(
        folder,
        line(duration=...),
        line(duration=..., offset=0.25),
    )
    assert (first.utt_id, first.duration) == ("0", 1.0)
    assert (second.utt_id, second.duration) == ("0-0000250", 0.75)


def test_alike_file_names_get_different_ids_in_any_order(folder):
    make_audio(folder / "data" / "0" / "recording.wav")
    make_audio(folder / "data" / "1" / "recording.wav")
    lines = [
        line(audio_filepath=f"data/{index}/recording.wav") for index in (0, 1)
    ]
    forward, left_out = read(folder, *lines)
    backward, _ = read(folder, *reversed(lines))
    assert not left_out
    assert [each.utt_id for each in forward] == ["0-recording", "1-recording"]
    assert forward == backward[::-1]


def test_same_utt_id_of_two_speakers_is_no_duplicate(folder):
    utterances, left_out = read(folder, line(), line(speaker="bob"))
    assert len(utterances) == 2 and not left_out


BAD = {
    "not JSON": '{"text": ',
    "not a JSON object": "[1]",
    "not UTF-8": b'{"text": "\xff"}',
    "no `speaker`": line(speaker=...),
    "no `text`": line(text=...),
    "no `audio_filepath`": line(audio_filepath=...),
    "`text` is not text": line(text=["a"]),
    "`text` is empty": line(text=" \t"),
    "`speaker` is empty": line(speaker=""),
    "`speaker` is not text": line(speaker=True),
    "`audio_filepath` is not a path": line(audio_filepath=7),
    "duplicate utt_id of one speaker": line(),
    "audio file is missing": line(audio_filepath="audio/none.wav"),
    "not a file": line(audio_filepath="audio", utt_id="x"),
    "zero length": line(audio_filepath="audio/1.wav", duration=0),
    "`duration` is not a length of time": line(duration=-1.0),
    "`duration` is not a number of seconds": line(duration="1.0"),
    "`offset` is not a length of time": line(offset=float("nan")),
    "offset outside of the audio file": line(offset=1.5, duration=...),
    "end outside of the audio file": line(offset=0.5, duration=0.8),
    "`simulated` is not true or false": line(simulated="yes"),
    "unknown key `durration`": line(duration=..., durration=1.0),
}


@pytest.mark.parametrize("reason", BAD)
def test_unusable_line_is_listed_with_its_place(folder, reason):
    utterances, left_out = read(folder, line(), BAD[reason])
    assert [each.utt_id for each in utterances] == ["0"]
    (rejection,) = left_out
    assert rejection.where == "manifest.jsonl:2"
    assert rejection.reason == reason
    with pytest.raises(ValueError, match="manifest.jsonl:2") as caught:
        read(folder, line(), BAD[reason], strict=True)
    assert reason in str(caught.value)


def test_half_a_character_and_huge_numbers_are_rejected(folder):
    _, left_out = read(
        folder,
        line(),
        line(text="a").replace('"a"', r'"\ud800"'),
        line(duration=...).replace("}", ', "duration": 1' + "0" * 400 + "}"),
    )
    assert [each.reason for each in left_out] == [
        "not UTF-8",
        "`duration` is not a length of time",
    ]


def test_keys_of_other_tools_are_ignored(folder):
    utterances, left_out = read(folder, line(lang="en", pred_text="x", id=3))
    assert len(utterances) == 1 and not left_out


def test_duration_rounded_past_the_end_is_cut_to_the_file(folder):
    (utterance,), _ = read(folder, line(duration=1.04))
    assert utterance.duration == 1.0


def test_byte_order_mark_blank_lines_and_windows_endings_are_fine(folder):
    utterances, left_out = read(
        folder, b"\xef\xbb\xbf" + line().encode() + b"\r", "", line(utt_id="2")
    )
    assert len(utterances) == 2 and not left_out


def test_manifest_without_use_is_a_clear_error(folder):
    with pytest.raises(OSError, match="none.jsonl does not exist"):
        inspection.read(str(folder / "none.jsonl"))
    with pytest.raises(ValueError, match="not a file"):
        inspection.read(str(folder))
    with pytest.raises(ValueError, match="is empty"):
        read(folder, "", "")
    with pytest.raises(ValueError, match=r"no usable .* 2 x no `text`.*:1"):
        read(folder, line(text=...), line(text=...))


def test_check_audio_rejects_what_only_the_samples_show(folder):
    make_audio(folder / "audio" / "long.wav", seconds=3.0)
    make_audio(folder / "audio" / "silent.wav", scale=0.0)
    spoilt = np.full(16000, 0.1)
    spoilt[5] = np.nan
    soundfile.write(folder / "audio" / "nan.wav", spoilt, 16000, "FLOAT")
    soundfile.write(folder / "audio" / "offset.wav", np.full(16000, 0.2), 16000)
    flac = folder / "audio" / "cut.flac"
    noise = np.random.default_rng(0).normal(0, 0.1, 32000)
    soundfile.write(flac, noise, 16000)
    flac.write_bytes(flac.read_bytes()[:20000])
    names = ["0.wav", "long.wav", "silent.wav", "nan.wav", "offset.wav"]
    lines = [
        line(audio_filepath=f"audio/{name}", duration=...)
        for name in [*names, "cut.flac"]
    ]
    utterances, _ = read(folder, *lines)
    assert len(utterances) == 6
    usable, left_out = inspection.read(
        folder / "manifest.jsonl", decoding=inspection.Decoding(2.0)
    )
    assert [each.utt_id for each in usable] == ["0"]
    assert {each.utt_id: each.reason.split()[0] for each in left_out} == {
        "long": "longer",
        "silent": "silence",
        "offset": "silence",
        "nan": "samples",
        "cut": "audio",
    }


def test_description_groups_by_reason_with_counts_and_examples():
    left_out = rejections.Rejections()
    for index in range(5):
        left_out.add(f"m.jsonl:{index}", f"u{index}", "`text` is empty")
    left_out.add("m.jsonl:9", "u9", "audio file is missing", "/a.wav")
    text = left_out.describe(examples=2)
    assert text.splitlines() == [
        "6 left out:",
        "  5  `text` is empty",
        "       m.jsonl:0  u0",
        "       m.jsonl:1  u1",
        "       ... and 3 more",
        "  1  audio file is missing",
        "       m.jsonl:9  u9  /a.wav",
    ]
    assert len(left_out.describe(examples=None).splitlines()) == 9
    assert rejections.Rejections().describe() == ""


def test_several_manifests_are_read_as_one(folder):
    other = folder / "other"
    other.mkdir()
    (folder / "a.jsonl").write_text(line(utt_id="1"))
    (other / "a.jsonl").write_text(
        line(utt_id="2", audio_filepath="../audio/1.wav") + "\n{}\n"
    )
    named = f"{folder / 'a.jsonl'}, {other / 'a.jsonl'}"
    utterances, left_out = inspection.read(named)
    assert [each.utt_id for each in utterances] == ["1", "2"]
    assert utterances[1].audio_filepath == str(folder / "audio" / "1.wav")
    # Two of the same name: the folder tells them apart.
    assert [each.where for each in left_out] == [f"{other / 'a.jsonl'}:2"]
    with pytest.raises(OSError, match="none.jsonl does not exist"):
        inspection.read(f"{folder / 'a.jsonl'},none.jsonl")


def test_alike_ids_of_two_manifests_are_of_two_recordings(folder):
    paths = []
    for index, name in enumerate(("phone", "laptop")):
        paths.append(str(folder / name / "train.json"))
        (folder / name).mkdir()
        manifest_line = line(audio_filepath=f"../audio/{index}.wav", utt_id="1")
        (folder / name / "train.json").write_text(manifest_line)
    for both in (paths, paths[::-1]):
        utterances, left_out = inspection.read(",".join(both))
        assert {each.utt_id for each in utterances} == {
            "phone/train/1",
            "laptop/train/1",
        }
        assert not left_out
    (alone,), _ = inspection.read(paths[0])
    assert alone.utt_id == "1"


def test_a_name_with_a_comma_is_one_manifest(folder):
    (folder / "a,b.jsonl").write_text(line())
    utterances, _ = inspection.read(folder / "a,b.jsonl")
    assert len(utterances) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"audio_filepath,text,speaker\na.wav,yes,ann\n", "--from=audiofolder"),
        (b"\xef\xbb\xbffile;text;speaker\r\na;b;c\r\n", "--from=audiofolder"),
        (b'"file","text"\r\n"a.wav","yes"\r\n', "--from=audiofolder"),
        (b"path\tsentence\na.mp3\tyes\n", "tasks.import_corpus"),
        ('{"text": "a"}'.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (b'[\n{"text": "a"}\n]\n', "one object a line"),
    ],
)
def test_what_is_no_manifest_says_how_to_make_one(folder, content, message):
    path = folder / "all.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        inspection.read(path)


def test_what_tables_make_of_numbers_is_understood(folder):
    utterances, left_out = read(
        folder,
        line(speaker=7.0, utt_id=1.0),
        line(speaker=7, utt_id=2),
        line(speaker=float("nan"), utt_id="3"),
        line(session=float("nan"), utt_id="4"),
        line(duration=float("nan"), utt_id="5"),
        line(text=None, utt_id="6"),
    )
    assert [(u.speaker, u.utt_id) for u in utterances] == [
        ("7", "1"),
        ("7", "2"),
    ]
    assert len(left_out) == 4


@pytest.mark.parametrize("decoding", [None, inspection.Decoding(30.0)])
def test_a_duration_much_shorter_than_the_recording_is_remarked_on(
    folder, decoding
):
    path = folder / "audio" / "long.wav"
    tone = np.sin(np.arange(160000) / 5)
    soundfile.write(path, tone, 16000)
    text = line(audio_filepath="audio/long.wav", duration=2.0, utt_id="cut")
    (folder / "all.jsonl").write_text(f"{text}\n{line()}\n")
    _, left_out = inspection.read(folder / "all.jsonl", decoding=decoding)
    assert not left_out
    (remark,) = left_out.remarks
    assert remark.utt_id == "cut"
    assert remark.detail == "2.00 s of 10.00 s are used"
    assert "1 to look at" in left_out.account()
    # Several cuts of one recording are meant.
    _, left_out = read(
        folder,
        line(audio_filepath="audio/long.wav", duration=2.0, utt_id="1"),
        line(audio_filepath="audio/long.wav", offset=2, duration=2, utt_id="2"),
    )
    assert not left_out.remarks
