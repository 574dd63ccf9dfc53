"""What an enrolment reads and leaves behind, file by file.

OUTPUT_DIR/submodels/      one file for each speaker that gained
OUTPUT_DIR/enrolment.jsonl a line for each speaker of the last call
"""

import collections
import contextlib
import dataclasses
import itertools
import json
import posixpath
import time

import tensorflow as tf

from lingvo_like import files
from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tasks.asr.data import inspection, preparation, rejections
from tasks.asr.training import model_directory

RESULTS = "enrolment.jsonl"
# After which nobody is writing a file any more.
_ABANDONED_SECONDS = 3600


def find_space(path):
    """The space's file, and where the run beside it found its base model.

    Args:
        path: str, a run's folder or the file itself.

    Returns:
        the file's path, and the base model's or "".
    """
    folder = path
    if tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path):
        folder = posixpath.dirname(path) or "."
    else:
        path = model_directory.ModelDirectory(path).space
    saved = model_directory.ModelDirectory(folder).read_experiment()
    return path, saved["base"] if saved else ""


def read_speech(
    base,
    manifest,
    dev_manifest,
    speakers,
    min_seconds,
    trim_silence=False,
):
    """The usable utterances of who is to be enrolled.

    Args:
        base: `BaseModel`.
        manifest, dev_manifest: paths; no dev if empty.
        speakers: ids; empty for all of the manifest.
        min_seconds: float; what is shorter is left out.
        trim_silence: bool; see `schema.Data`.

    Returns:
        two dicts of speaker to `SpeakerUtterances`, to learn from and to be
        judged by, and `Rejections`.

    Raises:
        ValueError: somebody has no usable utterance, or nobody has, or a
            recording is in both manifests.
        OSError: a manifest is missing.
    """
    left_out = rejections.Rejections()
    found = _read(base, manifest, min_seconds, left_out, trim_silence)
    missing = sorted(set(speakers) - set(found))
    if missing or not found:
        who = ", ".join(missing[:5]) or "nobody"
        more = f" ({left_out.summary()})" if left_out else ""
        raise ValueError(
            f"{manifest}: no usable utterance of {who}{more}"
            if missing
            else f"{manifest}: nobody has a usable utterance{more}"
        )
    chosen = tuple(sorted(set(speakers) or found))
    dev = {}
    if dev_manifest:
        dev = _read(base, dev_manifest, min_seconds, left_out, trim_silence)
        _check_apart(found, dev, dev_manifest)
    return (
        *(_by_speaker(chosen, each) for each in (found, dev)),
        left_out,
    )


def _read(base, path, min_seconds, left_out, trim_silence):
    """Speakers' usable utterances of at least so many seconds."""
    speakers = preparation.read_speakers(
        base, path, left_out, trim_silence=trim_silence
    )
    result = {}
    for speaker, utterances in speakers.items():
        kept = [u for u in utterances if u.duration >= min_seconds]
        for utterance in utterances:
            if utterance.duration < min_seconds:
                left_out.add(
                    utterance.audio_filepath,
                    utterance.utt_id,
                    "too short to learn from",
                    f"{utterance.duration:.2f} s, at least {min_seconds:g} s",
                )
        if kept:
            result[speaker] = kept
        else:
            left_out.add(path, speaker, inspection.NOTHING_USABLE)
    return result


def _check_apart(train, dev, path):
    """Refuses to judge by what is learned from: it would tell nothing."""
    learned = collections.defaultdict(list)
    for utterance in itertools.chain(*train.values()):
        learned[utterance.audio_filepath].append(utterance)
    both = sorted(
        utterance.utt_id
        for utterance in itertools.chain(*dev.values())
        # They may be parts of one recording.
        for other in learned[utterance.audio_filepath]
        if utterance.offset < other.offset + other.duration
        and other.offset < utterance.offset + utterance.duration
    )
    if both:
        raise ValueError(
            f"{path}: also among the recordings to learn from: "
            f"{_first_names(both)}; name others to judge by, or leave "
            "--dev_manifest away"
        )


def _first_names(names):
    """Some names as text, and how many others there are."""
    more = f" and {len(names) - 5} more" if names[5:] else ""
    return f"{', '.join(names[:5])}{more}"


def _by_speaker(speakers, utterances):
    by_slot = preparation.by_slot(speakers, utterances)
    return {data.speaker: data for data in by_slot.values()}


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where enrolled speakers go.

    Attributes:
        directory: str, the folder of the files.
        store: str, of a `SubmodelStore` to publish to; or "".
        tenant: str, whose speakers in the store.
        replace: bool, whether speakers that are there already may be enrolled
            again.
    """

    directory: str
    store: str = ""
    tenant: str = ""
    replace: bool = False

    def path(self, speaker):
        """The path of a speaker's Submodel file."""
        return posixpath.join(
            self.directory, "submodels", submodel_file.file_name(speaker)
        )

    def check(self, space, speakers):
        """Refuses taken ids, and what cannot be written, before any work.

        Args:
            space: `space.Space`; its own speakers' ids are taken.
            speakers: ids.

        Raises:
            ValueError: names who is taken, and by what.
            OSError: the folder or the store cannot be written.
        """
        if self.store and not self.tenant:
            raise ValueError("to publish needs a tenant: whose speakers?")
        for speaker in speakers:
            submodel_file.file_name(speaker)
            if self.store:
                submodel_store.check_id("speaker", speaker)
        if self.store:
            submodel_store.check_id("tenant", self.tenant)
        if not self.replace:
            self._check_free(space, speakers)
        folder = posixpath.join(self.directory, "submodels")
        model_directory.check_writable(folder, "the output folder")
        if self.store:
            submodel_store.SubmodelStore(self.store).prepare()
        # What a killed process was writing, and none that runs now.
        long_ago = 1e9 * (time.time() - _ABANDONED_SECONDS)
        for name in tf.io.gfile.listdir(folder):
            path = posixpath.join(folder, name)
            if name.startswith(files.TEMPORARY_PREFIX):
                # Another process may be done with it, or find it, just now.
                with contextlib.suppress(tf.errors.NotFoundError):
                    if tf.io.gfile.stat(path).mtime_nsec < long_ago:
                        tf.io.gfile.remove(path)

    def check_shared(self, processes):
        """Shows that all processes of a job write to one folder.

        Raises:
            OSError: some do not.
        """
        model_directory.ModelDirectory(self.directory).check_shared(processes)

    def _check_free(self, space, speakers):
        taken = []
        for speaker in speakers:
            if speaker in space.speakers:
                taken.append(f"{speaker} (a speaker of the space)")
            elif files.exists(self.path(speaker)):
                taken.append(f"{speaker} ({self.path(speaker)})")
            elif self.store and self._is_published(speaker):
                taken.append(f"{speaker} (published in {self.store})")
        if taken:
            raise ValueError(
                f"taken already: {_first_names(taken)}. Choose another "
                "id, or allow to replace."
            )

    def _is_published(self, speaker):
        try:
            submodel_store.SubmodelStore(self.store).resolve(
                self.tenant, speaker
            )
        except (submodel_store.UnknownSubmodelError, FileNotFoundError):
            return False
        return True

    def write(self, enrolled, space, seed):
        """Writes a speaker's Submodel, and publishes it.

        Args:
            enrolled: `Enrolled` with tensors.
            space: `space.Space`.
            seed: int, of the enrolment.

        Returns:
            the file's path, and the published `Version` or None.

        Raises:
            ValueError: somebody took the id meanwhile.
            OSError: it cannot be written; what was there stays.
        """
        if not self.replace:
            self._check_free(space, [enrolled.speaker])
        path = self.path(enrolled.speaker)
        made, version = make_submodel(enrolled, space, seed), None
        # First, so that a file here is one whose publishing came through.
        if self.store:
            version = submodel_store.SubmodelStore(self.store).publish(
                submodel_file.to_bytes(made), self.tenant, enrolled.speaker
            )
        try:
            submodel_file.save(path, made)
        except OSError as error:
            if not version:
                raise
            raise OSError(
                f"{enrolled.speaker} is published, as {version.name}, but has "
                f"no file: {error}"
            ) from error
        return path, version

    def write_results(self, rows):
        """Writes a line of JSON for each speaker of the call."""
        lines = "".join(
            json.dumps(row, ensure_ascii=False) + "\n" for row in rows
        )
        files.write_atomically(
            posixpath.join(self.directory, RESULTS), lines.encode()
        )


def make_submodel(enrolled, space, seed):
    """The `Submodel` of an enrolled speaker.

    Args:
        enrolled: `Enrolled` with tensors.
        space: `space.Space` that it comes from.
        seed: int, of the enrolment.
    """
    metadata = space.metadata
    return submodel_file.create(
        space.layout,
        enrolled.tensors,
        base_fingerprint=metadata.base_fingerprint,
        speaker=enrolled.speaker,
        experiment=metadata.experiment,
        residual_weight=metadata.residual_weight,
        base_description=metadata.base_description,
        training={
            "mode": enrolled.mode,
            "step": enrolled.step,
            "dev_loss": enrolled.best.loss,
            "base_dev_loss": enrolled.judgements["base"].loss,
            "dev_word_error_rate": enrolled.best.word_error_rate,
            "base_dev_word_error_rate": (
                enrolled.judgements["base"].word_error_rate
            ),
            "evidence": enrolled.evidence,
            "train_utterances": enrolled.num_utterances,
            "train_seconds_of_speech": round(enrolled.seconds_of_speech, 3),
            "seed": seed,
            "space_sha256": metadata.sha256,
            "embedding": list(enrolled.embedding),
        },
    )
