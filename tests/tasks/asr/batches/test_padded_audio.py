"""Recordings of different lengths in one array."""

import numpy as np

from tasks.asr.batches import padded_audio


def test_recordings_are_padded_cut_and_counted():
    recordings = [np.full(n, n, np.float32) for n in (3, 5, 1)]
    audio, lengths = padded_audio.pad(recordings, num_rows=4, bucket=4)
    assert audio.dtype == np.float32 and lengths.dtype == np.int32
    np.testing.assert_array_equal(
        audio, [[3, 3, 3, 0], [5] * 4, [1, 0, 0, 0], [0] * 4]
    )
    assert lengths.tolist() == [3, 4, 1, 0]
