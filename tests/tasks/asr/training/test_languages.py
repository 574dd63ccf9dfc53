"""A job of several languages: laws 2 and 4 where the prompt is a row's own."""

import pathlib

import pytest

from lingvo_like import hyperparams
from lingvo_like.submodel import file as submodel_file
from params import registry
from tasks.asr.data import preparation
from tasks.asr.training import program as training_program
from tests import tiny
from tests.lingvo_like.base_models.whisper import whisper_bases

LANGUAGES = ("en", "de", "fr", "es", "it", "ca")
SPEAKERS = tuple(f"speaker_{code}" for code in LANGUAGES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    base = whisper_bases.small(
        languages=LANGUAGES, audio_context="short", positions=80
    )
    base.save(folder / "base")
    for name, seed, count in (("train", 0, 4), ("dev", 1, 2)):
        tiny.recordings(
            folder, SPEAKERS, count, seed, name, languages=LANGUAGES
        )
    return folder


def train(folder, run, *, manifests=("train", "dev"), **overrides):
    """The files' bytes, by speaker, of a job on some manifests."""
    values = {
        "train.num_steps": 4,
        "train.eval_every_steps": 2,
        "train.utterances_per_speaker": 2,
        "train.max_tokens": 16,
        "optimizer.learning_rate": 0.01,
        **overrides,
    }
    name = "whisper.ShortStacked"
    train_manifest, dev_manifest = (
        str(folder / f"{each}.jsonl") for each in manifests
    )
    training_program.train(
        name,
        hyperparams.replace(registry.get(name), values),
        train_manifest,
        str(run),
        base_path=str(folder / "base"),
        dev_manifest=dev_manifest,
    )
    return {
        path.name: path.read_bytes()
        for path in pathlib.Path(run, "submodels").iterdir()
    }


def of_one(folder, name, speaker):
    """The manifest of one speaker's lines, beside that of all."""
    lines = (folder / f"{name}.jsonl").read_text().splitlines(keepends=True)
    path = folder / f"{name}_{speaker}.jsonl"
    path.write_text("".join(each for each in lines if f'"{speaker}"' in each))
    return path.stem


def test_a_job_of_six_languages_gives_the_files_of_six_jobs(folder, tmp_path):
    together = train(folder, tmp_path / "all")
    assert len(together) == len(SPEAKERS)
    for speaker, language in zip(SPEAKERS, LANGUAGES, strict=True):
        own = [of_one(folder, name, speaker) for name in ("train", "dev")]
        alone = train(folder, tmp_path / speaker, manifests=own)
        name = submodel_file.file_name(speaker)
        assert alone == {name: together[name]}
        metadata = submodel_file.load(together[name]).metadata
        assert metadata.language == language
        assert metadata.training["step"] > 0


def test_the_language_of_a_speaker_decides_what_is_learned(folder, tmp_path):
    own = [of_one(folder, name, "speaker_de") for name in ("train", "dev")]
    german = train(folder, tmp_path / "de", manifests=own)
    for name in own:
        path = folder / f"{name}.jsonl"
        path.write_text(path.read_text().replace('"de"', '"fr"'))
    french = train(folder, tmp_path / "fr", manifests=own)
    (one,), (other,) = german.values(), french.values()
    tensors = submodel_file.load(one).vector, submodel_file.load(other).vector
    assert (tensors[0] != tensors[1]).any()


def test_the_experiments_language_is_that_of_lines_without_one(
    folder, tmp_path
):
    own = [of_one(folder, name, "speaker_de") for name in ("train", "dev")]
    german = train(folder, tmp_path / "said", manifests=own)
    for name in own:
        path = folder / f"{name}.jsonl"
        path.write_text(path.read_text().replace(', "language": "de"', ""))
    default = {"base.language": "de"}
    assert german == train(
        folder, tmp_path / "default", manifests=own, **default
    )


def test_who_speaks_several_languages_has_none(folder):
    base = whisper_bases.small(languages=LANGUAGES, audio_context="short")
    experiment = registry.get("whisper.ShortStacked")
    path = folder / "both.jsonl"
    text = (folder / "train.jsonl").read_text()
    path.write_text(text.replace("speaker_fr", "speaker_de"))
    # Of one speaker, ids are different.
    path.write_text(
        "".join(
            line.replace('"utt_id": "', f'"utt_id": "{number}_')
            for number, line in enumerate(path.open())
        )
    )
    corpus = preparation.prepare(base, experiment, str(path))
    found = {data.speaker: data.language for data in corpus.train.values()}
    assert found["speaker_de"] == "" and found["speaker_en"] == "en"
