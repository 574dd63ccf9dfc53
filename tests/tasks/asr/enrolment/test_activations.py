"""The speech of an enrolment, as its steps and its judge take it."""

from params import registry
from tasks.asr.data import preparation, rejections
from tasks.asr.enrolment import activations
from tests import tiny
from tests.lingvo_like.base_models.whisper import whisper_bases


def test_a_batch_has_the_language_of_each_utterance(tmp_path):
    base = whisper_bases.small(
        languages=whisper_bases.LANGUAGES, audio_context="short", max_tokens=16
    )
    path = tiny.recordings(tmp_path, ("ann", "bob"), 2, languages=("fr", "de"))
    read = preparation.reader(
        base, registry.get("whisper.ShortStacked"), rejections.Rejections()
    )
    found = {
        speaker: preparation.TokenizedUtterances(tuple(utterances))
        for speaker, utterances in read(path).items()
    }
    seconds = dict.fromkeys(found, 2.0)
    speech = activations.Speech(base, 1, found, seconds)
    bucket = base.bucket_samples(base.num_samples(1.5))
    batch = speech.batch({0: ("ann", [0, 1]), 2: ("bob", [1])}, 3, 2, bucket)
    assert batch["languages"].tolist() == [[2, 2], [0, 0], [1, 0]]
