"""`python -m tasks.shorten_context`: what it writes, and what it refuses."""

import json
import os

import pytest

from lingvo_like.base_models.whisper import model as whisper
from tests import binaries, tiny
from tests.lingvo_like.base_models.whisper import whisper_bases


def shorten(folder, *more, **flags):
    values = {
        "base": folder / "base",
        "manifest": folder / "train.jsonl",
        "output_dir": folder / "short",
        "language": "de",
    } | flags
    return binaries.run(
        "shorten_context",
        *more,
        *binaries.flags(values),
        "--set=num_steps=3",
        "--set=utterances_per_step=2",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    tiny.recordings(folder, ("ann", "bob"), 2, languages=("fr", "en"))
    base = whisper_bases.small(languages=whisper_bases.LANGUAGES, positions=80)
    base.save(folder / "base")
    return folder


def test_it_writes_a_short_base_of_its_own(folder):
    mixed = folder / "mixed.jsonl"
    line = '{"audio_filepath": "gone.wav", "text": "on", "speaker": "ann"}'
    text = (folder / "train.jsonl").read_text() + line + "\n"
    # One of bob's lines names no language.
    mixed.write_text(text.replace(', "language": "en"', "", 1))
    done = shorten(folder, manifest=mixed)
    assert done.returncode == 0, done.stderr
    assert "4 utterances, 3 steps" in done.stdout
    assert "mixed.jsonl:5" in (folder / "short" / "left_out.txt").read_text()
    made_of = json.loads((folder / "short" / "made_of.json").read_text())
    assert made_of["languages"] == ["de", "en", "fr"]
    short = whisper.load(folder / "short")
    assert short.languages == ("en", "de", "fr")
    before = whisper_bases.weights(whisper.load(folder / "base"))
    changed = {
        name
        for name, weight in whisper_bases.weights(short).items()
        if (weight != before[name]).any()
    }
    # The decoder is the frozen one's.
    assert changed
    assert all(name.startswith("encoder") for name in changed)
    assert short.fingerprint() in done.stdout


@pytest.mark.slow
def test_refusals_come_first_and_write_nothing(folder):
    (folder / "taken").mkdir()
    (folder / "taken" / "file").write_text("mine")
    odd = folder / "odd.jsonl"
    line = json.dumps(
        {"audio_filepath": "gone.wav", "text": "", "speaker": "a"}
    )
    odd.write_text(line + "\n")
    mixed = folder / "mixed.jsonl"
    mixed.write_text((folder / "train.jsonl").read_text() + line + "\n")
    unnamed = folder / "unnamed.jsonl"
    unnamed.write_text(
        (folder / "train.jsonl").read_text().replace(', "language": "fr"', "")
    )
    before = sorted(os.listdir(folder))
    for more, flags, message in (
        ([], {"output_dir": folder / "taken"}, "is not empty"),
        ([], {"output_dir": odd / "short"}, "--output_dir cannot be written"),
        ([], {"language": "es"}, "It knows: de, en, fr"),
        ([], {"language": "", "manifest": unnamed}, "unnamed.jsonl:1: "),
        ([], {"manifest": odd}, "has no usable utterance: 1 x"),
        (["--strict"], {"manifest": mixed}, "has 1 unusable utterance:"),
        ([], {"base": folder / "taken"}, "no Whisper there"),
        (["--set=warmup_steps=-1"], {}, "`warmup_steps` must be at least 0"),
    ):
        flags = {"output_dir": folder / "new" / "other"} | flags
        done = shorten(folder, *more, **flags)
        assert done.returncode == 1, message
        last = done.stderr.splitlines()[-1]
        assert last.startswith("error: ") and message in last, done.stderr
    assert sorted(os.listdir(folder)) == before
