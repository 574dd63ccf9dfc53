"""A student of a short context comes near its teacher."""

import dataclasses

import numpy as np

from lingvo_like.base_models.whisper import model as whisper
from params import bases
from tasks.asr.bases import context_shortening
from tasks.asr.batches import padded_audio
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


def test_each_utterance_is_heard_under_the_prompt_of_its_own_language(tmp_path):
    path = tiny.recordings(tmp_path, ("ann",), 1)
    [utterance], _ = inspection.read(path)
    teacher = whisper_bases.small(
        languages=whisper_bases.LANGUAGES, positions=80
    )
    teach = context_shortening._make_teach(teacher)
    audio, lengths = padded_audio.read(
        [utterance], teacher.sample_rate, 1, teacher.max_samples
    )
    features, paddings = teacher.features(audio, lengths)
    encoded, out = teacher.encode(features, paddings)
    for index, language in enumerate(teacher.languages):
        spoken = dataclasses.replace(utterance, language=language)
        tokens, states = context_shortening._target(teacher, teach, spoken)
        wanted, count, *_ = teacher.decode(
            encoded, out, languages=np.int32([index])
        )
        assert tokens.tolist() == wanted[0, : int(count[0])].numpy().tolist()
        prompt = teacher.tokenizer.prompts[index]
        hidden = teacher.decoder.hidden_states(
            np.array([prompt + tokens.tolist()]), encoded
        )
        np.testing.assert_allclose(states, hidden[0], atol=1e-5)
