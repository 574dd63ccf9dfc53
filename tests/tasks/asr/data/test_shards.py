"""Shards sound exactly like the files that they were packed from."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from params import jobs
from tasks.asr.batches import input_pipeline, minibatch_schedule
from tasks.asr.data import (
    audio,
    inspection,
    manifest,
    preparation,
    rejections,
    shards,
)

MEGABYTE = 1_000_000


def noise(num_samples, seed=0, scale=0.1):
    draw = np.random.default_rng(seed)
    return np.clip(draw.normal(0, scale, num_samples), -0.9, 0.9)


def write_manifest(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    utterances, left_out = inspection.read(str(path), strict=True)
    assert not left_out
    return utterances


def line(name, utt_id, **fields):
    return {
        "audio_filepath": name,
        "text": "lights on",
        "speaker": "ann",
        "utt_id": utt_id,
        **fields,
    }


def repacked(utterances, folder, max_bytes=MEGABYTE, container="FLAC"):
    """The utterances as a user gets them back: packed, written and read."""
    packed = shards.pack(
        {"all": utterances}, folder, max_bytes, container=container
    )
    assert not packed.left_out["all"]
    path = folder / "all.jsonl"
    path.write_text(manifest.dumps(packed.utterances["all"], folder))
    again, left_out = inspection.read(str(path), strict=True)
    assert not left_out
    return again


def samples_of(utterance):
    return audio.load(
        utterance.audio_filepath, utterance.offset, utterance.duration
    )


@pytest.fixture
def folder(tmp_path):
    target = tmp_path / "packed"
    target.mkdir()
    return target


# Lengths that no four digits of a second say.
SOURCES = {
    "16 bits": ("a.wav", 16000, 1, "PCM_16", b"fLaC"),
    "8 bits": ("a.wav", 8000, 1, "PCM_U8", b"fLaC"),
    "24 bits": ("a.flac", 44100, 1, "PCM_24", b"fLaC"),
    "stereo": ("a.wav", 22050, 2, "PCM_16", b"fLaC"),
    "floats": ("a.wav", 16000, 1, "FLOAT", b"RIFF"),
    "a rate that FLAC has not": ("a.wav", 70001, 1, "PCM_16", b"RIFF"),
    "mp3": ("a.mp3", 16000, 1, None, None),
    "stereo mp3": ("a.mp3", 48000, 2, None, None),
    "ogg": ("a.ogg", 16000, 1, None, b"OggS"),
}


@pytest.mark.parametrize("container", shards.CONTAINERS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_sample_is_kept_whole_and_cut(
    tmp_path, folder, source, container
):
    name, rate, channels, subtype, magic = SOURCES[source]
    signal = noise(channels * (rate + 1237)).reshape(-1, channels)
    soundfile.write(tmp_path / name, signal, rate, subtype=subtype)
    seconds = audio.seconds(str(tmp_path / name))
    utterances = write_manifest(
        tmp_path / "all.jsonl",
        [
            line(name, "whole"),
            line(name, "rounded", duration=round(seconds, 4)),
            line(name, "down", duration=int(seconds * 1e4) / 1e4),
            line(name, "start", duration=0.51237),
            line(name, "middle", offset=0.23457, duration=0.51237),
            line(name, "end", offset=0.5),
        ],
    )
    again = repacked(utterances, folder, container=container)
    for before, after in zip(utterances, again, strict=True):
        assert after.audio_filepath.startswith(f"{folder}/shard-00000.tfrecord")
        expected, expected_rate = samples_of(before)
        found, found_rate = samples_of(after)
        assert found_rate == expected_rate == rate
        np.testing.assert_array_equal(found, expected, err_msg=before.utt_id)
        assert (
            dataclasses.replace(
                after,
                audio_filepath=before.audio_filepath,
                offset=before.offset,
                duration=before.duration,
            )
            == before
        )
    data, _ = shards.encode(str(tmp_path / name), container=container)
    if magic == b"fLaC" and container == "WAV":
        magic = b"RIFF"
    if magic is not None:
        assert data.startswith(magic)


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg"])
def test_a_lossy_file_does_not_grow(tmp_path, name):
    soundfile.write(tmp_path / name, noise(20011), 16000)
    data, _ = shards.encode(str(tmp_path / name))
    assert data == (tmp_path / name).read_bytes()


def test_sixteen_bits_shrink(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(20011, scale=0.01), 16000)
    data, _ = shards.encode(str(tmp_path / "a.wav"))
    assert len(data) < 0.75 * (tmp_path / "a.wav").stat().st_size


@pytest.fixture
def corpus(tmp_path):
    """Two speakers' utterances of 16-bit audio."""
    lines = []
    for speaker in ("ann", "bob"):
        for number in range(4):
            name = f"{speaker}{number}.wav"
            signal = noise(9000 + 531 * number, seed=len(lines))
            soundfile.write(tmp_path / name, signal, 22050)
            lines.append(line(name, str(number), speaker=speaker))
    return write_manifest(tmp_path / "all.jsonl", lines)


def batch(utterances):
    """A training batch of both speakers, with speed perturbation and masks."""
    speakers = {
        slot: preparation.TokenizedUtterances(
            tuple(
                dataclasses.replace(u, tokens=(1, 2))
                for u in utterances
                if u.speaker == speaker
            )
        )
        for slot, speaker in enumerate(["ann", "bob"])
    }
    loader = input_pipeline.Loader(
        speakers, 16000, 100, ("en",), 2, 3, jobs.Augment(), seed=7
    )
    minibatches = tuple(
        minibatch_schedule.Minibatch(
            slot, speaker, 5, (3, 0, 2), (1.0, 0.9, 1.1), 10000
        )
        for slot, speaker in enumerate(["ann", "bob"])
    )
    placed = tuple(enumerate(minibatches))
    return loader.batch(minibatch_schedule.Group(10000, placed))


def test_a_batch_from_shards_equals_the_batch_from_files(corpus, folder):
    expected, found = batch(corpus), batch(repacked(corpus, folder))
    assert np.abs(expected["audio"]).max() > 0.1
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_the_audio_check_takes_shards(corpus, folder):
    repacked(corpus, folder)
    usable, left_out = inspection.read(
        folder / "all.jsonl", decoding=inspection.Decoding(10.0)
    )
    assert len(usable) == len(corpus) and not left_out


def test_tensorflow_reads_the_shards_from_start_to_end(corpus, folder):
    again = repacked(corpus, folder)
    paths = sorted(str(path) for path in folder.glob("*.tfrecord"))
    records = [r.numpy() for r in tf.data.TFRecordDataset(paths)]
    expected = [
        shards.encode(u.audio_filepath, u.offset, u.duration)[0] for u in again
    ]
    assert len(records) == len(corpus) and records == expected


def test_shards_stay_below_their_size_but_hold_any_recording(corpus, folder):
    largest = max(len(shards.encode(u.audio_filepath)[0]) for u in corpus)
    packed = shards.pack({"all": corpus}, folder, 3 * largest)
    files = sorted(folder.glob("*.tfrecord"))
    assert len(files) == packed.num_shards > 1
    assert files[0].name == "shard-00000.tfrecord"
    assert all(file.stat().st_size <= 3 * largest for file in files)
    assert packed.num_bytes == sum(file.stat().st_size for file in files)
    (folder / "own").mkdir()
    packed = shards.pack({"all": corpus}, folder / "own", 1)
    assert packed.num_shards == packed.num_records == len(corpus)


def test_what_several_manifests_share_is_packed_once(corpus, folder):
    parts = {"all": corpus, "dev": corpus[2:4]}
    packed = shards.pack(parts, folder, MEGABYTE)
    assert packed.num_records == len(corpus)
    assert packed.utterances["dev"] == packed.utterances["all"][2:4]
    assert packed.seconds == pytest.approx(
        sum(each.duration for each in corpus), abs=1e-3
    )


def test_shards_can_be_packed_again(corpus, tmp_path, folder):
    once = repacked(corpus, folder)
    (tmp_path / "again").mkdir()
    for before, after in zip(
        once, repacked(once, tmp_path / "again"), strict=True
    ):
        np.testing.assert_array_equal(
            samples_of(before)[0], samples_of(after)[0]
        )


def test_a_recording_that_cannot_be_read_is_left_out_with_its_reason(
    corpus, tmp_path, folder
):
    spoilt = noise(9000).astype(np.float32)
    spoilt[7] = np.nan
    soundfile.write(tmp_path / "ann1.wav", spoilt, 22050, subtype="FLOAT")
    packed = shards.pack({"all": corpus}, folder, MEGABYTE)
    (rejection,) = packed.left_out["all"]
    assert rejection.where == corpus[1].audio_filepath
    assert rejection.utt_id == "1" and "not numbers" in rejection.reason
    kept = [each.utt_id for each in packed.utterances["all"]]
    assert kept == ["0", "2", "3", "0", "1", "2", "3"]


def test_headers_are_read_without_the_samples(corpus, folder):
    utterance = repacked(corpus, folder)[0]
    with open(folder / "shard-00000.tfrecord", "r+b") as file:
        file.seek(5000)
        file.write(b"\0" * 100)
    seconds = audio.seconds(utterance.audio_filepath)
    assert seconds == pytest.approx(9000 / 22050)
    with pytest.raises(
        rejections.UnusableError, match="damaged: wrong checksum"
    ) as e:
        samples_of(utterance)
    assert e.value.where == utterance.audio_filepath


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "audio file is missing"),
        (lambda path: path.write_bytes(b""), "audio is truncated"),
        (lambda path: path.write_bytes(b"\1" * 200_000), "audio is damaged"),
    ],
)
def test_a_manifest_of_spoilt_shards_says_what_is_wrong(
    corpus, folder, spoil, reason
):
    repacked(corpus, folder)
    spoil(folder / "shard-00000.tfrecord")
    with pytest.raises(ValueError, match=rf"8 x {reason} .*tfrecord#0"):
        inspection.read(str(folder / "all.jsonl"))


def test_shards_are_read_through_tensorflows_file_systems(corpus, folder):
    utterance = repacked(corpus, folder)[2]
    remote = "ram://shards/" + utterance.audio_filepath.rpartition("/")[2]
    tf.io.gfile.copy(
        str(folder / "shard-00000.tfrecord"), remote.partition("#")[0]
    )
    assert audio.seconds(remote) == audio.seconds(utterance.audio_filepath)
    np.testing.assert_array_equal(
        audio.read(remote, 16000), audio.read(utterance.audio_filepath, 16000)
    )


def test_a_manifest_and_its_shards_are_read_from_a_bucket(corpus, folder):
    local = repacked(corpus, folder)
    remote = "ram://bucket/speech"
    tf.io.gfile.makedirs(remote)
    for name in ("all.jsonl", "shard-00000.tfrecord"):
        tf.io.gfile.copy(str(folder / name), f"{remote}/{name}", overwrite=True)
    found, left_out = inspection.read(f"{remote}/all.jsonl", strict=True)
    assert not left_out
    assert found == [
        dataclasses.replace(
            each,
            audio_filepath=each.audio_filepath.replace(str(folder), remote),
        )
        for each in local
    ]
    for one, other in zip(found, local, strict=True):
        np.testing.assert_array_equal(samples_of(one)[0], samples_of(other)[0])


def test_addresses_stay_addresses_in_a_manifest(corpus, folder):
    address = "ram://bucket/speech/shard-00000.tfrecord#0"
    each = dataclasses.replace(corpus[0], audio_filepath=address)
    line = json.loads(manifest.dumps([each], folder))
    assert line["audio_filepath"] == address


def test_a_lone_recording_in_a_bucket_is_refused():
    with pytest.raises(rejections.UnusableError, match="tasks.pack_shards"):
        audio.seconds("ram://bucket/a.wav")


def test_a_missing_manifest_in_a_bucket_is_named():
    with pytest.raises(OSError, match="ram://nowhere/all.jsonl"):
        inspection.read("ram://nowhere/all.jsonl")
