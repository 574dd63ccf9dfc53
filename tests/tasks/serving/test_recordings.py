"""Recordings are decoded and checked as everywhere, and hold nobody up."""

import asyncio
import io
import threading

import numpy as np
import pytest
import soundfile

from tasks.serving import errors, messages, recordings
from tests.tasks.serving import fake_engine, fake_source

RATE = fake_engine.SAMPLE_RATE
refusal = fake_source.refusal


def _file(seconds=1.0, rate=8000, kind="WAV", channels=1):
    # A tone that the resampling to a hundred samples a second keeps.
    time = np.arange(int(seconds * rate)) / rate
    tone = 0.5 * np.cos(2 * np.pi * 5 * time)
    file = io.BytesIO()
    soundfile.write(file, np.stack([tone] * channels, -1), rate, format=kind)
    return file.getvalue()


def _recording(data, submodel_id="ann"):
    return messages.Utterance(audio=data, submodel_id=submodel_id)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_a_file_becomes_samples_at_the_models_rate(source, kind):
    async def main():
        async with fake_source.serving(source) as running:
            [answer] = await fake_source.ask(
                running, _recording(_file(kind=kind, channels=2))
            )
        # The fake engine tells the first sample, their number and the row.
        first, samples, row = answer.text.decode().split("/")
        # An edge is half of the tone.
        assert 0.1 < float(first) < 0.6
        assert (int(samples), row) == (RATE, "1")
        assert answer.submodel_version.startswith("1-")

    asyncio.run(main())


def test_files_and_samples_mix_in_a_request(source):
    async def main():
        async with fake_source.serving(source) as running:
            answers = await fake_source.ask(
                running,
                _recording(_file(2.0)),
                fake_source.utterance(7, "bob"),
                _recording(_file(0.5), "bob"),
            )
        ends = [each.text.decode().partition("/")[2] for each in answers]
        assert ends == ["200/1", "10/2", "50/2"]

    asyncio.run(main())


def _refused(*utterances, limits=fake_source.LIMITS, **named):
    async def main():
        source = fake_source.FakeSource()
        source.publish("ann", 1)
        async with fake_source.serving(
            source, limits=limits, **named
        ) as running:
            return await refusal(fake_source.ask(running, *utterances))

    return asyncio.run(main())


@pytest.mark.parametrize(
    "data, message",
    [
        (_file(4.1), "too long: over 4 s; python -m tasks.split_recordings"),
        (b"no recording at all", "not readable as audio"),
        (_file()[:5000], "truncated"),
        (_file(rate=1), "1 Hz"),
        (b"OggS", "truncated"),
    ],
    ids=["long", "text", "cut", "one hertz", "four bytes"],
)
def test_what_the_reader_refuses_is_refused_in_its_words(data, message):
    error = _refused(_recording(data))
    assert error.code is errors.Code.INVALID_ARGUMENT
    assert message in error.message
    of_two = _refused(_recording(_file()), _recording(data))
    assert of_two.message == f"utterance 1: {error.message}"


def test_access_is_checked_before_anything_is_decoded(monkeypatch):
    monkeypatch.setattr(recordings, "decode", lambda *_: 1 / 0)
    caller = messages.Caller("acme", frozenset(["bob"]))

    async def main():
        source = fake_source.FakeSource()
        async with fake_source.serving(source) as running:
            return await refusal(
                fake_source.ask(running, _recording(b"x"), caller=caller)
            )

    assert asyncio.run(main()).code is errors.Code.PERMISSION_DENIED


def test_what_has_no_room_is_not_decoded(monkeypatch):
    monkeypatch.setattr(recordings, "decode", lambda *_: 1 / 0)
    # A recording counts as the longest one until it is decoded.
    limits = fake_source.changed(queue_bytes=4 * 400 - 1)
    error = _refused(_recording(_file(0.1)), limits=limits)
    assert error.code is errors.Code.RESOURCE_EXHAUSTED
    assert "queue_bytes" in error.message


def test_a_decoded_recording_takes_what_it_holds(source):
    engine = fake_engine.FakeEngine()
    # Two of the longest would not fit.
    limits = fake_source.changed(queue_bytes=4 * 450)

    async def main():
        async with fake_source.serving(source, engine, limits) as running:
            engine.may_run.clear()
            first = asyncio.create_task(
                fake_source.ask(running, _recording(_file(0.5)))
            )
            await asyncio.to_thread(engine.entered.wait, 60)
            assert fake_source.gauge(running, "queue_bytes") == 4 * 50
            second = asyncio.create_task(
                fake_source.ask(running, _recording(_file(0.5)))
            )
            engine.may_run.set()
            await asyncio.gather(first, second)

    asyncio.run(main())


def test_decoding_that_does_not_end_is_given_up(monkeypatch):
    may_end = threading.Event()
    monkeypatch.setattr(recordings, "decode", lambda *_: may_end.wait(60))
    limits = fake_source.changed(decode_seconds=0.01)
    try:
        error = _refused(_recording(_file()), limits=limits)
    finally:
        may_end.set()
    assert error.code is errors.Code.RESOURCE_EXHAUSTED
    assert "not decoded within 0.01 s" in error.message
    assert error.retry_after_seconds


def test_others_are_served_while_a_recording_is_decoded(source, monkeypatch):
    may_end = threading.Event()

    def decode(*_):
        may_end.wait(60)
        return np.ones(50, np.float32)

    monkeypatch.setattr(recordings, "decode", decode)

    async def main():
        async with fake_source.serving(source) as running:
            decoding = asyncio.create_task(
                fake_source.ask(running, _recording(_file()))
            )
            [answer] = await fake_source.ask(
                running, fake_source.utterance(7, "bob")
            )
            assert answer.text == fake_source.text(7, 2)
            may_end.set()
            await decoding

    asyncio.run(main())
