"""Compares our Whisper's greedy transcripts with faster-whisper's.

    python -m tests.benchmarks.whisper_agreement [--manifest=DATA/test.jsonl]

Both get the same weights and the same recordings, in float32. This project's
Whisper runs at its 30 s of audio context; faster-whisper runs without
timestamps, temperature fallback, previous text or voice detection.
faster-whisper is run twice. The comparison is with the run that gets the
recording followed by silence up to 30 s, as ours does. The other run gets the
bare recording, and fills up the features with zeros, which is not what silence
gives; its column shows how much that changes faster-whisper's own transcripts.

Words are compared as they are written, including case and punctuation.
"""

import argparse
import json
import pathlib

import jiwer
import numpy as np
import tensorflow as tf
import tqdm

from lingvo_like.base_models.whisper import (
    checkpoints,
    model as whisper,
    packaged,
)
from tasks.asr.data import audio, inspection
from tests.benchmarks import jobs

# Start of transcript, no timestamps.
ENGLISH_PROMPT_TOKENS = 2


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--manifest", default="", help="else simulated voices")
    parser.add_argument(
        "--base",
        metavar="ENGLISH_ONLY_BASE",
        default=packaged.TINY_EN,
        help="a CTranslate2 directory, or tiny.en",
    )
    parser.add_argument("--utterances", type=int, default=100)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--max_tokens", type=int, default=64)
    return parser.parse_args()


def ours(base, recordings, batch):
    """Our transcripts, `batch` utterances at a time."""

    @tf.function
    def recognise(samples, lengths):
        features, paddings = base.features(samples, lengths)
        encoded, paddings = base.encode(features, paddings)
        tokens, token_lengths, *_ = base.decode(encoded, paddings)
        return base.detokenize(tokens, token_lengths)

    texts = []
    for start in tqdm.tqdm(range(0, len(recordings), batch), desc="ours"):
        some = recordings[start : start + batch]
        samples = np.zeros((batch, base.max_samples), np.float32)
        for row, recording in enumerate(some):
            samples[row, : len(recording)] = recording
        lengths = [len(recording) for recording in some]
        lengths += [0] * (batch - len(some))
        result = recognise(tf.constant(samples), tf.constant(lengths))
        texts += [text.decode() for text in result.numpy()[: len(some)]]
    return texts


def theirs(model, recordings, max_tokens, title):
    """faster-whisper's transcripts."""
    texts = []
    for recording in tqdm.tqdm(recordings, desc=title):
        segments, _ = model.transcribe(
            recording,
            language="en",
            beam_size=1,
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
            vad_filter=False,
            # CTranslate2 stops at half the sum of the prompt and this.
            max_new_tokens=2 * max_tokens - ENGLISH_PROMPT_TOKENS,
            compression_ratio_threshold=None,
            log_prob_threshold=None,
            no_speech_threshold=None,
        )
        texts.append("".join(segment.text for segment in segments).strip())
    return texts


def disagreement(reference, hypothesis):
    """Word edits per word of the reference, and identical transcripts."""
    identical = sum(a == b for a, b in zip(reference, hypothesis, strict=True))
    return jiwer.wer(reference, hypothesis), identical


def silence_filled(recording, num_samples):
    return np.pad(recording, (0, num_samples - len(recording)))


def main():
    import faster_whisper

    arguments = parse_arguments()
    base = whisper.load(arguments.base, max_tokens=arguments.max_tokens)
    path = checkpoints.local_path(arguments.base)
    folder = pathlib.Path(jobs.FOLDER, "whisper_agreement")
    utterances, left_out = inspection.read(
        arguments.manifest
        or str(jobs.unheard_voices(folder) / "manifest.jsonl"),
        decoding=inspection.Decoding(base.seconds(base.max_samples)),
    )
    print(left_out.describe(), end="")
    # Evenly spaced, so that every speaker of a sorted manifest takes part.
    num_utterances = min(arguments.utterances, len(utterances))
    chosen = np.linspace(0, len(utterances) - 1, num_utterances).astype(int)
    recordings = [
        audio.read(
            utterances[i].audio_filepath,
            base.sample_rate,
            utterances[i].offset,
            utterances[i].duration,
        )
        for i in chosen
    ]
    model = faster_whisper.WhisperModel(
        str(pathlib.Path(path)), device="cpu", compute_type="float32"
    )
    filled = [silence_filled(one, base.max_samples) for one in recordings]
    mine = ours(base, recordings, arguments.batch)
    same = theirs(model, filled, arguments.max_tokens, "faster-whisper")
    bare = theirs(model, recordings, arguments.max_tokens, "bare recordings")
    rate, identical = disagreement(same, mine)
    bare_rate, bare_identical = disagreement(bare, same)
    for reference, hypothesis in zip(same, mine, strict=True):
        if reference != hypothesis:
            print(f"theirs: {reference}\nours:   {hypothesis}")
    print(f"{'':42}{'words apart':>12}{'identical':>12}")
    for name, words, count in (
        ("ours against faster-whisper", rate, identical),
        (
            "faster-whisper, bare against silence-filled",
            bare_rate,
            bare_identical,
        ),
    ):
        print(f"{name:43}{words:>11.2%}{count:>8}/{num_utterances}")
    print(
        json.dumps(
            {
                "utterances": num_utterances,
                "word_disagreement": rate,
                "identical_transcripts": identical,
                "word_disagreement_bare_recordings": bare_rate,
                "identical_transcripts_bare_recordings": bare_identical,
            }
        )
    )


if __name__ == "__main__":
    main()
