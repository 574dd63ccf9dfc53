"""Makes a corpus of altered recordings: audio, manifests and their making."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections import abc

import tqdm

from lingvo_like import files, folders
from lingvo_like.store import ids
from tasks.asr.data import (
    audio,
    corpus_folder,
    inspection,
    manifest,
    rejections,
    splits,
)
from tasks.asr.simulator import disorders, voices, wav, workers

METADATA = "simulation.json"
_NOTICE = (
    "Simulated disorder: recordings of human voices that were altered by rule. "
    "Nobody spoke like this. Never clinical evidence. The recordings' own "
    "licences hold."
)
# What Whisper hears of an utterance.
_MAX_SECONDS = 30.0
_UTTERANCES_PER_TASK = 8


@dataclasses.dataclass(frozen=True)
class Request:
    """A request for altered recordings of the speakers of a manifest."""

    manifest: str
    # Each speaker of the manifest gets all of them, as another speaker.
    severities: tuple[str, ...] = disorders.SEVERITIES
    alterations: tuple[str, ...] = disorders.ALTERATIONS
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (
            ("severities", disorders.SEVERITIES),
            ("alterations", disorders.ALTERATIONS),
        ):
            values = getattr(self, name)
            if not values:
                raise ValueError(
                    f"`{name}` is empty; name some of: {', '.join(known)}."
                )
            if len(set(values)) < len(values):
                raise ValueError(
                    f"`{name}` has one twice. Received: {', '.join(values)}."
                )
        if "typical" in self.severities:
            raise ValueError(
                "typical speech is what --manifest has: name its recordings "
                "beside the altered ones, and here some of: "
                f"{', '.join(disorders.SEVERITIES)}."
            )
        voices.check_known(self.severities, disorders.SEVERITIES, "severity")
        voices.check_known(
            self.alterations, disorders.ALTERATIONS, "alteration"
        )

    def as_json(self) -> dict:
        """A dictionary of JSON values, the manifest's content included."""
        values = dataclasses.asdict(self)
        digest = hashlib.sha256()
        for path in manifest.paths(self.manifest):
            digest.update(files.read(path))
        values["manifest_sha256"] = digest.hexdigest()
        values["manifest"] = [
            files.absolute(each) for each in manifest.paths(self.manifest)
        ]
        return json.loads(json.dumps(values))


def alter(
    request: Request,
    output_dir: str | os.PathLike,
    num_processes: int | None = None,
) -> tuple[dict, rejections.Rejections, bool]:
    """Writes altered recordings into a new folder, or finds them there.

    The folder holds audio/, manifest.jsonl, simulation.json, left_out.txt and,
    if every line has a split, train.jsonl, dev.jsonl and test.jsonl: an altered
    utterance is in the split of its recording.

    Args:
        output_dir: local folder, absent or empty, or made by the very same
            request, which is then left as it is.
        num_processes: worker processes; every core by default.

    Returns:
        the content of simulation.json; what is left out; and whether it was
        made now (nothing is left out otherwise).

    Raises:
        ValueError: the optional package is missing, or nothing is usable.
        FileExistsError: the folder holds something else.
        OSError: the manifest cannot be read, nothing be written, or a worker
            died.
    """
    _check_installed()
    wanted = request.as_json()
    left_out = rejections.Rejections()
    made_before = corpus_folder.existing(output_dir, METADATA, wanted)
    if made_before:
        return made_before, left_out, False
    spoken, unusable = inspection.read(request.manifest)
    left_out.extend(unusable)
    people = _disorders(request, spoken)
    with folders.new_folder(output_dir) as folder:
        altered = _record(
            request, spoken, people, folder, num_processes, left_out
        )
        by_split = all(each.split in splits.SPLITS for each in altered)
        corpus_folder.write_manifests(folder, altered, by_split)
        account = left_out.account()
        (folder / "left_out.txt").write_text(account, encoding="utf-8")
        metadata = {
            "notice": _NOTICE,
            "simulated": True,
            "request": wanted,
            "seconds": round(sum(each.duration for each in altered), 3),
            "num_utterances": len(altered),
            "num_left_out": len(left_out),
            "speakers": [dataclasses.asdict(each) for each in people],
        }
        corpus_folder.write_json(folder / METADATA, metadata)
    return metadata, left_out, True


def _check_installed() -> None:
    try:
        import scipy  # noqa: F401
    except ImportError:
        raise ValueError(
            "altering recordings needs the package scipy; install it with: "
            "pip install -e '.[simulate]'"
        ) from None


def _disorders(
    request: Request, spoken: abc.Iterable[manifest.Utterance]
) -> list[disorders.Disorder]:
    people = [
        disorders.draw(request.seed, speaker, severity, request.alterations)
        for speaker in dict.fromkeys(each.speaker for each in spoken)
        for severity in request.severities
    ]
    for each in people:
        ids.check_id("speaker", each.speaker)
    return people


def _record(
    request: Request,
    spoken: abc.Sequence[manifest.Utterance],
    people: abc.Iterable[disorders.Disorder],
    folder: pathlib.Path,
    num_processes: int | None,
    left_out: rejections.Rejections,
) -> list[manifest.Utterance]:
    plan = []
    for disorder in people:
        (folder / "audio" / disorder.speaker).mkdir(parents=True)
        own = [e for e in spoken if e.speaker == disorder.altered_from]
        plan += [(disorder, n, each) for n, each in enumerate(own)]
    done = []
    with (
        workers.Workers(num_processes) as pool,
        tqdm.tqdm(total=len(plan), unit="utterance", desc="alter") as bar,
    ):
        starts = range(0, len(plan), _UTTERANCES_PER_TASK)
        parts = [plan[start : start + _UTTERANCES_PER_TASK] for start in starts]
        task = functools.partial(_utterances, request.seed, str(folder))
        for results in pool.map(task, parts):
            for result in results:
                if isinstance(result, manifest.Utterance):
                    done.append(result)
                else:
                    left_out.append(result)
            bar.update(len(results))
    if not done:
        raise ValueError(
            f"no recording of {request.manifest} can be altered: "
            f"{left_out.summary()}"
        )
    return done


def _utterances(
    seed: int,
    folder: str,
    plan: abc.Iterable[tuple[disorders.Disorder, int, manifest.Utterance]],
) -> list[manifest.Utterance | rejections.Rejection]:
    """A worker's task: altered utterances, or why there is none."""
    from tasks.asr.simulator import altering

    results = []
    for disorder, number, spoken in plan:
        path = os.path.join(
            folder, "audio", disorder.speaker, f"{number:05d}.wav"
        )
        try:
            if not files.is_local(spoken.audio_filepath):
                raise rejections.UnusableError(
                    "not a local recording: copy it here"
                )
            samples = audio.read(
                spoken.audio_filepath,
                altering.SAMPLE_RATE,
                spoken.offset,
                spoken.duration,
            )
            rng = voices.stream(seed, spoken.speaker, spoken.utt_id, "alter")
            altered = altering.alter(samples, disorder, rng)
            seconds = len(altered) / altering.SAMPLE_RATE
            if seconds > _MAX_SECONDS:
                raise rejections.UnusableError(
                    f"longer than {_MAX_SECONDS:g} s when it is altered",
                    f"{seconds:.1f} s",
                )
        except rejections.UnusableError as error:
            rejection = rejections.Rejection(
                spoken.audio_filepath,
                f"{disorder.speaker} {spoken.utt_id}",
                error.reason,
                error.described,
            )
            results.append(rejection)
            continue
        wav.write(path, altered, altering.SAMPLE_RATE)
        results.append(
            dataclasses.replace(
                spoken,
                audio_filepath=path,
                speaker=disorder.speaker,
                duration=seconds,
                offset=0.0,
                severity=disorder.severity,
                simulated=True,
            )
        )
    return results
