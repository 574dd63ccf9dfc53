"""Transcribes a test set: with the base model, with Submodels, with cohorts."""

from collections import abc

from lingvo_like.base_models import base_model
from tasks.asr.data import preparation, splits
from tasks.asr.evaluation import (
    scoring,
    tested_cohorts,
    tested_submodels,
)
from tasks.asr.recognition import statuses, transcription
from tpu.distribute import replicas as replicas_lib


def transcribe(
    base: base_model.BaseModel,
    compared: base_model.BaseModel,
    submodels: tested_submodels.TestedSubmodels,
    data: dict[int, preparation.SpeakerUtterances],
    train_texts: abc.Mapping[str, abc.Iterable[str]],
    beam_size: int = 1,
    replicas: replicas_lib.Replicas | None = None,
    cohorts: tested_cohorts.TestedCohorts | None = None,
) -> list[scoring.Transcribed]:
    """Transcribes every utterance without and with its speaker's Submodel.

    Args:
        base: the base model of the Submodels.
        compared: the base model that people use without a Submodel; often
            `base`, or the same Whisper at its full audio context.
        train_texts: dict of speaker to the texts it trained on.
        replicas: the replicas that the base models were made on.
        cohorts: whose Submodels hear the same, too.

    Returns:
        the same list in every process.
    """
    replicas = replicas or replicas_lib.Replicas()
    with replicas.scope():
        stack = submodels.stack()
    before = transcription.Transcriber(
        compared, None, beam_size, replicas
    ).transcribe(data, title="base")
    transcriber = transcription.Transcriber(base, stack, beam_size, replicas)
    cohorts = cohorts or tested_cohorts.TestedCohorts()
    after = _in_pages(transcriber, stack, submodels, data, "Submodels")
    of_cohorts = _in_pages(
        transcriber,
        stack,
        cohorts,
        {
            s: each
            for s, each in data.items()
            if each.speaker in cohorts.of_speaker
        },
        "cohort",
    )
    records = []
    for slot, speaker in data.items():
        heard = splits.Heard(train_texts.get(speaker.speaker, ()))
        for index, utterance in enumerate(speaker.utterances):
            of_base, of_submodel = before[slot, index], after[slot, index]
            of_cohort = of_cohorts.get((slot, index))
            records.append(
                scoring.Transcribed(
                    speaker=utterance.speaker,
                    utt_id=utterance.utt_id,
                    severity=utterance.labelled_severity,
                    novelty=heard.novelty(utterance.text),
                    reference=utterance.text,
                    base_hypothesis=of_base.text,
                    submodel_hypothesis=of_submodel.text,
                    base_status=of_base.status,
                    submodel_status=of_submodel.status,
                    duration=utterance.duration,
                    simulated=utterance.simulated,
                    language=utterance.language,
                    cohort_hypothesis=of_cohort and of_cohort.text,
                    cohort_status=(
                        of_cohort.status if of_cohort else statuses.OK
                    ),
                )
            )
    return records


def _in_pages(transcriber, stack, submodels, data, title):
    """What is recognised with some Submodels, a stack of them at a time."""
    result = {}
    pages = tested_submodels.TestedSubmodels.pages(list(data))
    for number, slots in enumerate(pages, 1):
        page = {place: data[slot] for place, slot in enumerate(slots)}
        submodels.load(stack, [each.speaker for each in page.values()])
        part = f", part {number} of {len(pages)}" if len(pages) > 1 else ""
        found = transcriber.transcribe(page, title=f"{title}{part}")
        result |= {
            (slots[place], index): each
            for (place, index), each in found.items()
        }
    return result
