"""Makes small corpora, quirks included."""

import collections

import numpy as np
import soundfile


def audio(path, seconds=1.0, sample_rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(0, 0.1, int(seconds * sample_rate))
    soundfile.write(path, noise, sample_rate)
    return path


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def reasons(left_out):
    """How many were left out for which reason."""
    return dict(collections.Counter(each.reason for each in left_out))
