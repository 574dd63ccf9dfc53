"""A job whose flags do not say everything finds the rest."""

import os

import pytest

from lingvo_like import cache
from params import registry
from tasks.asr import training_start
from tasks.asr.bases import context_shortening
from tasks.asr.estimates import machine
from tasks.asr.training import model_directory, run_description
from tests import tiny
from tests.lingvo_like.base_models.whisper import whisper_bases


def test_a_new_run_has_the_experiment_of_a_laptop(tmp_path):
    choice = training_start.choose(str(tmp_path / "run"), base_path="tiny.en")
    assert choice.name == "whisper.ShortStacked"
    with pytest.raises(ValueError, match="--base=tiny.en"):
        training_start.choose(str(tmp_path / "run"))


def test_a_run_that_continues_keeps_its_experiment_and_values(tmp_path):
    directory = model_directory.ModelDirectory(str(tmp_path))
    experiment = tiny.experiment(num_steps=3)
    directory.write_experiment(
        run_description.describe("conformer.Tiny", experiment, "BASE", "0", {})
    )
    choice = training_start.choose(str(tmp_path))
    assert choice.name == "conformer.Tiny"
    assert choice.experiment == experiment
    assert choice.base_path == "BASE"
    # A name has its own values, so that a difference shows.
    named = training_start.choose(str(tmp_path), "conformer.Tiny")
    assert named.experiment == registry.get("conformer.Tiny")


def test_a_value_of_a_kind_that_is_not_used_is_refused(tmp_path):
    def choose(**settings):
        return training_start.choose(
            str(tmp_path), settings=settings, base_path="tiny.en"
        ).experiment

    width = {"adapter.bottleneck_dim": 64}
    with pytest.raises(
        ValueError, match=r"`adapter.bottleneck_dim` has no effect: .* is \(\)"
    ):
        choose(**width)
    chosen = choose(**width, **{"adapter.sites": ("*/*/output",)})
    assert chosen.adapter.bottleneck_dim == 64
    assert choose(**{"lora.rank": 8}).lora.rank == 8


EVERY = ("en", "de", "fr")


@pytest.mark.parametrize(
    ("known", "spoken", "settings", "message"),
    [
        (
            EVERY,
            ("de", ""),
            {},
            r"train.jsonl:2: .*which one is spoken. It knows: de, en, fr; give "
            'the line a "language", or say --set=base.language=CODE',
        ),
        (
            EVERY,
            ("de", "tlh"),
            {"base.language": "en"},
            r"train.jsonl:2: .*no language 'tlh'. It knows: de, en, fr$",
        ),
        (EVERY, ("de", "english"), {}, "train.jsonl:2: a language is a code"),
        (
            EVERY,
            ("de", "de"),
            {"base.language": "es"},
            "base.language: .*no language 'es'. It knows: de, en, fr",
        ),
        (
            EVERY,
            ("en", "de"),
            {"text.normalizer": "english"},
            "`english` is for English.*'de'; take `auto`",
        ),
        (
            ("en",),
            ("", "de"),
            {},
            r"train.jsonl:2: .*'en' alone. Received: 'de'. Take a multilingual",
        ),
    ],
)
def test_a_wrong_language_is_refused_before_anything_is_made(
    tmp_path, capsys, known, spoken, settings, message
):
    base = whisper_bases.small(languages=known, positions=80)
    base.save(str(tmp_path / "base"))
    manifest = tiny.recordings(tmp_path, ("ann", "bob"), 1, languages=spoken)
    choice = training_start.choose(
        str(tmp_path / "run"),
        "whisper.ShortStacked",
        settings,
        str(tmp_path / "base"),
    )
    with pytest.raises(ValueError, match=message):
        training_start.train(choice, manifest, str(tmp_path / "run"))
    assert not capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_a_job_that_does_not_fit_leaves_nothing(tmp_path, monkeypatch):
    tiny.recordings(tmp_path / "speech", ("ann",), 2)
    tiny.base().save(str(tmp_path / "base"))
    choice = training_start.choose(
        str(tmp_path / "run"),
        "conformer.Tiny",
        {"base.buckets_seconds": "2.0"},
        str(tmp_path / "base"),
    )
    manifest = str(tmp_path / "speech" / "train.jsonl")
    monkeypatch.setattr(machine, "free_bytes", lambda: 1)
    monkeypatch.setattr(machine, "used_bytes", lambda: 1)
    with pytest.raises(ValueError, match="of memory, and 0.0 GiB are free"):
        training_start.train(choice, manifest, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_base_of_another_context_is_refused_before_anything_is_read(
    tmp_path, capsys
):
    base = whisper_bases.small(audio_context="short")
    base.save(str(tmp_path / "base"))
    choice = training_start.choose(
        str(tmp_path / "run"),
        "whisper.Stacked",
        {"base.language": "en"},
        str(tmp_path / "base"),
    )
    with pytest.raises(ValueError, match="--experiment=whisper.ShortStacked"):
        training_start.train(choice, "none.jsonl", str(tmp_path / "run"))
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"start_from": "nosuch"}, "nosuch does not exist; it takes"),
        ({"speakers": ["ann", "nobody"]}, "names nobody, who have nothing"),
        ({"tenant": "clinic"}, "name the store with --start_from"),
        ({"cohort": "shoe_size"}, "--cohort"),
        ({"dev": "some"}, "--dev must be one of auto, none"),
        ({"space_from": "elsewhere"}, "--space_from names the run"),
        ({"model_dir": "taken/run"}, "run: the model directory cannot be"),
    ],
)
def test_a_mistyped_flag_is_refused_before_a_base_is_made(
    tmp_path, capsys, monkeypatch, given, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    whisper_bases.small(positions=80).save(str(tmp_path / "small"))
    manifest = tiny.recordings(tmp_path, ("ann", "bob"), 1)
    (tmp_path / "taken").write_text("a file")
    there = sorted(os.listdir(tmp_path))
    given = dict(given)
    model_dir = given.pop("model_dir", "run")
    choice = training_start.choose(
        model_dir, "whisper.ShortStacked", {"base.language": "en"}, "small"
    )
    with pytest.raises((ValueError, OSError), match=message):
        training_start.train(choice, manifest, model_dir, **given)
    assert not capsys.readouterr().out
    assert sorted(os.listdir(tmp_path)) == there


def test_a_base_to_be_made_is_told_with_the_time_of_all(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    whisper_bases.small(positions=80).save(str(tmp_path / "small"))
    manifest = tiny.recordings(tmp_path, ("ann",), 1)
    choice = training_start.choose(
        str(tmp_path / "run"),
        "whisper.ShortStacked",
        {"base.language": "en"},
        str(tmp_path / "small"),
    )

    def stop(*_, **__):
        raise ValueError("it would be made")

    monkeypatch.setattr(context_shortening, "make_short_base", stop)
    with pytest.raises(ValueError, match="it would be made"):
        training_start.train(choice, manifest, str(tmp_path / "run"))
    training, _, making, total = capsys.readouterr().out.splitlines()
    assert training.endswith(" to train")
    assert making.endswith(" to make the short-context form")
    assert total.startswith("in all about ")
