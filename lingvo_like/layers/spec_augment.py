"""Applies SpecAugment's masks (Park et al. 2019, arXiv 1904.08779).

The input pipeline draws them from random streams keyed by speaker and step, so
that a speaker's masks never depend on its neighbours.
"""

from typing import TypeAlias

from keras import ops

from lingvo_like import tensor_types

Tensor: TypeAlias = tensor_types.Tensor


def apply(
    features: Tensor,
    freq_starts: Tensor,
    freq_widths: Tensor,
    time_starts: Tensor,
    time_widths: Tensor,
) -> Tensor:
    """Sets bands of bins and of frames in each utterance to 0.

    In the features of `LogMelFrontend` 0 is the utterance's mean. For Whisper's
    features, Hugging Face's SpecAugment uses 0 too.

    Args:
        features: `[batch, time, num_bins]` float; the result is like it.
        freq_starts, freq_widths: `[batch, freq_masks]` int, first bin and
            number of bins of each mask; 0 bins mask none.
        time_starts, time_widths: `[batch, time_masks]` int, of frames.
    """
    masked_bins = _covered(freq_starts, freq_widths, features.shape[2])
    masked_frames = _covered(time_starts, time_widths, features.shape[1])
    masked = ops.logical_or(masked_bins[:, None, :], masked_frames[:, :, None])
    return ops.where(masked, ops.zeros_like(features), features)


def _covered(starts: Tensor, widths: Tensor, length: int) -> Tensor:
    """Masks `[batch, masks]` to `[batch, length]`, True where one covers."""
    positions = ops.arange(length, dtype="int32")[None, None, :]
    starts = ops.cast(starts, "int32")[:, :, None]
    ends = starts + ops.cast(widths, "int32")[:, :, None]
    return ops.any(
        ops.logical_and(positions >= starts, positions < ends), axis=1
    )
