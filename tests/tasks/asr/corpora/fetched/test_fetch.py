"""Recordings from packages, on packages made up here."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile

from tasks.asr.corpora.fetched import fetch, stamps, voices
from tasks.asr.data import inspection, splits
from tests.tasks.asr.corpora.fetched import made_up

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


SPANISH = """; Another voice's texts
digits/1: uno
digits/2: dos
agent-pass: Por favor
"""


def of(*names):
    return voices.chosen(list(names))


@pytest.fixture
def packages(tmp_path):
    """A folder of packages of the real ones' layouts."""
    build, folder = tmp_path / "build", tmp_path / "packages"
    sounds = "usr/share/asterisk/sounds"
    root = build / "asterisk-core-sounds-en-g722"
    keys = [line.split(":")[0] for line in TEXTS.splitlines() if ":" in line]
    for key in [*keys[1:], "unknown"]:
        data = made_up.g722(0.1 if key == "broken" else 1.0)
        made_up.put(root, f"{sounds}/en_US_f_Allison/{key}.g722", data)
    made_up.copyrighted(root)
    made_up.build(root, folder)
    root = build / "asterisk-core-sounds-en"
    made_up.texts(root, "en", TEXTS)
    made_up.build(root, folder)
    root = build / "asterisk-core-sounds-es"
    made_up.texts(root, "es", SPANISH)
    made_up.build(root, folder)
    root = build / "asterisk-prompt-es-co"
    for key in ("digits/1", "digits/2", "digits/h-21", "agent-pass"):
        made_up.put(root, f"{sounds}/es/{key}.gsm", made_up.gsm(0.6))
    made_up.put(root, f"{sounds}/es/digits/damaged.gsm", "")
    made_up.copyrighted(root, "License: GPL-2\n")
    made_up.build(root, folder)
    build_stamps(build / "tuxpaint-stamps-default", folder)
    return folder


def build_stamps(root, folder):
    place = "usr/share/tuxpaint/stamps/numbers"
    for number, text in enumerate(("Uno.", "Dos.", "Tres.", "Cuatro.")):
        made_up.put(
            root, f"{place}/{number}.txt", f"N.\nes.utf8={text}\nca.utf8=U.\n"
        )
        for language in ("es", "ca", "ru"):
            name = f"{place}/{number}_desc_{language}.ogg"
            made_up.put(root, name, made_up.ogg(0.8))
    # The same picture twice, and the same recording.
    made_up.put(root, f"{place}/9.txt", "N.\nca.utf8=U.\n")
    data = (root / place / "0_desc_ca.ogg").read_bytes()
    made_up.put(root, f"{place}/9_desc_ca.ogg", data)
    made_up.copyrighted(root, "License: GPL-2\n")
    made_up.build(root, folder)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_usable_recordings_are_written_and_the_others_accounted_for(
    packages, tmp_path
):
    target = tmp_path / "out"
    metadata, left_out, made = fetch.fetch(target, packages_dir=packages)
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
    assert sorted(each.name for each in (target / "copyright").iterdir()) == [
        "asterisk-core-sounds-en",
        "asterisk-core-sounds-en-g722",
    ]
    text = (target / "copyright" / "asterisk-core-sounds-en-g722").read_text()
    assert text == "License: CC-BY-SA-3.0\n"
    voice = json.loads((target / fetch.METADATA).read_text())["voices"]
    assert "CC-BY-SA-3.0" in voice["asterisk-en"]["notice"]
    # What is left out has no file either.
    assert sorted(each.stem for each in (target / "audio").rglob("*.flac")) == [
        "digits.star",
        "hello-world",
        "keys",
        "leave-in",
        "leave-out",
        "vm-star",
    ]


def test_manifests_are_read_without_a_rejection_and_split_by_phrase(
    packages, tmp_path
):
    fetch.fetch(
        tmp_path / "out",
        of("asterisk-en"),
        (0.5, 0.25, 0.25),
        packages_dir=packages,
    )
    split_of = {}
    for split in splits.SPLITS:
        utterances, _ = inspection.read(
            str(tmp_path / "out" / f"{split}.jsonl"), strict=True
        )
        for each in utterances:
            assert each.speaker == "asterisk-allison"
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
    fetch.fetch(tmp_path / "out", packages_dir=packages)
    path = tmp_path / "out" / "audio" / "asterisk-en" / "hello-world.flac"
    samples, rate = soundfile.read(path)
    assert (rate, samples.shape) == (16000, (16000,))
    spectrum = np.abs(np.fft.rfft(samples))
    # A pure tone, and nothing of it lost.
    assert spectrum.max() ** 2 > 0.9 * np.sum(spectrum**2)
    assert np.max(np.abs(samples)) == pytest.approx(8000 / 32768, rel=0.05)


def test_each_voice_is_a_speaker_with_its_language(packages, tmp_path):
    chosen = of("asterisk-en", "prompt-es-co", "stamps-es", "stamps-ca")
    target = tmp_path / "out"
    metadata, left_out, _ = fetch.fetch(target, chosen, packages_dir=packages)
    said = {
        (each["speaker"], each["language"]): each
        for each in lines(target / "manifest.jsonl")
    }
    assert set(said) == {
        ("asterisk-allison", "en"),
        ("prompt-es-co", "es"),
        ("stamps-es", "es"),
        ("stamps-ca", "ca"),
    }
    stamp = said["stamps-es", "es"]
    assert stamp["audio_filepath"].startswith("audio/stamps-es/numbers.")
    assert stamp["duration"] == pytest.approx(0.8, abs=0.01)
    counts = {
        name: (each["num_utterances"], each["left_out"])
        for name, each in metadata["voices"].items()
    }
    again = {"the recording of another once more": 1}
    assert counts["stamps-ca"] == (4, again)
    assert not (target / "audio" / "stamps-ca" / "numbers.9.flac").exists()
    # Of another voice's texts, those of digits only.
    assert counts["prompt-es-co"] == (2, {"no transcript": 2})
    assert metadata["num_left_out"] == len(left_out) == 4 + 2 + 1
    assert "prompt-es-co/digits/h-21.gsm" in (
        target / "left_out.txt"
    ).read_text("utf-8")


def test_voices_of_a_language_hold_the_same_phrases_out(packages, tmp_path):
    chosen = of("prompt-es-co", "stamps-es", "stamps-ca")
    for seed in range(4):
        target = tmp_path / f"seed{seed}"
        fetch.fetch(target, chosen, (0.5, 0, 0.5), seed, packages)
        split_of = {}
        for each in lines(target / "manifest.jsonl"):
            phrase = each["language"], splits.phrase_key(each["text"])
            assert split_of.setdefault(phrase, each["split"]) == each["split"]


def test_a_voice_with_nothing_usable_is_an_error(packages, tmp_path):
    voice = dataclasses.replace(
        of("stamps-es")[0], person=stamps.Person(encoder="no such")
    )
    with pytest.raises(ValueError, match="no recording of stamps-es is usable"):
        fetch.fetch(tmp_path / "out", [voice], packages_dir=packages)
    assert not (tmp_path / "out").exists()


def test_same_request_again_is_left_and_another_refused(packages, tmp_path):
    fetch.fetch(tmp_path / "out", packages_dir=packages)
    metadata, _, made = fetch.fetch(tmp_path / "out", packages_dir=packages)
    assert not made
    assert metadata["num_utterances"] == 6
    with pytest.raises(FileExistsError, match="seed is 0 there and 1 here"):
        fetch.fetch(tmp_path / "out", seed=1, packages_dir=packages)


def test_damaged_package_leaves_nothing(packages, tmp_path):
    for archive in packages.iterdir():
        archive.write_bytes(archive.read_bytes()[:100])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="the package is damaged"):
        fetch.fetch(tmp_path / "out", packages_dir=packages)
    assert sorted(tmp_path.iterdir()) == before


def test_missing_packages_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="asterisk-core-sounds-en-g722"):
        fetch.fetch(tmp_path / "out", packages_dir=tmp_path)


def test_missing_apt_says_what_to_do_instead(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="needs apt-get.*--packages_dir"):
        fetch.fetch(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_failing_download_shows_its_errors(tmp_path, monkeypatch):
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text("#!/bin/sh\necho W: x >&2\necho E: no network >&2\nexit 100")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{apt.parent}:/bin:/usr/bin")
    with pytest.raises(OSError, match="failed: E: no network; check the net"):
        fetch.fetch(tmp_path / "out")


def test_bad_fractions_are_refused_before_a_download(tmp_path):
    with pytest.raises(ValueError, match="must sum to 1"):
        fetch.fetch(tmp_path / "out", fractions=(0.5, 0.1, 0.1))
