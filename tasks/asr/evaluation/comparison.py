"""Transcribes a test set: with the base model, with Submodels, with cohorts."""

from collections import abc
from typing import TypeAlias

from lingvo_like.base_models import base_model
from tasks.asr.data import preparation, splits
from tasks.asr.evaluation import (
    scoring,
    tested_cohorts,
    tested_submodels,
)
from tasks.asr.recognition import statuses, transcription
from tpu.distribute import replicas as replicas_lib

# By slot and utterance's index.
Results: TypeAlias = dict[transcription.Place, transcription.Recognised]


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
    cohorts = cohorts or tested_cohorts.TestedCohorts()
    with replicas.scope():
        stack = submodels.stack(len(cohorts.submodels))
    cohort_rows = cohorts.load(stack, submodels.page_size)
    without = transcription.Transcriber(compared, None, beam_size, replicas)
    with_one = transcription.Transcriber(base, stack, beam_size, replicas)
    pages = submodels.pages(list(data))
    # Of base, Submodels and cohorts.
    found: list[Results] = [{}, {}, {}]
    for number, slots in enumerate(pages, 1):
        page = {place: data[slot] for place, slot in enumerate(slots)}
        submodels.load(stack, [each.speaker for each in page.values()])
        transcribers = [without, with_one]
        rows = {
            place: cohort_rows[each.speaker]
            for place, each in page.items()
            if each.speaker in cohort_rows
        }
        if rows:
            transcribers.append(with_one.with_rows(rows))
        part = f", part {number} of {len(pages)}" if len(pages) > 1 else ""
        for results, of_page in zip(
            found,
            transcription.transcribe(transcribers, page, f"Evaluating{part}"),
            strict=False,
        ):
            results |= {
                (slots[place], index): each
                for (place, index), each in of_page.items()
            }
    return _records(data, train_texts, *found)


def _records(
    data: abc.Mapping[int, preparation.SpeakerUtterances],
    train_texts: abc.Mapping[str, abc.Iterable[str]],
    before: Results,
    after: Results,
    of_cohorts: Results,
) -> list[scoring.Transcribed]:
    """Joins what base, Submodels and cohorts made of each utterance."""
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
