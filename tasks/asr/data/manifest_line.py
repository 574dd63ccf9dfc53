"""An utterance, and the line of JSON that it is written as."""

import dataclasses
import difflib
import json
import os

from tasks.asr.data import rejections

_REQUIRED = ("audio_filepath", "text", "speaker")
_LABELS = ("utt_id", "split", "session", "mic", "severity", "etiology")
_KEYS = (*_REQUIRED, *_LABELS, "duration", "offset", "simulated")
# Nobody speaks for thirty years; also keeps huge integers out of floats.
_MAX_SECONDS = 1e9


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One recording of one phrase by one speaker.

    Attributes:
        audio_filepath: absolute path.
        text: the transcript, never empty.
        speaker: speaker id.
        utt_id: unique among the speaker's utterances.
        duration: seconds.
        offset: seconds into the file.
        split: "train", "dev", "test" or "".
        session, mic, severity, etiology: labels, "" where unknown.
        simulated: True for speech that no person spoke.
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
    simulated: bool = False

    @property
    def labelled_severity(self):
        """The label or None; corpora mark controls by the etiology alone."""
        if not self.severity and self.etiology == "control":
            return "typical"
        return self.severity or None


def parse(line, folder):
    """Reads one line of a manifest.

    Args:
        line: bytes.
        folder: absolute path, or an address such as `gs://bucket/folder`, that
            relative audio paths start from.

    Returns:
        an `Utterance`; `utt_id` is "" and `duration` 0 where the line has none.

    Raises:
        UnusableError: what is wrong with the line.
    """
    try:
        fields = json.loads(line.decode("utf-8"))
        # JSON can spell half a character, which no file can hold.
        json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise rejections.UnusableError(
            "not UTF-8", f"{error.reason} at {error.start}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise rejections.UnusableError("not JSON", str(error)) from None
    if not isinstance(fields, dict):
        raise rejections.UnusableError(
            "not a JSON object", f"a {type(fields).__name__}"
        )
    _check_keys(fields)
    text = fields["text"]
    if not isinstance(text, str):
        raise rejections.UnusableError("`text` is not text", repr(text))
    if not text.strip():
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
    speaker = _label(fields, "speaker")
    if not speaker:
        raise rejections.UnusableError("`speaker` is empty")
    return Utterance(
        audio_filepath=_located(folder, filename),
        text=text.strip(),
        speaker=speaker,
        duration=_seconds(fields, "duration"),
        offset=_seconds(fields, "offset"),
        simulated=simulated,
        **{key: _label(fields, key) for key in _LABELS},
    )


def _located(folder, filename):
    if "://" in filename or os.path.isabs(filename):
        return _normal(filename)
    return _normal(os.path.join(folder, filename))


def _normal(path):
    # Bucket addresses have two slashes that count, and no parents.
    scheme, mark, rest = path.rpartition("://")
    return scheme + mark + os.path.normpath(rest)


def _check_keys(fields):
    # Other tools' keys are none of our business; a misspelt one of ours is.
    for key in fields:
        near = difflib.get_close_matches(key, _KEYS, 1, cutoff=0.85)
        if key not in _KEYS and near and near[0] not in fields:
            raise rejections.UnusableError(
                f"unknown key `{key}`", f"did you mean `{near[0]}`?"
            )
    for key in _REQUIRED:
        if key not in fields:
            raise rejections.UnusableError(
                f"no `{key}`", f"keys: {', '.join(fields)}"
            )


def _label(fields, key):
    value = fields.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise rejections.UnusableError(f"`{key}` is not text", repr(value))
    return str(value).strip()


def _seconds(fields, key):
    value = fields.get(key)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise rejections.UnusableError(
            f"`{key}` is not a number of seconds", repr(value)
        )
    if value == 0 and key == "duration":
        raise rejections.UnusableError("zero length", "`duration` is 0")
    if not 0 <= value < _MAX_SECONDS:
        raise rejections.UnusableError(
            f"`{key}` is not a length of time", f"{value} s"[:40]
        )
    return float(value)


def record(utterance, folder):
    """The dict that a line is made of, without the fields that say nothing.

    Args:
        utterance: `Utterance`.
        folder: absolute path; audio below it gets a relative path.
    """
    values = dataclasses.asdict(utterance)
    path = utterance.audio_filepath
    if "://" not in path:
        path = os.path.abspath(path)
        if os.path.commonpath([folder, path]) == folder:
            path = os.path.relpath(path, folder)
    values["audio_filepath"] = path
    values["duration"] = round(utterance.duration, 4)
    return {
        key: value
        for key, value in values.items()
        if key in _REQUIRED or key in ("utt_id", "duration") or value
    }
