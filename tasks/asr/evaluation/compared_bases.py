"""The base models of an evaluation: the run's, and the one compared with."""

import dataclasses
from collections import abc

from lingvo_like.base_models import base_model
from params import bases, schema
from tasks.asr import base_loading
from tasks.asr.data import preparation
from tasks.asr.estimates import recognition
from tasks.asr.recognition import transcription


@dataclasses.dataclass(frozen=True)
class Loaded:
    """The base models of an evaluation.

    Attributes:
        base: that of the Submodels.
        compared: the one that they are compared with; often `base`.
        compared_fingerprint: of `compared`.
    """

    base: base_model.BaseModel
    compared: base_model.BaseModel
    compared_fingerprint: str


def load(
    values: schema.Experiment,
    fingerprint: str,
    path: str,
    compare_with: str = "",
) -> Loaded:
    """Loads the base models.

    Args:
        values: of the run.
        fingerprint: of the run's base model.
        path: of the run's base model.
        compare_with: path of a Whisper to compare with, at its full audio
            context; the run's own base model if empty.

    Raises:
        ValueError: it is another base model, or the run's is no Whisper.
        OSError: one cannot be read.
    """
    base = base_loading.load(values.base, path)
    found = base.fingerprint()
    if found != fingerprint:
        raise ValueError(
            f"{path} is another base model ({found[:12]}) than the run's "
            f"({fingerprint[:12]})"
        )
    if not compare_with:
        return Loaded(base, base, fingerprint)
    if not isinstance(values.base, bases.Whisper):
        raise ValueError(
            "--compare_with names a Whisper at its full audio context; "
            f"the run's base model is a {type(values.base).__name__}"
        )
    compared = base_loading.load(bases.Whisper(), compare_with)
    return Loaded(base, compared, compared.fingerprint())


def estimate(
    values: bases.Whisper | bases.ConformerCtc,
    compare_with: str,
    base_path: str,
    test_manifest: str,
    passes: int,
) -> None:
    """Says what the evaluation takes, of memory and time.

    Args:
        passes: how often each utterance is recognised.

    Raises:
        ValueError, OSError: there is no base model, or no manifest.
    """
    base_loading.check_is_there(base_path)
    if compare_with and isinstance(values, bases.Whisper):
        # The longer context is what takes memory and time.
        values = dataclasses.replace(values, audio_context="full")
        base_path = compare_with
    recognition.check(
        values, base_path, test_manifest, transcription.ROWS, passes
    )


def check_knows(
    compared: base_model.BaseModel,
    path: str,
    data: abc.Mapping[int, preparation.SpeakerUtterances],
) -> None:
    """Refuses to compare with a base that lacks a language of the test.

    Raises:
        ValueError: it lacks one.
    """
    for each in data.values():
        for utterance in each.utterances:
            try:
                compared.language_index(utterance.language)
            except ValueError as error:
                raise ValueError(f"--compare_with={path}: {error}") from None
