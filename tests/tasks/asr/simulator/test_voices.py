"""How severities and seeds become a speaker's parameters."""

import statistics

import pytest

from tasks.asr.simulator import phonology, voices


def draw(severity="severe", seed=0, speaker="SIM000", **changes):
    return voices.draw(seed, speaker, severity, "m1", **changes)


def test_the_same_key_draws_the_same_speaker():
    assert draw() == draw()


@pytest.mark.parametrize("change", [{"seed": 1}, {"speaker": "SIM001"}])
def test_another_key_draws_another_speaker(change):
    assert draw(**change).processes != draw().processes


def test_stream_is_the_same_in_every_release():
    drawn = voices.stream(7, "a").integers(1000, size=3)
    assert drawn.tolist() == [884, 65, 931]


def test_severity_brings_more_processes_and_slower_flatter_speech():
    averages = []
    for severity in voices.SEVERITIES:
        speakers = [draw(severity, speaker=str(i)) for i in range(40)]
        averages.append(
            [
                statistics.mean(sum(s.processes.values()) for s in speakers),
                -statistics.mean(s.words_per_minute for s in speakers),
                -statistics.mean(s.pitch_range for s in speakers),
                statistics.mean(s.pause_rate for s in speakers),
                statistics.mean(s.tremor_depth for s in speakers),
                -statistics.mean(s.signal_to_noise_db for s in speakers),
            ]
        )
    for milder, worse in zip(averages, averages[1:], strict=False):
        assert all(a < b for a, b in zip(milder, worse, strict=True))


def test_typical_speakers_have_no_processes():
    speaker = draw("typical")
    assert speaker.processes == {}
    assert speaker.words_per_minute == 175
    assert speaker.tremor_depth == speaker.repetition_rate == 0


def test_rates_are_probabilities():
    for index in range(50):
        rates = draw(speaker=str(index)).processes
        assert len(rates) == 6
        assert all(0 < rate <= 1 for rate in rates.values())


def test_held_out_processes_are_not_drawn():
    allowed = phonology.PROCESSES[:3]
    for index in range(10):
        speaker = draw(speaker=str(index), processes=allowed)
        assert set(speaker.processes) == set(allowed)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"severity": "sever"}, "'sever'. Did you mean severe?"),
        ({"processes": ["gliding", "frontin"]}, "Did you mean fronting?"),
    ],
)
def test_unknown_names_get_a_near_one(arguments, message):
    with pytest.raises(ValueError) as error:
        draw(**arguments)
    assert message in str(error.value)
