"""Recordings from packages, on packages made up here."""

import gzip
import json
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from tasks.asr.corpora import fetch_debian
from tasks.asr.data import inspection, splits

TEXTS = """; A comment: not a transcript

beep: [this is a simple beep tone]
silence/1: (1 second of silence)
digits/star: star
vm-star: Star.
hello-world: Hello, World!
leave-in: To leave the conference...
leave-out: ...to leave the conference.
keys: press * or #
broken: This one is cut.
"""


@pytest.fixture
def av():
    return pytest.importorskip("av", reason="the optional wheel av")


@pytest.fixture
def packages(tmp_path, av):
    """A folder of two packages of the real ones' layout."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb, of Debian and Ubuntu")
    audio = tmp_path / "build" / fetch_debian.AUDIO_PACKAGE
    sounds = audio / "usr/share/asterisk/sounds/en_US_f_Allison"
    keys = [
        line.split(":")[0]
        for line in TEXTS.splitlines()
        if line and line[0] != ";"
    ]
    for number, key in enumerate([*keys, "unknown"]):
        path = sounds / f"{key}.g722"
        path.parent.mkdir(parents=True, exist_ok=True)
        seconds = 0.1 if key == "broken" else 1.0
        path.write_bytes(encode(av, seconds, 200 + 50 * number))
    doc = audio / "usr/share/doc" / fetch_debian.AUDIO_PACKAGE
    doc.mkdir(parents=True)
    (doc / "copyright").write_text("License: CC-BY-SA-3.0\n")
    text = tmp_path / "build" / fetch_debian.TEXT_PACKAGE
    doc = text / "usr/share/doc" / fetch_debian.TEXT_PACKAGE
    doc.mkdir(parents=True)
    (doc / "core-sounds-en.txt.gz").write_bytes(gzip.compress(TEXTS.encode()))
    folder = tmp_path / "packages"
    folder.mkdir()
    for root in (audio, text):
        build(root, folder)
    return folder


def encode(av, seconds, hertz):
    codec = av.CodecContext.create("g722", "w")
    codec.sample_rate, codec.layout, codec.format = 16000, "mono", "s16"
    time = np.arange(int(seconds * 16000)) / 16000
    samples = (8000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)
    packets = []
    for start in range(0, len(samples), 320):
        frame = av.AudioFrame.from_ndarray(
            samples[None, start : start + 320], format="s16", layout="mono"
        )
        frame.sample_rate = 16000
        packets += codec.encode(frame)
    return b"".join(map(bytes, [*packets, *codec.encode(None)]))


def build(root, folder):
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN" / "control").write_text(
        f"Package: {root.name}\nVersion: 1\nArchitecture: all\n"
        "Maintainer: nobody <nobody@example.org>\nDescription: made up\n"
    )
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", root, folder],
        check=True,
        capture_output=True,
    )


def test_usable_recordings_are_written_and_the_others_accounted_for(
    packages, tmp_path
):
    target = tmp_path / "out"
    metadata, left_out, made = fetch_debian.fetch(target, packages_dir=packages)
    assert made
    assert metadata["num_utterances"] == 6
    assert metadata["seconds"] == pytest.approx(6.0, abs=0.1)
    assert {
        reason: sorted(each.utt_id for each in group)
        for reason, group in left_out.by_reason().items()
    } == {
        "described, not spoken": ["beep", "silence.1"],
        "no transcript": ["unknown"],
        "shorter than 0.25 s": ["broken"],
    }
    assert "beep" in (target / "left_out.txt").read_text()
    assert (target / "COPYRIGHT").read_text() == "License: CC-BY-SA-3.0\n"
    assert (
        "CC-BY-SA-3.0"
        in json.loads((target / fetch_debian.METADATA).read_text())["notice"]
    )


def test_manifests_are_read_without_a_rejection_and_split_by_phrase(
    packages, tmp_path
):
    fetch_debian.fetch(
        tmp_path / "out", (0.5, 0.25, 0.25), packages_dir=packages
    )
    split_of = {}
    for split in splits.SPLITS:
        utterances, _ = inspection.read(
            str(tmp_path / "out" / f"{split}.jsonl"), strict=True
        )
        for each in utterances:
            assert each.speaker == fetch_debian.SPEAKER
            assert not each.simulated
            phrase = splits.phrase_key(each.text)
            assert split_of.setdefault(phrase, split) == split
    # "star" and "Star.", and both of "to leave the conference", are one.
    assert sorted(split_of) == [
        "hello world",
        "press star or pound",
        "star",
        "to leave the conference",
    ]


def test_decoded_audio_is_what_was_encoded(packages, tmp_path):
    fetch_debian.fetch(tmp_path / "out", packages_dir=packages)
    samples, rate = soundfile.read(tmp_path / "out/audio/hello-world.flac")
    assert rate == 16000
    # The fifth of the made-up keys: 200 Hz and four steps of 50.
    peak = np.argmax(np.abs(np.fft.rfft(samples[:16000])))
    assert peak == pytest.approx(400, abs=2)


def test_same_request_again_is_left_and_another_refused(packages, tmp_path):
    fetch_debian.fetch(tmp_path / "out", packages_dir=packages)
    metadata, _, made = fetch_debian.fetch(
        tmp_path / "out", packages_dir=packages
    )
    assert not made
    assert metadata["num_utterances"] == 6
    with pytest.raises(FileExistsError, match="seed is 0 there and 1 here"):
        fetch_debian.fetch(tmp_path / "out", seed=1, packages_dir=packages)


def test_damaged_package_leaves_nothing(packages, tmp_path):
    for archive in packages.iterdir():
        archive.write_bytes(archive.read_bytes()[:100])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="the package is damaged"):
        fetch_debian.fetch(tmp_path / "out", packages_dir=packages)
    assert sorted(tmp_path.iterdir()) == before


def test_missing_packages_are_named(av, tmp_path):
    with pytest.raises(FileNotFoundError, match="asterisk-core-sounds-en-g722"):
        fetch_debian.fetch(tmp_path / "out", packages_dir=tmp_path)


def test_missing_apt_says_what_to_do_instead(av, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="needs apt-get.*--packages_dir"):
        fetch_debian.fetch(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_failing_download_shows_its_errors(av, tmp_path, monkeypatch):
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text("#!/bin/sh\necho W: x >&2\necho E: no network >&2\nexit 100")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{apt.parent}:/bin:/usr/bin")
    with pytest.raises(OSError, match="failed: E: no network; check the net"):
        fetch_debian.fetch(tmp_path / "out")


def test_bad_fractions_are_refused_before_a_download(av, tmp_path):
    with pytest.raises(ValueError, match="must sum to 1"):
        fetch_debian.fetch(tmp_path / "out", (0.5, 0.1, 0.1))


@pytest.mark.parametrize(
    "text, spoken",
    [
        ("at [@]", "at"),
        ("...to leave.", "to leave."),
        ("Press ...", "Press"),
        ("press # to enter", "press pound to enter"),
        ("<beep ascending>", ""),
        ("IAX (note: does not say)", "IAX"),
    ],
)
def test_text_keeps_only_what_is_spoken(text, spoken):
    assert fetch_debian.spoken_text(text) == spoken
