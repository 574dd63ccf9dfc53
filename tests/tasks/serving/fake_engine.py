"""An engine without TensorFlow: its text tells audio and Submodel row."""

import threading
import time

import numpy as np

from tasks.serving.exports import description as export_description, engine

SAMPLE_RATE = 100
FINGERPRINT = "f" * 64


def parts(residual_weight=1.0):
    """Of an adapter after one block, written out: this loads no Keras."""
    return (
        {
            "kind": "adapter",
            "values": {
                "bottleneck_dim": 1,
                "residual_weight": residual_weight,
            },
            "sites": [["encoder/block_00/output", 0, 2]],
        },
    )


def description(**changes):
    """Of a base with buckets of 100 and 400 samples and rows of 6 values."""
    values = dict(
        format_version=export_description.FORMAT_VERSION,
        base_fingerprint=FINGERPRINT,
        experiment="fake",
        sample_rate=SAMPLE_RATE,
        max_samples=400,
        bucket_limits=(100, 400),
        bucket_samples=(100, 400),
        parts=parts(),
        num_values=6,
        max_tokens=8,
        beam_size=1,
        requires_tensorflow_text=False,
        languages=("en",),
        default_language="",
        base_description={},
        submodel={},
    )
    return export_description.Description(**values | changes)


def text_of(audio, row):
    """The text for one utterance: both fingerprints.

    A row is made of one value, so that a torn one shows.
    """
    values = np.unique(row)
    mark = f"{values[0]:g}" if len(values) == 1 else f"torn {values}"
    return f"{audio[0]:g}/{len(audio)}/{mark}".encode()


class FakeEngine(engine.Engine):
    """Answers with `text_of`; notes every call in `calls` and `languages`.

    Args:
        delay_seconds: float, of a call.
        failing: set of first samples; a batch with one of them raises.
        **changes: of the description.
    """

    def __init__(self, delay_seconds=0.0, failing=(), **changes):
        self.description = description(**changes)
        self.signatures = {"serving_default": None}
        self.delay_seconds = delay_seconds
        self.failing = set(failing)
        self.status = "OK"
        self.calls = []
        self.languages = []
        self.is_closed = False
        # Cleared, it holds calls up.
        self.may_run = threading.Event()
        self.may_run.set()
        self.entered = threading.Event()

    def transcribe(self, audio, lengths, submodels, index, language_index):
        if self.is_closed:
            raise RuntimeError("closed")
        self.calls.append((audio.shape, submodels.shape, list(audio[:, 0])))
        self.languages.append(language_index.tolist())
        self.entered.set()
        self.may_run.wait(60)
        time.sleep(self.delay_seconds)
        if self.failing & set(audio[:, 0].tolist()):
            raise RuntimeError("this batch fails, secret/path.py")
        text = [
            text_of(audio[row, : lengths[row]], submodels[index[row]])
            for row in range(len(audio))
        ]
        return engine.Transcripts(
            text, np.zeros(len(text), np.float32), [self.status] * len(text)
        )

    def close(self):
        self.is_closed = True
