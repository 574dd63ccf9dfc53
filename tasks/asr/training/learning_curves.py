"""Writes learning curves for TensorBoard: of each speaker, and of all."""

from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf

from tasks.asr.training import speaker_state

_LOSSES = ("train_loss", "dev_loss")


def log(
    writer: tf.summary.SummaryWriter,
    rows: abc.Sequence[abc.Mapping[str, Any]],
    states: abc.Sequence[speaker_state.SpeakerState],
    job_step: int,
) -> None:
    """Writes an evaluation's rows of the history, and how far the job is."""
    with writer.as_default():
        for row in rows:
            for name in _LOSSES:
                if name in row:
                    tf.summary.scalar(
                        f"{name}/{row['speaker']}", row[name], row["step"]
                    )
        for name in _LOSSES:
            values = [row[name] for row in rows if name in row]
            if values:
                tf.summary.scalar(f"all/mean_{name}", np.mean(values), job_step)
        finished = sum(state.finished for state in states)
        tf.summary.scalar("all/finished", finished, job_step)
        skipped = sum(state.skipped for state in states)
        tf.summary.scalar("all/steps_not_finite", skipped, job_step)
    writer.flush()
