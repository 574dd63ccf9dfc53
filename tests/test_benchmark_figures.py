"""The benchmarks on real voices count, keep and choose rightly."""

import argparse
import json

import pytest

from lingvo_like.base_models.whisper import architecture
from tasks.asr import layouts
from tasks.asr.data import manifest
from tests.benchmarks import (
    defaults,
    heard,
    kinds_of_a_size,
    peft_voices,
    real_speech,
)


def _heard(*texts):
    return [
        heard.Heard("ana", str(i), "es", "el niño come", {"ours": text})
        for i, text in enumerate(texts)
    ]


def test_errors_are_counted_in_words_and_in_letters():
    rows = _heard("El niño come.", "el nino come", "niño come mucho")

    row = heard.figures(rows, "ours")["ana"]

    # An accent; then one word too few and one too many, of 9 words. In
    # letters: 1, and 2 too few and 5 too many, of 30.
    assert row["wer"] == pytest.approx(100 * 3 / 9)
    assert row["cer"] == pytest.approx(100 * 8 / 30)
    low, high = row["wer_interval"]
    assert low <= row["wer"] <= high


def test_what_is_added_is_counted_on_the_same_draws_of_utterances():
    def rows(*texts):
        return [
            heard.Heard(speaker, str(i), "es", "el niño come", {"heard": text})
            for speaker in ("ana", "eva")
            for i, text in enumerate(texts)
        ]

    default = rows("el niño come", "el niño", "come", "el niño come")
    # A word more is wrong in each utterance.
    worse = rows("el niño", "el", "", "el niño")

    same = defaults.row_of("", 1.0, default, default)
    other = defaults.row_of("", 1.0, worse, default)

    assert same["wer"] == pytest.approx(100 * 3 / 12)
    assert same["wer_added_interval"] == [0.0, 0.0]
    assert other["wer"] - same["wer"] == pytest.approx(100 / 3)
    assert other["wer_added_interval"] == pytest.approx([100 / 3, 100 / 3])


def test_no_text_is_both_learnt_and_checked():
    utterances = [
        manifest.Utterance(
            audio_filepath=f"{i}.wav",
            text=text,
            speaker="ana",
            utt_id=str(i),
            duration=10.0 if text == "d" else 1.0,
        )
        for i, text in enumerate(["a", "b", "A", "c", "d", "C", "e", "f"])
    ]
    arguments = argparse.Namespace(learn=2, dev=1, check=2, longest_seconds=9.0)

    parts = defaults.parts(utterances, arguments)

    assert [[u.text for u in part] for part in parts] == [
        ["a", "b"],
        ["c"],
        ["e", "f"],
    ]


def test_a_row_is_made_again_for_other_settings_alone(tmp_path):
    path, made = tmp_path / "row.json", []

    def take(settings, may_make=True):
        make = (lambda: made.append(settings) or settings) if may_make else None
        return real_speech.kept(path, settings, make)

    assert take({"steps": 1}, may_make=False) is None
    assert take({"steps": 1}) == {"steps": 1}
    assert take({"steps": 1}) == {"steps": 1}
    assert take({"steps": 2}, may_make=False) is None
    assert take({"steps": 2}) == {"steps": 2}
    assert made == [{"steps": 1}, {"steps": 2}]
    assert json.loads(path.read_text())["found"] == {"steps": 2}


def test_a_voice_depends_on_its_own_utterances_wherever_they_lie(tmp_path):
    path = tmp_path / "test.jsonl"

    def line(speaker, text, folder="here", duration=1.0):
        return {
            "audio_filepath": f"{folder}/{text}.wav",
            "text": text,
            "speaker": speaker,
            "utt_id": f"{speaker}-{text}",
            "duration": duration,
        }

    def digest(*lines):
        path.write_text("".join(json.dumps(each) + "\n" for each in lines))
        return real_speech.digest_of("ana", path)

    ana = line("ana", "a")
    found = digest(ana)
    assert digest(ana, line("ben", "b")) == found
    assert digest(line("ana", "a", folder="there")) == found
    assert digest(ana, line("ana", "c")) != found
    assert digest(line("ana", "a", duration=2.0)) != found


def test_rows_of_peft_are_made_once_and_stand_in_order(tmp_path, monkeypatch):
    manifest_path = tmp_path / "speech.jsonl"
    line = {"audio_filepath": "a.wav", "text": "a", "speaker": "ben"}
    manifest_path.write_text(json.dumps(line) + "\n")
    rows = tmp_path / "rows.jsonl"
    made = []

    def learn(self, voice, variant, settings):
        made.append((voice, variant))
        return {"figures": {"wer": 10.0}, "seconds": 1.0, "num_values": 2}

    class Base:
        def fingerprint(self):
            return "1" * 64

    monkeypatch.setattr(peft_voices.PeftVoices, "_learn", learn)
    arguments = argparse.Namespace(
        peft_rows=str(rows),
        peft_steps=3,
        peft_learning_rate=1e-3,
        peft_seconds=10,
    )
    manifests = {"test": manifest_path}
    jobs_of_peft = peft_voices.PeftVoices(
        Base(), arguments, tmp_path / "peft", manifests
    )
    assert jobs_of_peft.run("ben", "peft_both_4", learn=False) is None
    first = jobs_of_peft.run("ben", "peft_both_4", learn=True)
    jobs_of_peft.run("ana", "peft_both_4", learn=True)
    assert jobs_of_peft.run("ben", "peft_both_4", learn=True) == first
    assert len(made) == 2
    # Of other settings it is made again, and takes the place of the first.
    arguments.peft_steps = 4
    assert jobs_of_peft.run("ben", "peft_both_4", learn=False) is None
    jobs_of_peft.run("ben", "peft_both_4", learn=True)
    found = [json.loads(each) for each in rows.read_text().splitlines()]
    assert [each["voice"] for each in found] == ["ana", "ben"]
    assert found[1]["settings"]["steps"] == 4


@pytest.fixture(scope="module", name="sites")
def _sites():
    return architecture.all_sites(
        architecture.Dimensions(
            num_bins=80,
            model_dim=16,
            num_heads=2,
            num_blocks=2,
            num_decoder_blocks=2,
            feed_forward_dim=32,
            vocabulary_size=64,
        )
    )


def test_a_kind_is_as_large_as_a_budget_allows(sites):
    lora = kinds_of_a_size.CHOICES["lora"]
    # Of rank 1: 32 for each of 2 + 4 attentions' query and value, and 48 for
    # each of 4 feed-forwards' two projections.
    rank_1 = 2 * 6 * 32 + 2 * 4 * 48

    exact = kinds_of_a_size.fit(sites, lora, 3 * rank_1)
    below = kinds_of_a_size.fit(sites, lora, 3 * rank_1 - 1)

    assert exact.num_values == 3 * rank_1
    assert "lora.rank=3" in exact.overrides
    # Two of rank 1 are not near enough: other sites come nearer.
    assert 2 * rank_1 < below.num_values < 3 * rank_1
    assert kinds_of_a_size.fit(sites, lora, 1) is None


@pytest.mark.parametrize("name", kinds_of_a_size.CHOICES)
def test_a_kind_is_alone(sites, name):
    choice = kinds_of_a_size.CHOICES[name]
    fitted = kinds_of_a_size.fit(sites, choice, 4000)
    layout = layouts.of(sites, real_speech.experiment(fitted.overrides))
    assert {part.kind.name for part in layout.parts} == {choice.section}
    assert layout.num_values == fitted.num_values


def test_biases_have_a_natural_most(sites):
    bias = kinds_of_a_size.CHOICES["bias"]

    most = kinds_of_a_size.fit(sites, bias, 10**6)

    assert most.is_most
    assert not kinds_of_a_size.fit(sites, bias, most.num_values - 1).is_most
