"""Whether an utterance's samples and Submodel fit a model."""

import numpy as np

from tasks.asr.data import audio as audio_lib
from tasks.serving import errors, messages
from tasks.serving.exports import description as export_description

# Of a float32.
_SAMPLE_BYTES = 4


def num_bytes(
    utterance: messages.Utterance, description: export_description.Description
) -> int:
    """The bytes of an utterance in memory, at most."""
    vector = utterance.vector
    vector_bytes = 0 if vector is None else vector.nbytes
    if isinstance(utterance.audio, bytes):
        return vector_bytes + description.max_samples * _SAMPLE_BYTES
    return vector_bytes + utterance.audio.nbytes


def check_shapes(
    place: int,
    utterance: messages.Utterance,
    description: export_description.Description,
) -> None:
    """Refuses what does not fit a model.

    Args:
        place: of the utterance in its request, for messages.

    Raises:
        errors.ServingError: INVALID_ARGUMENT.
    """
    _check_audio(place, utterance, description)
    if utterance.language:
        # Before any work; what the Submodel says is known only later.
        language_index(place, utterance, description)
    vector, num_values = utterance.vector, description.num_values
    if vector is None or (_is_vector(vector) and len(vector) == num_values):
        return
    raise errors.invalid_argument(
        f"utterance {place}: the Submodel must be [{num_values}] float32. "
        f"Received: {_describe(vector)}."
    )


def language_index(
    place: int,
    utterance: messages.Utterance,
    description: export_description.Description,
    own: str = "",
) -> int:
    """The place of an utterance's language among those of a model.

    Args:
        place: as for `check_shapes`.
        own: the language of the utterance's Submodel; "" for none.

    Raises:
        errors.ServingError: INVALID_ARGUMENT, the model does not know it, or
            nothing says which one it is.
    """
    try:
        return description.language_index(utterance.language, own)
    except ValueError as error:
        raise errors.invalid_argument(
            f"utterance {place}: `language`: {error}"
        ) from None


def _check_audio(
    place: int,
    utterance: messages.Utterance,
    description: export_description.Description,
) -> None:
    if utterance.is_recording:
        return
    rate, limit = description.sample_rate, description.max_samples
    if utterance.sample_rate not in (None, rate):
        raise errors.invalid_argument(
            f"utterance {place}: the audio has {utterance.sample_rate} samples "
            f"per second, and the base model takes {rate}; resample it"
        )
    audio = utterance.audio
    if not _is_vector(audio):
        raise errors.invalid_argument(
            f"utterance {place}: the audio must be [samples] float32. "
            f"Received: {_describe(audio)}."
        )
    if not len(audio):
        raise errors.invalid_argument(
            f"utterance {place}: the audio has no samples"
        )
    if len(audio) > limit:
        raise errors.invalid_argument(
            f"utterance {place}: the audio is longer than {limit / rate:g} s; "
            f"{audio_lib.HOW_TO_SPLIT}. Received: {len(audio) / rate:.2f} s, "
            f"{len(audio)} samples at {rate} Hz."
        )


def check_finite(utterances: list[messages.Utterance]) -> None:
    """Refuses samples and Submodels that hold NaN or infinities."""
    for place, utterance in enumerate(utterances):
        arrays = {"audio": utterance.audio, "Submodel": utterance.vector}
        for name, values in arrays.items():
            if not isinstance(values, np.ndarray):
                continue
            is_finite = np.isfinite(values)
            if not is_finite.all():
                where = int(np.argmin(is_finite))
                raise errors.invalid_argument(
                    f"utterance {place}: the {name} must be finite. Received: "
                    f"{values[where]} at {where}."
                )


def _is_vector(array: object) -> bool:
    return (
        isinstance(array, np.ndarray)
        and array.dtype == np.float32
        and array.ndim == 1
    )


def _describe(array: object) -> str:
    if not isinstance(array, np.ndarray):
        return type(array).__name__
    return f"{list(array.shape)} {array.dtype}"
