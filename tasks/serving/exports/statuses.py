"""The status of each row of an exported call before it is recognised.

It is "OK", or the row's first fault. `asr.recognition.statuses` has what is
said of the text of a row that is OK.
"""

import math
from collections import abc
from typing import Any

import tensorflow as tf

from lingvo_like.base_models import base_model
from tasks.asr.data import audio as audio_lib, limits
from tasks.asr.recognition import statuses

OK = statuses.OK
_TOO_LOUD = (
    "audio must be in [-1, 1] (16-bit integers are divided by 32768): its peak "
    "is too high"
)

# Whether each row is right `[b]`; parts of the message, strings or integers;
# and what each row has instead `[b]`, or None.
Check = tuple[Any, list, Any]


def of_audio(
    base: base_model.BaseModel, audio: tf.Tensor, length: tf.Tensor
) -> tf.Tensor:
    """The status `[b]` of audio `[b, samples]`, whatever lies past `length`.

    What `limits` leaves out of training gets no text here.
    """
    rows, width = tf.unstack(tf.shape(audio))
    valid = tf.sequence_mask(length, width)
    heard = tf.where(valid, audio, 0.0)
    finite = tf.reduce_all(tf.math.is_finite(heard), axis=1)
    # A call may be of no samples at all.
    some = tf.pad(valid, [[0, 0], [0, 1]])
    heard = tf.pad(heard, [[0, 0], [0, 1]])
    highest = tf.reduce_max(tf.where(some, heard, heard.dtype.min), axis=1)
    lowest = tf.reduce_min(tf.where(some, heard, heard.dtype.max), axis=1)
    peak = tf.maximum(highest, -lowest)
    shortest = math.ceil(limits.MIN_SECONDS * base.sample_rate)
    longest = base.max_samples
    seconds = longest / base.sample_rate
    too_long = (
        f"the utterance is too long: length must be at most {longest} samples, "
        f"{seconds:g} s ({audio_lib.HOW_TO_SPLIT})"
    )
    too_short = (
        "the utterance is too short to hear anything: length must be at least "
        f"{shortest} samples"
    )
    silent = "the utterance is silent from start to end"
    too_wide = ["length must be at most the width of audio, ", width]
    return refine(
        tf.fill([rows], OK),
        [
            (length >= 1, ["length must be at least 1 sample"], length),
            (length <= width, too_wide, length),
            (length <= longest, [too_long], length),
            (finite, ["audio has samples that are not finite"], None),
            (peak <= limits.MAX_AMPLITUDE, [_TOO_LOUD], peak),
            (length >= shortest, [too_short], length),
            (highest - lowest >= 2 * limits.SILENCE_PEAK, [silent], None),
        ],
    )


def refine(status: tf.Tensor, checks: abc.Iterable[Check]) -> tf.Tensor:
    """Gives each row of `status` that is still OK the first of its faults."""
    for right, message, received in checks:
        parts = [
            part if isinstance(part, str) else tf.strings.as_string(part)
            for part in message
        ]
        if received is not None:
            parts += [". Received: ", tf.strings.as_string(received)]
        fault = tf.strings.join([*parts, "."])
        status = tf.where((status != OK) | right, status, fault)
    return status
