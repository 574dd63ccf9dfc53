"""Writes learning curves for TensorBoard: of each speaker, and of all."""

from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf

from tasks.asr.training import speaker_state

_LOSSES = ("train_loss", "dev_loss")


def log_speaker(
    writer: tf.summary.SummaryWriter, row: abc.Mapping[str, Any]
) -> None:
    """One speaker's losses at an evaluation.

    Args:
        row: of the history: "speaker", "step", and the losses there are.
    """
    with writer.as_default():
        for name in _LOSSES:
            if name in row:
                tf.summary.scalar(
                    f"{name}/{row['speaker']}", row[name], step=row["step"]
                )


def log_all(
    writer: tf.summary.SummaryWriter,
    rows: abc.Sequence[abc.Mapping[str, Any]],
    states: abc.Sequence[speaker_state.SpeakerState],
    job_step: int,
) -> None:
    """Means over the speakers of an evaluation, and how far the job is.

    Args:
        rows: of the history, from this evaluation.
        states: of all speakers.
    """
    with writer.as_default():
        for name in _LOSSES:
            values = [row[name] for row in rows if name in row]
            if values:
                tf.summary.scalar(f"all/mean_{name}", np.mean(values), job_step)
        for name, value in (
            ("all/finished", sum(state.finished for state in states)),
            ("all/steps_not_finite", sum(state.skipped for state in states)),
        ):
            tf.summary.scalar(name, value, step=job_step)
    writer.flush()
