"""A base model is what the experiment says, or it is refused."""

import dataclasses
import pathlib

import pytest

from lingvo_like import cache
from lingvo_like.base_models import conformer_ctc
from params import bases, conformer
from tasks.asr import base_loading, kept_bases
from tests import tiny
from tests.lingvo_like.base_models.whisper import whisper_bases

VALUES = conformer.Tiny().base
LANGUAGES = whisper_bases.LANGUAGES


def changed(**changes):
    return dataclasses.replace(VALUES, **changes)


def test_what_makes_no_other_base_is_the_experiments(tmp_path):
    base = tiny.base()
    base.save(str(tmp_path / "base"))
    values = changed(buckets_seconds=(1.0, 3.0), dropout_rate=0.25)
    loaded = base_loading.load(values, str(tmp_path / "base"))
    assert loaded.fingerprint() == base.fingerprint()
    assert loaded.max_samples == 3 * loaded.sample_rate
    with pytest.raises(ValueError, match="num_heads = 2, the experiment says"):
        base_loading.load(changed(num_heads=1), str(tmp_path / "base"))
    with pytest.raises(ValueError, match="may change. Received: num_heads"):
        conformer_ctc.load(str(tmp_path / "base"), num_heads=1)


def test_a_vocabulary_is_known_by_what_it_is(tmp_path):
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    files = []
    for name, text in (("one", "turn on the light"), ("two", "go up and off")):
        files.append(str(tmp_path / f"{name}.model"))
        trainer.train(
            sentence_iterator=iter([text] * 20),
            model_prefix=str(tmp_path / name),
            vocab_size=20,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    base = conformer_ctc.ConformerCtc(**vars(changed(vocabulary=files[0])))
    base.save(str(tmp_path / "base"))
    loaded = base_loading.load(
        changed(vocabulary=files[0]), str(tmp_path / "base")
    )
    assert loaded.fingerprint() == base.fingerprint()
    for vocabulary in (files[1], "characters"):
        with pytest.raises(ValueError, match="has vocabulary = "):
            base_loading.load(
                changed(vocabulary=vocabulary), str(tmp_path / "base")
            )


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory):
    """The folder of a small Whisper that knows de, en and fr."""
    path = tmp_path_factory.mktemp("whisper") / "base"
    base = whisper_bases.small(languages=LANGUAGES, positions=80)
    base.save(str(path))
    return str(path)


def test_a_whisper_of_no_such_language_is_refused_with_the_list(multilingual):
    with pytest.raises(ValueError, match="no language 'es'. It knows: de, en"):
        base_loading.load(bases.Whisper(language="es"), multilingual)


def test_a_multilingual_whisper_needs_no_language_of_its_own(multilingual):
    base = base_loading.load(bases.Whisper(), multilingual)
    assert base.languages == LANGUAGES
    german = base_loading.load(bases.Whisper(language="de"), multilingual)
    assert german.fingerprint() == base.fingerprint()


def test_what_is_known_is_told_before_anything_is_loaded(multilingual):
    values = bases.Whisper()
    known = base_loading.known_languages(values, multilingual)
    assert known == LANGUAGES
    assert base_loading.known_languages(values, "hf://some/whisper") is None
    assert base_loading.known_languages(bases.ConformerCtc(), "any") == ("",)


def whisper_values(audio_context):
    return bases.Whisper(audio_context, language="en")


def test_a_base_of_another_context_names_the_experiment(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    for context in ("full", "short"):
        base = whisper_bases.small(audio_context=context)
        base.save(tmp_path / context)
    with pytest.raises(ValueError, match="--experiment=whisper.ShortStacked"):
        base_loading.load(whisper_values("full"), str(tmp_path / "short"))
    with pytest.raises(ValueError, match="--experiment=whisper.Stacked"):
        base_loading.load(whisper_values("short"), str(tmp_path / "full"))


def test_the_kept_short_form_of_a_whisper_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    whisper_bases.small().save(tmp_path / "full")
    kept = kept_bases.path_of(str(tmp_path / "full"))
    short = whisper_bases.small(seed=1, audio_context="short")
    (tmp_path / "cache" / "short_bases").mkdir(parents=True)
    short.save(kept)
    loaded = base_loading.load(whisper_values("short"), str(tmp_path / "full"))
    assert loaded.fingerprint() == short.fingerprint()
    # One that is damaged is never used, and can be made again.
    for name in ("model.safetensors", "submodels_base.json"):
        path = pathlib.Path(kept, name)
        data = path.read_bytes()
        for damaged in (data[:-1] + bytes([data[-1] ^ 1]), None):
            path.unlink()
            if damaged:
                path.write_bytes(damaged)
            with pytest.raises(ValueError, match=f"or remove {kept}: the next"):
                base_loading.load(
                    whisper_values("short"), str(tmp_path / "full")
                )
            path.write_bytes(data)


def test_a_base_that_is_not_there_asks_for_the_flag(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("runs/base", "BASE"):
        with pytest.raises(
            ValueError,
            match=(
                f"{tmp_path}; say .* --base. tiny.en and base need no "
                "folder; any other Whisper is a folder"
            ),
        ):
            base_loading.load(whisper_values("short"), path)
