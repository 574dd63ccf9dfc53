"""Log-mel features of audio, with their paddings."""

from typing import Any, TypeAlias

import numpy as np
from keras import ops

from lingvo_like import paddings as paddings_lib, tensor_types
from lingvo_like.layers import layer

Tensor: TypeAlias = tensor_types.Tensor

# Added to the mel energies before the logarithm, so that digital silence stays
# finite: about -100 dB of full scale for a frame of 25 ms.
ENERGY_FLOOR = 1e-6
# The smallest deviation that a bin is divided by, in nepers of energy.
DEVIATION_FLOOR = 1e-2


def mel_matrix(
    num_bins: int,
    num_frequencies: int,
    sample_rate: int,
    lower_edge_hertz: float,
    upper_edge_hertz: float,
) -> np.ndarray:
    """Triangular filters, evenly spaced on the HTK mel scale.

    They are `[num_frequencies, num_bins]` float32. The frequencies go from 0 Hz
    to half the sample rate.

    Raises:
        ValueError: a filter falls between two bins of the spectrum.
    """
    hertz = np.linspace(0.0, sample_rate / 2.0, num_frequencies)
    edges = np.linspace(
        hertz_to_mel(lower_edge_hertz),
        hertz_to_mel(upper_edge_hertz),
        num_bins + 2,
    )
    mel = hertz_to_mel(hertz)[:, None]
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0.0, np.minimum(rising, falling)).astype("float32")
    if not filters.any(axis=0).all():
        raise ValueError(
            f"{num_bins} mel bins are too many for a spectrum of "
            f"{num_frequencies} frequencies: some filters would be empty. "
            "Take fewer `num_bins` or longer frames."
        )
    return filters


def hertz_to_mel(hertz: float | np.ndarray) -> np.ndarray:
    """The HTK formula, 1127 ln(1 + f / 700)."""
    return 1127.0 * np.log1p(np.asarray(hertz, "float64") / 700.0)


class LogMelFrontend(layer.Layer):
    """Log-mel features, each bin normalised to mean 0 and deviation 1.

    Mean and deviation are those of the utterance's own valid frames, so that
    the level and the channel of a recording cancel, and zero is neutral. Frame
    i starts at sample `i * frame_step`. There are
    `ceil(samples / frame_step)` frames, of which the first
    `ceil(length / frame_step)` hold signal.

    Args:
        num_bins: mel filters, from `lower_edge_hertz` to `upper_edge_hertz`.
        frame_length_ms: length of a Hann window.

    Call arguments:
        audio: `[batch, samples]` float32 in [-1, 1].
        lengths: `[batch]` int32, valid samples; the others are ignored.

    Returns:
        features `[batch, time, num_bins]` float32, zero where padded, and
        paddings `[batch, time]` float32.

    Raises:
        ValueError: an argument is not positive, or the edges are not in
            `0 <= lower < upper <= sample_rate / 2`.
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        num_bins: int = 80,
        frame_length_ms: float = 25.0,
        frame_step_ms: float = 10.0,
        lower_edge_hertz: float = 80.0,
        upper_edge_hertz: float = 7600.0,
        **kwargs: Any,
    ) -> None:
        # No autocast: bfloat16 keeps 8 of the audio's 16 bits, and sums of
        # paddings are wrong beyond 256 frames.
        super().__init__(autocast=False, **kwargs)
        self.sample_rate = sample_rate
        self.num_bins = num_bins
        self.frame_length_ms = frame_length_ms
        self.frame_step_ms = frame_step_ms
        self.lower_edge_hertz = lower_edge_hertz
        self.upper_edge_hertz = upper_edge_hertz
        self._check_positive(
            "sample_rate", "num_bins", "frame_length_ms", "frame_step_ms"
        )
        if not 0 <= lower_edge_hertz < upper_edge_hertz <= sample_rate / 2:
            raise ValueError(
                "The edges must keep 0 <= lower_edge_hertz < upper_edge_hertz "
                f"<= sample_rate / 2. Received: {lower_edge_hertz}, "
                f"{upper_edge_hertz} at {sample_rate} Hz."
            )
        self.frame_length = round(sample_rate * frame_length_ms / 1000)
        self.frame_step = round(sample_rate * frame_step_ms / 1000)
        self.fft_length = 1 << (self.frame_length - 1).bit_length()
        self._mel_matrix = mel_matrix(
            num_bins,
            self.fft_length // 2 + 1,
            sample_rate,
            lower_edge_hertz,
            upper_edge_hertz,
        )

    def num_frames(self, num_samples: Any) -> Any:
        """The number of frames of so many samples: int, or int tensor."""
        return (num_samples + self.frame_step - 1) // self.frame_step

    def call(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        audio = ops.cast(audio, "float32")
        num_samples = ops.shape(audio)[1]
        audio = paddings_lib.zero_padded(
            audio, paddings_lib.from_lengths(lengths, num_samples)
        )
        num_frames = self.num_frames(num_samples)
        # Keras centres the window in `fft_length` samples: with this much
        # silence in front, frame i starts at sample `i * frame_step`.
        before = (self.fft_length - self.frame_length) // 2
        total = (num_frames - 1) * self.frame_step + self.fft_length
        # Enough for any length, which a graph may not know.
        after = self.fft_length
        audio = ops.pad(audio, ((0, 0), (before, after)))[:, :total]
        real, imaginary = ops.stft(
            audio,
            sequence_length=self.frame_length,
            sequence_stride=self.frame_step,
            fft_length=self.fft_length,
            window="hann",
            center=False,
        )
        energies = ops.matmul(
            ops.square(real) + ops.square(imaginary),
            ops.convert_to_tensor(self._mel_matrix),
        )
        paddings = paddings_lib.from_lengths(
            self.num_frames(lengths), num_frames
        )
        return self._normalize(
            ops.log(energies + ENERGY_FLOOR), paddings
        ), paddings

    def _normalize(self, features: Tensor, paddings: Tensor) -> Tensor:
        features = paddings_lib.zero_padded(features, paddings)
        valid = (1.0 - paddings)[:, :, None]
        count = ops.maximum(ops.sum(valid, axis=1, keepdims=True), 1.0)
        mean = ops.sum(features, axis=1, keepdims=True) / count
        centred = (features - mean) * valid
        variance = ops.sum(ops.square(centred), axis=1, keepdims=True) / count
        return centred / ops.sqrt(variance + DEVIATION_FLOOR**2)
