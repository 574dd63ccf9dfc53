"""From a recording that somebody sent to the samples that a model takes."""

import numpy as np

from tasks.asr.data import audio, rejections
from tasks.serving import errors, threads
from tasks.serving.queueing import limits as serving_limits


class Decoder:
    """Decodes recordings in threads, so that nobody's answer waits for it.

    Runs on one asyncio loop.
    """

    def __init__(self, limits: serving_limits.Limits) -> None:
        self._seconds = limits.decode_seconds
        self._threads = threads.ThreadPool("recordings", limits.decode_threads)

    async def decode(
        self, data: bytes, sample_rate: int, max_samples: int
    ) -> np.ndarray:
        """A recording's samples; see `decode`.

        Raises:
            ServingError: INVALID_ARGUMENT, as `decode`; RESOURCE_EXHAUSTED, it
                was not decoded in time.
        """
        try:
            return await self._threads.call(
                decode, data, sample_rate, max_samples, seconds=self._seconds
            )
        except TimeoutError:
            raise errors.resource_exhausted(
                "busy: the recording was not decoded within "
                f"{self._seconds:g} s",
                retry_after_seconds=1.0,
            ) from None

    def close(self) -> None:
        """Ends the threads after what they are decoding."""
        self._threads.close()


def decode(data: bytes, sample_rate: int, max_samples: int) -> np.ndarray:
    """Decodes the bytes of a file, with the checks of every other recording.

    Args:
        data: of any format that `tasks.asr.data.audio` reads.
        sample_rate: that the model takes, in hertz.
        max_samples: that the model takes.

    Returns:
        float32 mono `[samples]` at that rate.

    Raises:
        ServingError: INVALID_ARGUMENT; says what is wrong with the recording.
    """
    seconds = max_samples / sample_rate
    try:
        # Rounded up, resampling may give one sample more.
        return audio.read(data, sample_rate, max_seconds=seconds)[:max_samples]
    except rejections.UnusableError as error:
        # Without the name of the recording, which the sender knows.
        what = rejections.UnusableError(error.reason, error.detail)
        raise errors.invalid_argument(what) from None
