"""Base and Submodel side by side, for every speaker of a test manifest."""

import dataclasses
import json
import posixpath

import tensorflow as tf

from lingvo_like import files
from lingvo_like.space import file as space_file
from tasks.asr.data import preparation, rejections, splits, text
from tasks.asr.evaluation import groups, metrics
from tasks.asr.evaluation.report import page as report_page
from tasks.asr.recognition import transcription
from tpu.distribute import replicas as replicas_lib


def read_test(base, path, selected, strict=False, normalizer="none"):
    """The test manifest's speakers, by slot, and what was left out.

    Args:
        base: the `BaseModel` that must be able to take the utterances.
        path: the manifest.
        selected: speaker ids; all of the manifest if empty.
        strict: bool; refuse if any utterance is unusable.
        normalizer: one of `text.NORMALIZERS`; what has no word under it has
            no error rate, and is left out.

    Raises:
        ValueError: nothing is usable, a selected speaker has nothing, or a
            speaker has two severities.
    """
    left_out = rejections.Rejections()
    by_speaker = {}
    read = preparation.read_speakers(base, path, left_out)
    for speaker, utterances in read.items():
        for utterance in utterances:
            if text.normalize(utterance.text, normalizer):
                by_speaker.setdefault(speaker, []).append(utterance)
            else:
                left_out.add(
                    path,
                    utterance.utt_id,
                    "no word in its transcript, as normalised for scoring",
                    f"{speaker}: {utterance.text!r}",
                )
    if strict:
        left_out.raise_if_any(f"manifest {path}")
    unknown = sorted(set(selected) - set(by_speaker))
    if unknown:
        raise ValueError(
            f"{path}: --speakers names {', '.join(unknown)}, who have no "
            f"usable utterance there"
        )
    speakers = tuple(sorted(selected or by_speaker))
    if not speakers:
        raise ValueError(f"{path}: nothing usable: {left_out.summary()}")
    for speaker in speakers:
        _check_one_severity(path, speaker, by_speaker[speaker])
    return preparation.by_slot(base, speakers, by_speaker), left_out


def _check_one_severity(path, speaker, utterances):
    first, *others = (
        (each.utt_id, groups.severity_name(each.labelled_severity))
        for each in utterances
    )
    for utt_id, severity in others:
        if severity != first[1]:
            raise ValueError(
                f"{path}: speaker {speaker!r} must have one severity: "
                f"utterance {first[0]!r} has {first[1]!r}, {utt_id!r} has "
                f"{severity!r}; give all lines of a speaker the same"
            )


def run(
    base, compared, submodels, data, train_texts, beam_size=1, replicas=None
):
    """Transcribes everything twice.

    Args:
        base: the `BaseModel` of the Submodels.
        compared: the `BaseModel` that people use without a Submodel; often
            `base`, or the same Whisper at its 30 s.
        submodels: `tested_submodels.Submodels`.
        data: dict of slot to `SpeakerUtterances`.
        train_texts: dict of speaker to the texts it trained on.
        beam_size: int.
        replicas: `Replicas` that the base models were made on.

    Returns:
        list of `metrics.Transcribed`, the same in every process.
    """
    replicas = replicas or replicas_lib.Replicas()
    with replicas.scope():
        stack = submodels.stack()
    before = transcription.Transcriber(
        compared, None, beam_size, replicas
    ).transcribe(data, title="base")
    transcriber = transcription.Transcriber(base, stack, beam_size, replicas)
    after = {}
    pages = submodels.pages(list(data))
    for number, slots in enumerate(pages, 1):
        page = {place: data[slot] for place, slot in enumerate(slots)}
        submodels.load(stack, [each.speaker for each in page.values()])
        title = "Submodels"
        if len(pages) > 1:
            title += f", part {number} of {len(pages)}"
        found = transcriber.transcribe(page, title=title)
        after |= {(slots[place], i): told for (place, i), told in found.items()}
    records = []
    for slot, speaker in data.items():
        heard = splits.Heard(train_texts.get(speaker.speaker, []))
        for index, utterance in enumerate(speaker.utterances):
            records.append(
                metrics.Transcribed(
                    speaker=utterance.speaker,
                    utt_id=utterance.utt_id,
                    severity=utterance.labelled_severity,
                    novelty=heard.novelty(utterance.text),
                    reference=utterance.text,
                    base_hypothesis=before[slot, index][0],
                    submodel_hypothesis=after[slot, index][0],
                    duration=utterance.duration,
                    simulated=utterance.simulated,
                )
            )
    return records


def load_space(directory, fingerprint):
    """The space that the run trained, or None for a run of slots.

    Raises:
        SpaceError: the file is damaged, or of another base model.
    """
    if not tf.io.gfile.exists(directory.space):
        return None
    return space_file.load(directory.space, fingerprint)


def write(directory, summary, records, history, details, left_out, space=None):
    """Writes results.json, hypotheses.jsonl, left_out.txt and report.html.

    Args:
        directory: str, the folder.
        summary: dict from `metrics.summarize`.
        records: list of `metrics.Transcribed`.
        history: list of dicts, the learning curves.
        details: dict of str, what was compared with what.
        left_out: `Rejections`, of the test manifest.
        space: `space.Space` to draw a map of, or None.
    """
    tf.io.gfile.makedirs(directory)
    lines = "".join(
        json.dumps(dataclasses.asdict(record), ensure_ascii=False) + "\n"
        for record in records
    )
    files.write_atomically(
        posixpath.join(directory, "hypotheses.jsonl"), lines.encode()
    )
    files.write_atomically(
        posixpath.join(directory, "left_out.txt"),
        left_out.describe(examples=None).encode(),
    )
    details = {**details, "left_out": len(left_out)}
    results = {**summary, "details": details}
    files.write_atomically(
        posixpath.join(directory, "results.json"),
        (json.dumps(results, indent=2, allow_nan=False) + "\n").encode(),
    )
    report_page.write(
        posixpath.join(directory, "report.html"),
        summary,
        history,
        "Submodels: what each speaker gained",
        details,
        space,
    )
