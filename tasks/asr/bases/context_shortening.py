"""Audio-context fine-tuning: teaches Whisper's encoder to hear short audio.

Whisper was trained on 30 s of context. Cut to the utterance, it falls into
repetitions. The encoder is tuned so that the frozen decoder's last hidden
states, under the encoder on short audio, are those that it has under the
encoder on 30 s, on the 30 s model's own text: self-distillation on speech that
needs no labels, as FUTO's whisper-acft did.
"""

import collections
import dataclasses
import hashlib
import itertools
import json
import os
import shutil
import time
from collections import abc

import keras
import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like import folders, paddings as paddings_lib, random_streams
from lingvo_like.base_models.whisper import (
    checkpoints as checkpoints_lib,
    model as whisper,
)
from params import bases
from tasks.asr import kept_bases
from tasks.asr.batches import (
    input_pipeline,
    minibatch_schedule,
    padded_audio,
)
from tasks.asr.data import (
    inspection,
    languages,
    manifest,
    preparation,
    rejections,
)
from tasks.asr.training import checkpoint, model_directory, preemption

# Of the random streams: one order of all utterances.
STREAM_KEY = "context"
CHECKPOINT_SECONDS = 60


def make_short_base(
    base_path: str,
    manifests: abc.Iterable[str],
    output_dir: str,
    values: bases.ContextShortening,
    *,
    language: str = "",
    strict: bool = False,
) -> None:
    """Writes the short-context base model of a pretrained Whisper.

    What was interrupted goes on from its last checkpoint, in a folder beside
    `output_dir` that is removed at the end.

    Args:
        base_path: the Whisper to start from.
        manifests: JSONL manifests of any speech.
        language: of utterances that name none, a code such as "es".
        strict: refuse if any utterance is unusable.

    Raises:
        ValueError: the folder is not empty, there is nothing to learn from, or
            the Whisper does not know the language of an utterance.
        OSError: a file cannot be read or written.
        preemption.Stopped: a signal came; the checkpoint holds everything.
    """
    output_dir = output_dir.rstrip("/")
    if os.path.exists(output_dir) and os.listdir(output_dir):
        raise ValueError(
            f"{output_dir} exists and is not empty; name a new --output_dir"
        )
    parent = os.path.dirname(output_dir) or "."
    with folders.tidy_after_failure(parent):
        model_directory.check_writable(parent, "the folder of --output_dir")
        known = checkpoints_lib.known_languages(base_path)
        if known is not None:
            # Before the weights are read.
            languages.check(manifests, known, language)
        teacher = whisper.load(base_path, "full")
        student = whisper.load(base_path, "short", allow_unshortened=True)
        utterances, left_out = _read(manifests, teacher, language)
        print(left_out.describe(), end="")
        if strict:
            left_out.raise_if_any("the manifests")
        if not utterances:
            raise ValueError(
                f"{', '.join(manifests)}: nothing usable to learn from: "
                f"{left_out.summary() or 'no lines'}"
            )
    utterances = some(utterances, values.max_utterances)
    made_of = _made_of(teacher, base_path, utterances, values)
    unfinished = f"{output_dir}.unfinished"
    identity = json.dumps(made_of, sort_keys=True)
    checkpoints = os.path.join(
        unfinished, hashlib.sha256(identity.encode()).hexdigest()[:16]
    )
    losses = shorten(teacher, student, utterances, values, checkpoints)
    beside = {
        kept_bases.MADE_OF_FILE: json.dumps(made_of, indent=2) + "\n",
        "left_out.txt": left_out.describe(examples=None),
    }
    student.save(output_dir, {k: v.encode() for k, v in beside.items()})
    shutil.rmtree(unfinished, ignore_errors=True)
    print(
        f"{len(utterances)} utterances, {values.num_steps} steps, loss "
        f"{losses[0]:.4f} to {losses[-1]:.4f}\nbase model: {output_dir}\n"
        f"fingerprint: {student.fingerprint()}"
    )


def _read(manifests, teacher, language):
    spoken = languages.Spoken(teacher.languages, language)
    decoding = inspection.Decoding(teacher.seconds(teacher.max_samples))
    utterances, left_out = [], rejections.Rejections()
    for path in manifests:
        usable, unusable = inspection.read(
            path, decoding=decoding, any_ids=True, spoken=spoken
        )
        utterances += usable
        left_out.extend(unusable)
    return utterances, left_out


def some(
    utterances: abc.Sequence[manifest.Utterance], most: int
) -> list[manifest.Utterance]:
    """At most so many utterances, as many of each speaker as of another.

    Args:
        most: 0 for all of them.
    """
    if not most or len(utterances) <= most:
        return list(utterances)
    by_speaker = collections.defaultdict(list)
    for each in utterances:
        by_speaker[each.speaker].append(each)
    for speaker, own in by_speaker.items():
        draw = random_streams.generator(STREAM_KEY, 0, speaker)
        by_speaker[speaker] = [own[i] for i in draw.permutation(len(own))]
    turns = itertools.zip_longest(*by_speaker.values())
    chosen = [each for turn in turns for each in turn if each is not None]
    return chosen[:most]


def _made_of(teacher, base_path, utterances, values):
    """The record of the Whisper, the values and the speech behind a base."""
    return {
        "base": base_path,
        "base_fingerprint": teacher.fingerprint(),
        "values": dataclasses.asdict(values),
        "speakers": sorted({each.speaker for each in utterances}),
        "languages": sorted({each.language for each in utterances}),
        "utterances": len(utterances),
        "data": preparation.digest(utterances),
    }


def shorten(
    teacher: whisper.Whisper,
    student: whisper.Whisper,
    utterances: abc.Sequence[manifest.Utterance],
    values: bases.ContextShortening,
    checkpoints: str = "",
) -> list[float]:
    """Tunes the student's encoder weights in place.

    Args:
        teacher: frozen, of full audio context.
        student: of short audio context, with the same weights.
        checkpoints: folder of this work's checkpoints; empty for none.

    Returns:
        The loss of each step.

    Raises:
        preemption.Stopped: a signal came; the checkpoint holds everything.
    """
    teach = _make_teach(teacher)
    targets = [
        _target(teacher, teach, utterance)
        for utterance in tqdm.tqdm(utterances, desc="30 s encoder", unit="utt")
    ]
    planned = minibatch_schedule.MinibatchSchedule(
        slot=0,
        stream_key=STREAM_KEY,
        num_samples=[teacher.num_samples(u.duration) for u in utterances],
        bucket_samples=lambda length: length,
        utterances_per_minibatch=values.utterances_per_step,
        seed=values.seed,
    )
    student.trainable = False
    student.encoder.trainable = True
    step, state = _make_step(student, values)
    saved = checkpoint.restore(checkpoints, state) if checkpoints else None
    losses = saved["losses"] if saved else []
    saved_at = time.monotonic()
    with (
        preemption.Notice() as notice,
        tqdm.trange(
            len(losses),
            values.num_steps,
            initial=len(losses),
            total=values.num_steps,
            desc="short encoder",
            unit="step",
        ) as progress,
    ):
        for index in progress:
            minibatch = planned.minibatch(index)
            batch = _batch(student, utterances, targets, minibatch, values)
            losses.append(float(step(*batch)))
            progress.set_postfix(loss=f"{np.mean(losses[-20:]):.4f}")
            is_late = time.monotonic() - saved_at > CHECKPOINT_SECONDS
            if checkpoints and (is_late or notice.given):
                checkpoint.save(checkpoints, state, {"losses": losses})
                saved_at = time.monotonic()
            if notice.given:
                raise preemption.Stopped(checkpoints, notice.number)
    student.trainable = False
    return losses


def _make_teach(teacher):
    """The 30 s model's tokens, their lengths, and its encoder's output."""

    # Not a function of the module, which would keep the teacher in memory.
    @tf.function(autograph=False)
    def teach(
        audio: tf.Tensor, length: tf.Tensor, spoken: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        encoded, paddings = teacher.encode(*teacher.features(audio, length))
        tokens, lengths, *_ = teacher.decode(
            encoded, paddings, languages=spoken
        )
        return tokens, lengths, encoded

    return teach


def _target(teacher, teach, utterance):
    """The 30 s model's tokens and hidden states, without the padding."""
    padded = padded_audio.read(
        [utterance], teacher.sample_rate, 1, teacher.max_samples
    )
    spoken = _indices(teacher, [utterance])
    tokens, lengths, encoded = teach(*padded, spoken)
    # Of the text alone: a text may be long, and few are.
    tokens = tokens[:, : int(lengths[0])]
    states = _hidden_states(teacher, tokens, encoded, spoken)
    return tokens[0].numpy(), states[0].numpy()


def _indices(base, utterances):
    """The languages of utterances, as `BaseModel.loss` takes them."""
    return tf.constant(
        [base.language_index(each.language) for each in utterances], tf.int32
    )


def _hidden_states(base, tokens, encoded, spoken):
    prompts = base.prompts(tokens.shape[0], spoken)
    return base.decoder.hidden_states(
        tf.concat([prompts, tf.maximum(tokens, 0)], axis=1), encoded
    )


def _batch(student, utterances, targets, minibatch, values):
    draw = random_streams.generator(STREAM_KEY, values.seed, minibatch.step)
    extra = draw.random() * values.max_extra_seconds * student.sample_rate
    bucket = student.bucket_samples(
        min(int(minibatch.bucket + extra), student.max_samples)
    )
    rows = len(minibatch.utterances)
    prompt = len(student.tokenizer.prompts[0])
    width = input_pipeline.token_bucket(
        (targets[index][0] for index in minibatch.utterances),
        student.max_tokens,
    )
    chosen = [utterances[index] for index in minibatch.utterances]
    audio, lengths = padded_audio.read(
        chosen,
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
    arrays = (audio, lengths, tokens, states, num_states)
    return [*map(tf.constant, arrays), _indices(student, chosen)]


def _make_step(student, values):
    """The step, and what a checkpoint of it holds."""
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
    state = {f"weight/{i:05d}": v.value for i, v in enumerate(variables)}
    for index, variable in enumerate(optimizer.variables):
        state[f"optimizer/{index:05d}"] = variable.value

    @tf.function(autograph=False)
    def step(
        audio: tf.Tensor,
        lengths: tf.Tensor,
        tokens: tf.Tensor,
        states: tf.Tensor,
        num_states: tf.Tensor,
        spoken: tf.Tensor | None,
    ) -> tf.Tensor:
        features, paddings = student.features(audio, lengths)
        with tf.GradientTape() as tape:
            encoded, _ = student.encode(features, paddings)
            found = _hidden_states(student, tokens, encoded, spoken)
            valid = 1.0 - paddings_lib.from_lengths(num_states, found.shape[1])
            error = tf.reduce_mean(tf.square(found - states), axis=-1)
            loss = tf.reduce_sum(error * valid) / tf.reduce_sum(valid)
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply(gradients, variables)
        return loss

    return step, state
