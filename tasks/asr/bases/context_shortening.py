"""Audio-context fine-tuning: teaches Whisper's encoder to hear short audio.

Whisper was trained on 30 s of context. Cut to the utterance, it falls into
repetitions. The encoder is tuned so that the frozen decoder's last hidden
states, under the encoder on short audio, are those that it has under the
encoder on 30 s, on the 30 s model's own text: self-distillation on speech that
needs no labels, as FUTO's whisper-acft did.
"""

import keras
import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like import paddings as paddings_lib
from lingvo_like import random_streams
from tasks.asr.batches import input_pipeline, padded_audio, schedule


def shorten(teacher, student, utterances, values):
    """Tunes the student's encoder weights in place.

    Args:
        teacher: a frozen `Whisper` of full audio context.
        student: a `Whisper` of short audio context with the same weights.
        utterances: sequence of `manifest.Utterance`; the text is not used.
        values: `schema.ContextShortening`.

    Returns:
        list of float, the loss at each step.
    """
    targets = [
        _target(teacher, utterance)
        for utterance in tqdm.tqdm(utterances, desc="30 s encoder", unit="utt")
    ]
    data = schedule.MinibatchSchedule(
        slot=0,
        stream_key="context",
        num_samples=[teacher.num_samples(u.duration) for u in utterances],
        bucket_samples=lambda length: length,
        utterances_per_minibatch=values.utterances_per_step,
        seed=values.seed,
    )
    student.trainable = False
    student.encoder.trainable = True
    step = _make_step(student, values)
    losses = []
    progress = tqdm.trange(values.num_steps, desc="short encoder", unit="step")
    for index in progress:
        batch = _batch(
            student, utterances, targets, data.minibatch(index), values
        )
        losses.append(float(step(*batch)))
        progress.set_postfix(loss=f"{np.mean(losses[-20:]):.4f}")
    student.trainable = False
    return losses


@tf.function(autograph=False)
def _teach(teacher, audio, length):
    encoded, paddings = teacher.encode(*teacher.features(audio, length))
    tokens, lengths, _ = teacher.decode(encoded, paddings)
    return tokens, lengths, _hidden_states(teacher, tokens, encoded)


def _target(teacher, utterance):
    """The 30 s model's tokens and hidden states, without the padding."""
    padded = padded_audio.read(
        [utterance], teacher.sample_rate, 1, teacher.max_samples
    )
    tokens, lengths, states = _teach(teacher, *padded)
    length = int(lengths[0])
    num_states = length + len(teacher.tokenizer.prompt)
    return tokens[0, :length].numpy(), states[0, :num_states].numpy()


def _hidden_states(base, tokens, encoded):
    prompt = tf.tile(
        tf.constant([base.tokenizer.prompt], tf.int32), [tokens.shape[0], 1]
    )
    return base.decoder.hidden_states(
        tf.concat([prompt, tf.maximum(tokens, 0)], axis=1), encoded
    )


def _batch(student, utterances, targets, minibatch, values):
    draw = random_streams.generator("context", values.seed, minibatch.step)
    extra = draw.random() * values.max_extra_seconds * student.sample_rate
    bucket = student.bucket_samples(
        min(int(minibatch.bucket + extra), student.max_samples)
    )
    rows = len(minibatch.utterances)
    prompt = len(student.tokenizer.prompt)
    width = input_pipeline.token_bucket(
        (tokens for tokens, _ in targets), student.max_tokens
    )
    audio, lengths = padded_audio.read(
        [utterances[index] for index in minibatch.utterances],
        student.sample_rate,
        rows,
        bucket,
    )
    tokens = np.zeros((rows, width), np.int32)
    states = np.zeros((rows, prompt + width, student.model_dim), np.float32)
    num_states = np.zeros([rows], np.int32)
    for row, index in enumerate(minibatch.utterances):
        text, target = targets[index]
        tokens[row, : len(text)] = text
        states[row, : len(target)] = target
        num_states[row] = len(target)
    return tuple(
        tf.constant(x) for x in (audio, lengths, tokens, states, num_states)
    )


def _make_step(student, values):
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(
            0.0,
            values.num_steps,
            warmup_target=values.learning_rate,
            warmup_steps=values.warmup_steps,
        )
    )
    variables = student.encoder.trainable_variables
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(audio, lengths, tokens, states, num_states):
        features, paddings = student.features(audio, lengths)
        with tf.GradientTape() as tape:
            encoded, _ = student.encode(features, paddings)
            found = _hidden_states(student, tokens, encoded)
            valid = 1.0 - paddings_lib.from_lengths(num_states, found.shape[1])
            error = tf.reduce_mean(tf.square(found - states), axis=-1)
            loss = tf.reduce_sum(error * valid) / tf.reduce_sum(valid)
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply(gradients, variables)
        return loss

    return step
