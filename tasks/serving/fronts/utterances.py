"""From a request's tensors to utterances, and from answers to tensors.

Pure functions that gRPC and REST share: they know whose Submodel a request
names, and which shapes must agree.
"""

from collections import abc
from typing import Any

import numpy as np

from lingvo_like import languages
from tasks.serving import errors, messages
from tasks.serving.fronts import signatures, tensors

# The header, and the key in gRPC's metadata, that may name the user.
SUBMODEL_ID = "x-submodel-id"
# Several times the longest id: the id's own check then reports the rest.
_MAX_ID_BYTES = 1024


def from_arrays(
    signature_name: str,
    arrays: abc.Mapping[str, np.ndarray],
    user: str | None,
    max_utterances: int,
) -> list[messages.Utterance]:
    """A request's utterances; their audio and rows are views.

    Args:
        signature_name: empty for the default one.
        arrays: by input, of the dtypes that `signatures.inputs_of` gives, or
            bytes where it may be recordings.
        user: the Submodel id in a header or in metadata, or None.
    """
    for name, each in signatures.inputs_of(signature_name, arrays).items():
        if name in arrays:
            _check_rank(name, arrays[name], each)
    audio = arrays["audio"]
    count = 1 if audio.ndim == 0 else len(audio)
    if not 1 <= count <= max_utterances:
        raise errors.invalid_argument(
            f"a request must have 1 to {max_utterances} utterances. Received: "
            f"{count}."
        )
    ids, vectors = _who(signature_name, arrays, user, count)
    codes = [""]
    if "language" in arrays:
        codes = [_to_language(each) for each in arrays["language"].ravel()]
    codes = _for_each("language", codes, count)
    if audio.dtype == object:
        heard, rates = _recordings(arrays), [None] * count
    else:
        heard, rates = _samples(arrays, count)
    return [
        messages.Utterance(
            audio=heard[place],
            submodel_id=ids[place],
            vector=vectors[place],
            sample_rate=rates[place],
            language=codes[place],
        )
        for place in range(count)
    ]


def of_recording(
    data: bytes, user: str | None, language: str = ""
) -> messages.Utterance:
    """The utterance that a recording's file holds.

    Args:
        user: the Submodel id; None for the base.
        language: a code; "" where the request names none.
    """
    if not data:
        raise errors.invalid_argument(
            "the recording is empty: 0 bytes. A file is sent as it is, as "
            "`curl --data-binary @FILE` does."
        )
    return messages.Utterance(audio=data, submodel_id=user, language=language)


def to_outputs(
    answers: abc.Sequence[messages.Answer],
) -> dict[str, np.ndarray]:
    """Answers as an array `[b]` for each output; strings are bytes."""
    outputs = {
        name: np.array(
            [_to_bytes(getattr(each, name)) for each in answers], object
        )
        for name in signatures.OUTPUTS
        if name != "score"
    }
    outputs["score"] = np.array([each.score for each in answers], np.float32)
    return {name: outputs[name] for name in signatures.OUTPUTS}


def served(answers: abc.Iterable[messages.Answer]) -> dict[str, str]:
    """Who answered, as headers or metadata; empty for a mix of users."""
    kinds = {(each.submodel_version, each.served_by) for each in answers}
    if len(kinds) != 1:
        return {}
    version, served_by = kinds.pop()
    pairs = {"x-served-by": served_by}
    return pairs | ({"x-submodel-version": version} if version else {})


def _who(
    signature_name: str,
    arrays: abc.Mapping[str, np.ndarray],
    user: str | None,
    count: int,
) -> tuple[list[str | None], list[np.ndarray | None]]:
    """Each utterance's Submodel id and row; None for the one not given."""
    nobody: list[Any] = [None] * count
    if signature_name not in ("", signatures.DEFAULT_SIGNATURE):
        if user is not None:
            raise errors.invalid_argument(
                f"signature {signature_name!r} takes no {SUBMODEL_ID}; use "
                f"{signatures.DEFAULT_SIGNATURE!r}"
            )
        if "submodels" not in arrays:
            return nobody, nobody
        index = arrays["index"]
        _check_rows("index", index, count)
        _check_range("index", index, 0, len(arrays["submodels"]) - 1)
        return nobody, [arrays["submodels"][place] for place in index]
    named = [name for name in ("submodel_id", "submodel") if name in arrays]
    named += [] if user is None else [SUBMODEL_ID]
    if len(named) != 1:
        raise errors.invalid_argument(
            "name the user once, as input 'submodel_id' or 'submodel' or as "
            f"header or metadata {SUBMODEL_ID}; for nobody's, use signature "
            f"'base'. Received: {tensors.show_names(named)}."
        )
    if named == ["submodel"]:
        _check_rows("submodel", arrays["submodel"], count)
        return nobody, list(arrays["submodel"])
    if user is not None:
        return [user] * count, nobody
    ids = [_to_id(each) for each in arrays["submodel_id"].ravel()]
    return _for_each("submodel_id", ids, count), nobody


def _samples(
    arrays: abc.Mapping[str, np.ndarray], count: int
) -> tuple[list[np.ndarray], list[int | None]]:
    """Each utterance's samples, and their rate or None if it is not given."""
    audio = arrays["audio"]
    width = audio.shape[1]
    if not width:
        raise tensors.wrong_input("audio", "must not be empty")
    lengths = arrays.get("length", np.full(count, width, np.int32))
    _check_rows("length", lengths, count)
    _check_range("length", lengths, 1, width)
    rates = [None]
    if "sample_rate" in arrays:
        rates = arrays["sample_rate"].ravel().tolist()
    heard = [row[:length] for row, length in zip(audio, lengths, strict=True)]
    return heard, _for_each("sample_rate", rates, count)


def _recordings(arrays: abc.Mapping[str, np.ndarray]) -> list[bytes]:
    """The bytes of each utterance's file."""
    for name in ("length", "sample_rate"):
        if name in arrays:
            raise tensors.wrong_input(
                name, "is of samples; a recording's file says it itself"
            )
    files = arrays["audio"].ravel().tolist()
    if not all(files):
        raise tensors.wrong_input("audio", "has a recording of 0 bytes")
    return files


def _check_rank(name: str, array: np.ndarray, wanted: signatures.Input) -> None:
    ranks, shape = wanted.ranks, list(array.shape)
    if wanted.may_be_recordings and array.dtype == object:
        ranks = (0, 1)
    if array.ndim in ranks:
        return
    message = f"must have rank {' or '.join(map(str, ranks))}"
    if array.ndim + 1 in ranks:
        message += (
            ", with the utterances as its first dimension: for one utterance "
            f"it is {[1, *shape]}"
        )
    raise tensors.wrong_input(name, f"{message}. Received: shape {shape}.")


def _for_each(name: str, values: list[Any], count: int) -> list[Any]:
    """A value for each utterance; a single one applies to all."""
    if len(values) not in (1, count):
        raise tensors.wrong_input(
            name, f"must have 1 or {count} values. Received: {len(values)}."
        )
    return values * (count // len(values))


def _to_id(value: bytes) -> str:
    if len(value) > _MAX_ID_BYTES:
        raise tensors.wrong_input(
            "submodel_id",
            f"must have at most {_MAX_ID_BYTES} bytes. Received: {len(value)}.",
        )
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise tensors.wrong_input("submodel_id", "must be UTF-8") from None


def _to_language(value: bytes) -> str:
    try:
        return languages.folded(value.decode("ascii"))
    except UnicodeDecodeError:
        error = "a language is a code such as en or es"
    except ValueError as raised:
        error = raised
    raise tensors.wrong_input("language", f"is no code: {error}")


def _check_rows(name: str, array: np.ndarray, count: int) -> None:
    if len(array) != count:
        raise tensors.wrong_input(
            name,
            f"must have as many rows as 'audio', {count}. Received: "
            f"{len(array)}.",
        )


def _check_range(name: str, array: np.ndarray, low: int, high: int) -> None:
    wrong = np.flatnonzero((array < low) | (array > high))
    if wrong.size:
        raise tensors.wrong_input(
            name,
            f"must lie in {low} to {high}. Received: {array[wrong[0]]} in row "
            f"{wrong[0]}.",
        )


def _to_bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "replace") if isinstance(value, str) else value
