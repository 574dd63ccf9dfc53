"""What TensorBoard shows of a job: each speaker's losses, and all together."""

import numpy as np
import tensorflow as tf

_LOSSES = ("train_loss", "dev_loss")


def log_speaker(writer, row):
    """One speaker's losses at an evaluation.

    Args:
        writer: a `tf.summary` writer.
        row: dict of the history: "speaker", "step", and the losses there are.
    """
    with writer.as_default():
        for name in _LOSSES:
            if name in row:
                tf.summary.scalar(
                    f"{name}/{row['speaker']}", row[name], step=row["step"]
                )


def log_all(writer, rows, states, job_step):
    """Means over the speakers of an evaluation, and how far the job is.

    Args:
        writer: a `tf.summary` writer.
        rows: list of dicts of the history.
        states: list of `SpeakerState`, everybody's.
        job_step: int.
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
