"""A base model and recordings so small that a test trains Submodels."""

import dataclasses
import json

import keras
import numpy as np
import soundfile

from lingvo_like.base_models import conformer_ctc
from params import conformer

PHRASES = ("on", "off", "go", "up", "no", "stop")


def experiment(**train):
    """`conformer.Tiny` with other values of `train`."""
    tiny = conformer.Tiny()
    return dataclasses.replace(
        tiny, train=dataclasses.replace(tiny.train, **train)
    )


def base(seed=0, buckets_seconds=(2.0,)):
    """A frozen Conformer-CTC of random weights; each bucket compiles once."""
    keras.utils.set_random_seed(seed)
    values = vars(conformer.Tiny().base)
    model = conformer_ctc.ConformerCtc(
        **{**values, "buckets_seconds": buckets_seconds}
    )
    model.trainable = False
    return model


def recordings(
    folder, speakers, utterances, seed=0, name="train", languages=()
):
    """Writes a manifest of tones that differ by phrase and by speaker.

    Args:
        languages: of each speaker; of nobody if empty.
    """
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, speaker in enumerate(speakers):
        for number in range(utterances):
            phrase = PHRASES[number % len(PHRASES)]
            seconds = 0.5 + 0.9 * draw.random()
            t = np.arange(int(16000 * seconds)) / 16000
            tone = 220 * (1 + number % len(PHRASES)) * (1 + 0.1 * index)
            samples = 0.3 * np.sin(2 * np.pi * tone * t)
            samples += 0.02 * draw.standard_normal(len(t))
            path = folder / f"{name}_{index}_{number}.wav"
            soundfile.write(path, samples, 16000)
            line = {
                "audio_filepath": path.name,
                "text": phrase,
                "speaker": speaker,
                "utt_id": f"{name}{number}",
                "duration": len(t) / 16000,
            }
            if languages:
                line["language"] = languages[index]
            lines.append(line)
    manifest = folder / f"{name}.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(manifest)


def let_places_round(trainer):
    """Makes every place of a step round losses in a way of its own.

    On some machines and shapes they do, and a tiny base may not show it.
    """
    losses = trainer.losses

    def rounded(batches):
        return [
            (found * (1.0 + np.arange(len(found), dtype="f4") / 2**16), weights)
            for found, weights in losses(batches)
        ]

    trainer.losses = rounded
