"""The keys of a manifest's line, and what their values may be."""

import difflib
import functools
import json
import typing

from lingvo_like import languages
from tasks.asr.data import rejections

REQUIRED = ("audio_filepath", "text", "speaker")
LABELS = (
    "utt_id",
    "split",
    "session",
    "mic",
    "severity",
    "etiology",
    "language",
)
_KEYS = (*REQUIRED, *LABELS, "duration", "offset", "simulated")
# Nobody speaks for thirty years; also keeps huge integers out of floats.
_MAX_SECONDS = 1e9


def loads(text: str) -> typing.Any:
    """Reads JSON whose texts a manifest can hold.

    Raises:
        ValueError, RecursionError: the text is not JSON.
        UnicodeEncodeError: it spells half a character.
    """
    value = json.loads(text)
    # JSON can spell half a character, which no file can hold.
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def check_keys(fields: dict) -> None:
    """Raises an UnusableError where a key is missing or misspelt."""
    # Other tools have their own keys; a misspelt one of ours is an error.
    for key in fields.keys() - set(_KEYS):
        near = _meant(key)
        if near and near not in fields:
            raise rejections.UnusableError(
                f"unknown key `{key}`", f"did you mean `{near}`?"
            )
    for key in REQUIRED:
        if key not in fields:
            raise rejections.UnusableError(
                f"no `{key}`", f"keys: {', '.join(fields)}"
            )


# Every line of a manifest has the same keys.
@functools.lru_cache(maxsize=1024)
def _meant(key: str) -> str | None:
    near = difflib.get_close_matches(key, _KEYS, 1, cutoff=0.85)
    return near[0] if near else None


def label(fields: dict, key: str) -> str:
    """A value as text, "" where there is none; an UnusableError for others."""
    value = fields.get(key)
    if value is None:
        return ""
    # Tools that have columns of numbers write whole ones as 7.0, and what is
    # missing as NaN.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (bool, float)) or not isinstance(value, (str, int)):
        raise rejections.UnusableError(f"`{key}` is not text", repr(value))
    return str(value).strip()


def language(code: str) -> str:
    """The code of a language as it is compared; what is none stays as it is.

    Only who needs the language refuses what is no code.
    """
    try:
        return languages.folded(code)
    except ValueError:
        return code


def seconds(fields: dict, key: str) -> float:
    """A length of time, 0 where there is none; an UnusableError for others."""
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
