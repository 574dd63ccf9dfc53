"""A student of a short context comes near its teacher."""

import numpy as np

from lingvo_like.base_models.whisper import model as whisper
from params import bases
from tasks.asr.bases import context_shortening
from tasks.asr.data import inspection
from tests import tiny
from tests.lingvo_like.base_models.whisper import whisper_bases


def test_the_encoder_learns_what_the_teacher_hears(tmp_path):
    path = tiny.recordings(tmp_path, ("ann",), 4)
    utterances, _ = inspection.read(path)
    whisper_bases.small(positions=80).save(tmp_path / "base")
    teacher, student = (
        whisper.load(str(tmp_path / "base"), context, allow_unshortened=True)
        for context in ("full", "short")
    )
    # Further from it than a context makes so small a model.
    draw = np.random.default_rng(0)
    for name, weight in whisper_bases.weights(student).items():
        if name.startswith("encoder") and weight.ndim > 1:
            weight = weight + 0.1 * draw.standard_normal(weight.shape)
            student.named_weights()[name].assign(weight)
    losses = context_shortening.shorten(
        teacher,
        student,
        utterances,
        bases.ContextShortening(
            num_steps=30,
            utterances_per_step=2,
            learning_rate=3e-3,
            warmup_steps=1,
        ),
    )
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
