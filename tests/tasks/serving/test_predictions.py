"""Who gets which answer, by which Submodel, and what is refused."""

import asyncio

import numpy as np
import pytest

from tasks.serving import errors, messages
from tests.tasks.serving import fake_engine, fake_source

CALLER = fake_source.CALLER
SPEC = fake_source.SPEC
ask = fake_source.ask
refusal = fake_source.refusal
text = fake_source.text
utterance = fake_source.utterance


def test_each_utterance_is_answered_by_its_own_submodel(source):
    async def main():
        async with fake_source.serving(source) as running:
            answers = await ask(
                running,
                utterance(7, "ann"),
                utterance(8, "bob"),
                utterance(9),
                utterance(6, vector=fake_source.vector(5)),
                utterance(5, "ann", samples=300),
            )
        assert [each.text for each in answers] == [
            text(7, 1),
            text(8, 2),
            text(9, 0),
            text(6, 5),
            text(5, 1, samples=300),
        ]
        assert [each.served_by for each in answers] == [
            *("submodel", "submodel", "base", "request", "submodel")
        ]
        assert answers[0].submodel_version.startswith("1-")
        assert answers[2].submodel_version == ""
        assert {each.status for each in answers} == {"OK"}

    asyncio.run(main())


def test_a_cut_text_is_answered_with_its_status(source):
    async def main():
        engine = fake_engine.FakeEngine()
        engine.status = "CUT: the end is missing"
        async with fake_source.serving(source, engine) as running:
            (answer,) = await ask(running, utterance(7, "ann"))
        assert answer.text == text(7, 1)
        assert answer.status == engine.status

    asyncio.run(main())


def test_one_value_that_fills_a_row_is_a_row(source):
    filled = np.broadcast_to(np.float32(5), fake_source.vector(5).shape)

    async def main():
        async with fake_source.serving(source) as running:
            answers = await ask(
                running, utterance(6, vector=filled), utterance(7, "ann")
            )
        assert [each.text for each in answers] == [text(6, 5), text(7, 1)]

    asyncio.run(main())


def test_utterances_of_one_user_share_a_row_of_the_batch(source):
    async def main():
        engine = fake_engine.FakeEngine()
        async with fake_source.serving(source, engine) as running:
            await ask(
                running,
                *(utterance(mark, "ann") for mark in range(3)),
                utterance(4, "bob"),
            )
        audio, submodels, _ = engine.calls[0]
        assert audio == (4, 100)
        assert submodels == (2, 6)

    asyncio.run(main())


def test_a_missing_submodel_is_an_error_unless_the_base_may_answer(source):
    async def main():
        async with fake_source.serving(source) as running:
            error = await refusal(ask(running, utterance(1, "eve")))
            assert error.code is errors.Code.NOT_FOUND
            assert "eve" in error.message
            assert "tasks.store list" in error.message
        async with fake_source.serving(source, fallback="base") as running:
            [answer] = await ask(running, utterance(1, "eve"))
            assert answer.text == text(1, 0)
            assert (answer.served_by, answer.submodel_version) == ("base", "")
            count = running.registry.get_sample_value(
                "submodels_fallbacks_total"
            )
            assert count == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    "bad, message",
    [
        (utterance(float("nan"), "ann"), "finite"),
        (utterance(1, "ann", samples=0), "the audio has no samples"),
        (utterance(1, "ann", samples=401), "longer than 4 s; python -m tasks."),
        (utterance(1, "../ann"), "id must be"),
        (utterance(1, vector=np.ones(5, np.float32)), "Received: [5] float32"),
        (utterance(1, vector=fake_source.vector(float("inf"))), "finite"),
        (messages.Utterance(np.ones(10)), "Received: [10] float64"),
        (messages.Utterance(np.ones((2, 3), np.float32)), "[2, 3]"),
        (messages.Utterance([0.5]), "list"),
        (
            messages.Utterance(np.ones(10, np.float32), sample_rate=8000),
            "8000 samples per second, and the base model takes 100",
        ),
    ],
)
def test_bad_input_is_refused_with_its_reason_and_alone(source, bad, message):
    async def main():
        async with fake_source.serving(source) as running:
            good = asyncio.create_task(ask(running, utterance(1, "bob")))
            error = await refusal(ask(running, utterance(2, "ann"), bad))
            assert error.code is errors.Code.INVALID_ARGUMENT
            assert message in error.message
            [answer] = await good
            assert answer.text == text(1, 2)

    asyncio.run(main())


def test_access_is_refused_before_anything_is_looked_up(source):
    caller = messages.Caller("acme", frozenset({"ann"}))

    async def main():
        async with fake_source.serving(source) as running:
            for speaker in ("bob", "eve"):
                error = await refusal(
                    ask(running, utterance(1, speaker), caller=caller)
                )
                assert error.code is errors.Code.PERMISSION_DENIED
            for call in (running.load, running.pin, running.unload):
                error = await refusal(call(caller, "ann"))
                assert error.code is errors.Code.PERMISSION_DENIED
            with pytest.raises(errors.ServingError):
                running.loaded(caller)
        assert source.resolves == 0

    asyncio.run(main())


def test_another_tenants_speaker_of_the_same_name_is_another(source):
    source.publish("ann", 3, tenant="other")
    other = messages.Caller("other", is_admin=True)

    async def main():
        async with fake_source.serving(source) as running:
            [mine] = await ask(running, utterance(1, "ann"))
            [theirs] = await ask(running, utterance(1, "ann"), caller=other)
            assert (mine.text, theirs.text) == (text(1, 1), text(1, 3))
            assert len(running.loaded(other)) == 1
            error = await refusal(
                ask(running, utterance(1, "bob"), caller=other)
            )
            assert error.code is errors.Code.NOT_FOUND

    asyncio.run(main())


def test_only_the_utterance_that_the_engine_fails_on_fails(source):
    async def main():
        engine = fake_engine.FakeEngine(failing={3.0})
        async with fake_source.serving(source, engine) as running:
            outcomes = await asyncio.gather(
                *(ask(running, utterance(mark, "ann")) for mark in range(8)),
                return_exceptions=True,
            )
        failed = outcomes.pop(3)
        assert failed.code is errors.Code.INTERNAL
        assert "secret" not in failed.message
        marks = [0, 1, 2, 4, 5, 6, 7]
        assert [each.text for [each] in outcomes] == [
            text(mark, 1) for mark in marks
        ]

    asyncio.run(main())


def test_without_a_store_the_base_alone_is_served():
    async def main():
        async with fake_source.serving() as running:
            [answer] = await ask(running, utterance(1))
            assert answer.text == text(1, 0)
            error = await refusal(ask(running, utterance(1, "ann")))
            assert error.code is errors.Code.FAILED_PRECONDITION
            assert (await refusal(running.load(CALLER, "ann"))).code is (
                errors.Code.FAILED_PRECONDITION
            )

    asyncio.run(main())


def test_a_request_of_another_model_or_version_is_not_found(source):
    async def main():
        async with fake_source.serving(source) as running:
            for spec in (
                messages.ModelSpec("asr", version=2),
                messages.ModelSpec("other"),
            ):
                error = await refusal(ask(running, utterance(1), spec=spec))
                assert error.code is errors.Code.NOT_FOUND
            assert running.model_ready("asr")
            assert not running.model_ready("other")
            version, signatures = running.signature_metadata(SPEC)
            assert (version, list(signatures)) == (1, ["serving_default"])

    asyncio.run(main())
