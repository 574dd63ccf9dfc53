"""The manifest: one JSON object a line, one utterance a line, as in NeMo.

    {"audio_filepath": "a/0001.wav", "text": "turn on the lights",
     "speaker": "ann", "duration": 1.9, "offset": 0.0, "utt_id": "0001",
     "split": "train", "session": "", "mic": "", "severity": "moderate",
     "etiology": "", "language": "en", "simulated": false}

`audio_filepath`, `text` and `speaker` are required. Relative paths start at the
manifest's folder. Keys that are not listed here are ignored.

This module reads and writes the lines. `inspection` reads a manifest together
with its recordings.
"""

import collections
import dataclasses
import io
import json
import os
import re
import typing
from collections import abc

from lingvo_like import files, text_folding
from tasks.asr.data import manifest_fields as fields_lib, rejections

# The first line of a table parts its names with one of these.
_TABLE_HEADER = re.compile(rb'[A-Za-z_ ]"?[,;|\t]"?[A-Za-z_ ]')


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One recording of one phrase by one speaker.

    Attributes:
        audio_filepath: absolute path.
        text: the transcript as it is written there, never empty. Whatever
            learns, splits or scores by it folds it first (`text_folding`).
        speaker: speaker id.
        utt_id: unique among the speaker's utterances.
        duration: seconds.
        offset: seconds into the file.
        split: "train", "dev", "test" or "".
        session, mic, severity, etiology: labels, "" where unknown.
        language: code of the language that is spoken, such as "en"; "" where
            the line does not say.
        simulated: True for speech that no person spoke.
        tokens: what the base model is to write; () until `preparation` has
            tokenized the text. Not part of the line.
        recording_seconds: of the whole file, where `inspection` has seen it;
            else 0. Not part of the line.
        sha256: of the samples at the recording's own rate, where `inspection`
            has decoded them; else "". The same speech has the same, whatever
            its file is called and in whichever lossless format. Not part of
            the line.
    """

    audio_filepath: str
    text: str
    speaker: str
    utt_id: str
    duration: float
    offset: float = 0.0
    split: str = ""
    session: str = ""
    mic: str = ""
    severity: str = ""
    etiology: str = ""
    language: str = ""
    simulated: bool = False
    tokens: tuple[int, ...] = ()
    recording_seconds: float = dataclasses.field(default=0.0, compare=False)
    sha256: str = dataclasses.field(default="", compare=False)

    @property
    def labelled_severity(self) -> str | None:
        """The severity; "typical" where the etiology alone says control."""
        if not self.severity and self.etiology == "control":
            return "typical"
        return self.severity or None


@dataclasses.dataclass(frozen=True)
class Lines:
    """Utterances whose recordings nobody has looked at yet.

    Attributes:
        places: where each utterance was found, such as `train.jsonl:7`.
        utterances: `duration` is 0 where the line has none.
        left_out: what is no utterance.
    """

    places: list[str] = dataclasses.field(default_factory=list)
    utterances: list[Utterance] = dataclasses.field(default_factory=list)
    left_out: rejections.Rejections = dataclasses.field(
        default_factory=rejections.Rejections
    )


def paths(named: str | os.PathLike) -> list[str]:
    """Splits a flag's value: one file or folder, or several with commas."""
    named = os.fspath(named)
    if "," not in named or os.path.exists(named):
        return [named]
    several = [each.strip() for each in named.split(",") if each.strip()]
    return several or [named]


def read_lines(path: str | os.PathLike) -> Lines:
    """Reads manifests, files or in a bucket, without their recordings.

    Args:
        path: of one, or of several with commas between.

    Raises:
        OSError: there is no such file.
        ValueError: one has no lines, or is no manifest at all.
    """
    lines = Lines()
    several = paths(path)
    for each in several:
        name = each if len(several) > 1 else os.path.basename(each)
        _read_into(lines, each, name)
    lines.utterances[:] = _with_ids(lines.utterances)
    if len(several) > 1:
        _part_alike(lines)
    return lines


def _read_into(lines: Lines, path: str, name: str) -> None:
    """Adds a manifest's lines, whose places begin with `name`."""
    folder = os.path.dirname(files.absolute(path))
    num_lines = 0
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            # Windows editors put a byte order mark before the first line.
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.strip():
                continue
            num_lines += 1
            if num_lines == 1:
                _check_first_line(path, line)
            place = f"{name}:{number}"
            try:
                utterance = parse(line, folder)
            except rejections.UnusableError as error:
                lines.left_out.add(place, "", error.reason, error.detail)
                continue
            lines.places.append(place)
            lines.utterances.append(utterance)
    if not num_lines:
        raise ValueError(f"manifest {path} is empty")


def _check_first_line(path: str, line: bytes) -> None:
    """Says what to do with a file that is no manifest."""
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"manifest {path} is UTF-16; save it as UTF-8")
    beginning = line.lstrip()[:1]
    if beginning == b"[" and path.endswith((".json", ".jsonl")):
        raise ValueError(
            f"manifest {path} is a JSON array; a manifest has one object a "
            'line, {"audio_filepath": ..., "text": ..., "speaker": ...}'
        )
    # A line that was meant to be JSON is reported with its number.
    if beginning in b"{[" or not _TABLE_HEADER.search(line):
        return
    folder = os.path.dirname(path) or "."
    raise ValueError(
        f"manifest {path} is a table, not JSON lines. Make a manifest of it: "
        f"python -m tasks.import_corpus --from=audiofolder --root={folder} "
        "--output=manifest.jsonl"
    )


def write(path: str | os.PathLike, utterances: abc.Iterable[Utterance]) -> None:
    """Writes a manifest; it appears complete or not at all."""
    path = os.fspath(path)
    files.write_together({path: dumps(utterances, os.path.dirname(path))})


def dumps(
    utterances: abc.Iterable[Utterance], folder: str | os.PathLike
) -> str:
    """The text of a manifest that is to lie in `folder`.

    Audio below the folder gets a relative path, so that it can be moved.
    """
    folder = os.path.abspath(folder or ".")
    return "".join(
        json.dumps(_fields(each, folder), ensure_ascii=False) + "\n"
        for each in utterances
    )


def parse(line: bytes, folder: str) -> Utterance:
    """Reads one line; `utt_id` is "" and `duration` 0 where it has none.

    Args:
        folder: absolute path, or an address such as `gs://bucket/folder`, that
            relative audio paths start from.

    Raises:
        UnusableError: says what is wrong with the line.
    """
    try:
        fields = fields_lib.loads(line.decode("utf-8"))
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise rejections.UnusableError(
            "not UTF-8", f"{error.reason} at {error.start}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise rejections.UnusableError("not JSON", str(error)) from None
    if not isinstance(fields, dict):
        kind = type(fields).__name__
        raise rejections.UnusableError("not a JSON object", f"a {kind}")
    fields_lib.check_keys(fields)
    text = fields["text"]
    if not isinstance(text, str):
        raise rejections.UnusableError("`text` is not text", repr(text))
    # What is left of a text without characters that nobody sees.
    if not text_folding.fold(text):
        raise rejections.UnusableError("`text` is empty")
    filename = fields["audio_filepath"]
    if not isinstance(filename, str) or not filename or "\0" in filename:
        raise rejections.UnusableError(
            "`audio_filepath` is not a path", repr(filename)
        )
    simulated = fields.get("simulated", False)
    if not isinstance(simulated, bool):
        raise rejections.UnusableError(
            "`simulated` is not true or false", repr(simulated)
        )
    labels: dict[str, typing.Any] = {
        key: fields_lib.label(fields, key) for key in fields_lib.LABELS
    }
    labels["language"] = fields_lib.language(labels["language"])
    speaker = text_folding.fold(fields_lib.label(fields, "speaker"))
    if not speaker:
        raise rejections.UnusableError("`speaker` is empty")
    return Utterance(
        audio_filepath=_located(folder, filename),
        text=text.strip(),
        speaker=speaker,
        duration=fields_lib.seconds(fields, "duration"),
        offset=fields_lib.seconds(fields, "offset"),
        simulated=simulated,
        **labels,
    )


def _located(folder: str, filename: str) -> str:
    path = filename
    if files.is_local(filename):
        path = os.path.join(folder, filename)
    # Bucket addresses have two slashes that count, and no parents.
    scheme, mark, rest = path.rpartition("://")
    return scheme + mark + os.path.normpath(rest)


def _fields(utterance: Utterance, folder: str) -> dict[str, object]:
    """The values of a line, without those that say nothing."""
    values = dataclasses.asdict(utterance)
    del values["tokens"], values["recording_seconds"], values["sha256"]
    path = utterance.audio_filepath
    if files.is_local(path):
        path = os.path.abspath(path)
        if os.path.commonpath([folder, path]) == folder:
            path = os.path.relpath(path, folder)
    values["audio_filepath"] = path
    values["duration"] = round(utterance.duration, 4)
    return {
        key: value
        for key, value in values.items()
        if key in fields_lib.REQUIRED or key in ("utt_id", "duration") or value
    }


def _opened(path: str) -> typing.BinaryIO:
    if not files.is_local(path):
        return io.BytesIO(files.read(path))
    if not os.path.exists(path):
        raise FileNotFoundError(f"manifest {path} does not exist")
    if not os.path.isfile(path):
        raise ValueError(f"manifest {path} is not a file")
    return open(path, "rb")


def _with_ids(utterances: list[Utterance]) -> list[Utterance]:
    """Names the nameless after their files; alike names get the folder's."""
    names = collections.defaultdict(set)
    for each in utterances:
        if not each.utt_id:
            names[each.speaker, _stem(each)].add(each.audio_filepath)
    named = []
    for each in utterances:
        if not each.utt_id:
            stem = _stem(each)
            if len(names[each.speaker, stem]) > 1:
                folder = os.path.dirname(each.audio_filepath)
                stem = f"{os.path.basename(folder)}-{stem}"
            each = dataclasses.replace(each, utt_id=stem)
        named.append(each)
    return named


def _part_alike(lines: Lines) -> None:
    """Alike ids of several recordings begin with their manifests' paths."""
    recordings = collections.defaultdict(set)
    for each in lines.utterances:
        recordings[each.speaker, each.utt_id].add(each.audio_filepath)
    for index, each in enumerate(lines.utterances):
        if len(recordings[each.speaker, each.utt_id]) > 1:
            path = lines.places[index].rpartition(":")[0]
            path = os.path.splitext(_located(os.getcwd(), path))[0]
            folder, name = path.split("/")[-2:]
            lines.utterances[index] = dataclasses.replace(
                each, utt_id=f"{folder}/{name}/{each.utt_id}"
            )


def _stem(utterance: Utterance) -> str:
    stem = os.path.splitext(os.path.basename(utterance.audio_filepath))[0]
    if not utterance.offset:
        return stem
    return f"{stem}-{round(utterance.offset * 1000):07d}"
