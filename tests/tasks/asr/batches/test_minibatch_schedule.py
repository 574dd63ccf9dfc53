"""Minibatches and grouping: functions of the counts alone."""

import collections

import pytest

from tasks.asr.batches import minibatch_schedule

SECOND = 16000


def bucket(length):
    return -(-length // SECOND) * SECOND


def speaker(slot, name, lengths, size=2, **kwargs):
    return minibatch_schedule.MinibatchSchedule(
        slot, name, lengths, bucket, size, 0, place=slot % 2, **kwargs
    )


def three():
    lengths = [SECOND // 2 * (1 + i % 4) for i in range(9)]
    return {
        0: speaker(0, "ann", lengths),
        1: speaker(1, "bob", lengths[2:]),
        2: speaker(2, "cy", [9 * SECOND] * 3),
    }


def run(speakers, steps, stop, places=2):
    calls = minibatch_schedule.training_calls(speakers, steps, stop, places)
    return [group for (group,) in calls]


def test_minibatches_do_not_depend_on_slot_or_neighbours():
    alone = speaker(0, "bob", [SECOND] * 5)
    among = speaker(7, "bob", [SECOND] * 5)
    for step in range(12):
        a, b = alone.minibatch(step), among.minibatch(step)
        assert a.utterances == b.utterances
        assert a.bucket == b.bucket


def test_minibatches_of_a_step_are_the_same_in_any_order_of_asking():
    data = speaker(0, "ann", [SECOND * (1 + i) for i in range(7)])
    forward = [data.minibatch(step) for step in range(9)]
    backward = [data.minibatch(step) for step in reversed(range(9))]
    assert forward == backward[::-1]


def test_an_epoch_holds_every_utterance():
    data = speaker(0, "ann", [SECOND] * 7)
    seen = [
        i
        for step in range(data.steps_per_epoch)
        for i in data.minibatch(step).utterances
    ]
    assert set(seen) == set(range(7))
    assert len(seen) == 8


def test_speaker_with_fewer_utterances_than_a_minibatch_repeats_them():
    minibatch = speaker(0, "ann", [SECOND], size=4).minibatch(3)
    assert minibatch.utterances == (0, 0, 0, 0)


def test_slower_speech_gets_the_bucket_of_its_new_length():
    data = speaker(0, "ann", [SECOND], size=1, speed_factors=(0.5,))
    assert data.minibatch(0).bucket == bucket(2 * SECOND + 1)


def test_groups_share_a_bucket_and_differ_in_speakers():
    for group in run(three(), {0: 0, 1: 0, 2: 0}, {0: 6, 1: 6, 2: 6}):
        assert len({m.slot for m in group.minibatches}) == len(
            group.minibatches
        )
        assert {m.bucket for m in group.minibatches} == {group.bucket}
        assert len(group.minibatches) <= 2


def test_every_speaker_takes_its_own_steps_in_order():
    groups = run(three(), {0: 2, 1: 0, 2: 5}, {0: 6, 1: 3, 2: 5})
    steps = collections.defaultdict(list)
    for group in groups:
        for minibatch in group.minibatches:
            steps[minibatch.slot].append(minibatch.step)
    assert steps == {0: [2, 3, 4, 5], 1: [0, 1, 2]}


def test_what_follows_is_a_function_of_the_counts():
    """A run that resumes after any group goes on with the same groups."""
    speakers = three()
    stop = {0: 6, 1: 6, 2: 6}
    whole = run(speakers, {0: 0, 1: 0, 2: 0}, stop)
    steps = {0: 0, 1: 0, 2: 0}
    for done, group in enumerate(whole):
        assert run(three(), steps, stop) == whole[done:]
        for minibatch in group.minibatches:
            steps[minibatch.slot] += 1


def test_a_finished_speakers_place_goes_to_one_that_waits():
    data = {i: speaker(i, f"s{i}", [SECOND] * 4) for i in range(5)}
    groups = run(
        data, dict.fromkeys(range(5), 0), {0: 1, 1: 4, 2: 4, 3: 4, 4: 3}
    )
    assert [len(g.minibatches) for g in groups] == [2] * 8


def test_a_speaker_always_has_the_same_place():
    data = {i: speaker(i, f"s{i}", [SECOND] * 4) for i in range(5)}
    groups = run(data, dict.fromkeys(range(5), 0), dict.fromkeys(range(5), 9))
    for group in groups:
        for place, minibatch in group.placed:
            assert place == minibatch.slot % 2
    alone = run({3: data[3]}, {3: 0}, {3: 2})
    for group in alone:
        assert [place for place, _ in group.placed] == [1]


def test_evaluation_holds_every_utterance_once_in_its_own_bucket():
    speakers = three()
    seen = collections.Counter()
    for group in minibatch_schedule.evaluation_groups(speakers):
        for minibatch in group.minibatches:
            for i in minibatch.utterances:
                length = speakers[minibatch.slot].num_samples[i]
                assert bucket(length) == group.bucket
                seen[minibatch.slot, i] += 1
    assert set(seen.values()) == {1}
    assert len(seen) == 9 + 7 + 3


def test_each_shape_is_evaluated_in_as_few_steps_as_its_places_allow():
    data = {i: speaker(i, f"s{i}", [SECOND] * 4) for i in range(5)}
    groups = minibatch_schedule.evaluation_groups(data)
    # Speakers 0, 2 and 4 have the first place, and two minibatches each.
    assert len(groups) == 6


def test_in_evaluation_a_speaker_keeps_its_place_whoever_is_beside_it():
    for neighbours in (0, 1, 5):
        data = {
            slot: speaker(slot, f"s{slot}", [SECOND] * count)
            for slot, count in enumerate((neighbours, neighbours, 5, 9))
            if count
        }
        groups = minibatch_schedule.evaluation_groups(data)
        of_two = [
            (place, minibatch)
            for group in groups
            for place, minibatch in group.placed
            if minibatch.slot == 2
        ]
        assert of_two == [
            (0, minibatch) for minibatch in data[2].evaluation_minibatches()
        ]


def test_transcripts_of_different_padded_lengths_share_no_step():
    data = {
        0: speaker(0, "ann", [SECOND] * 4, num_tokens=[16] * 4),
        1: speaker(1, "bob", [SECOND] * 4, num_tokens=[32] * 4),
    }
    groups = minibatch_schedule.evaluation_groups(data)
    groups += run(data, {0: 0, 1: 0}, {0: 2, 1: 2})
    assert [len(group.minibatches) for group in groups] == [1] * 8
    for group in groups:
        assert group.num_tokens == group.minibatches[0].num_tokens > 0


def test_a_minibatch_is_as_wide_as_its_own_longest_transcript():
    widths = [16, 16, 32, 16]
    data = speaker(0, "ann", [SECOND] * 4, num_tokens=widths)
    found = [data.minibatch(step) for step in range(4)]
    found += data.evaluation_minibatches()
    assert {each.num_tokens for each in found} == {16, 32}
    for each in found:
        assert each.num_tokens == max(widths[i] for i in each.utterances)


def test_too_long_an_utterance_is_the_base_models_error():
    def limited(length):
        raise ValueError("too long")

    data = minibatch_schedule.MinibatchSchedule(
        0, "ann", [SECOND], limited, 1, 0
    )
    with pytest.raises(ValueError, match="too long"):
        data.minibatch(0)


def of_replicas(speakers, place_of, replica_of, places):
    return {
        slot: minibatch_schedule.MinibatchSchedule(
            slot,
            data.stream_key,
            data.num_samples,
            bucket,
            2,
            0,
            place=replica_of[slot] * places + place_of[slot],
        )
        for slot, data in speakers.items()
    }


def test_what_replicas_have_of_a_group_is_the_group():
    data = {i: speaker(i, f"s{i}", [SECOND] * 4) for i in range(6)}
    place_of, replica_of = [0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 2, 2]
    data = of_replicas(data, place_of, replica_of, 2)
    (group,) = run(data, dict.fromkeys(data, 0), dict.fromkeys(data, 1), 6)
    parts = minibatch_schedule.split(group, 3, 2)
    assert [[m.slot for m in part.minibatches] for part in parts] == [
        [m.slot for m in group.minibatches if replica_of[m.slot] == r]
        for r in range(3)
    ]
    for part in parts:
        for place, minibatch in part.placed:
            assert place == place_of[minibatch.slot]
    short = minibatch_schedule.Group(SECOND, ((5, group.minibatches[0]),))
    assert [
        len(p.minibatches) for p in minibatch_schedule.split(short, 3, 2)
    ] == [
        0,
        0,
        1,
    ]


def test_evaluation_stays_on_each_speakers_replica():
    data = of_replicas(three(), [0, 1, 0], [0, 0, 1], 2)
    seen = collections.Counter()
    for group in minibatch_schedule.evaluation_groups(data):
        for place, minibatch in group.placed:
            assert place // 2 == [0, 0, 1][minibatch.slot]
            seen.update((minibatch.slot, i) for i in minibatch.utterances)
    assert set(seen.values()) == {1}
    assert len(seen) == 9 + 7 + 3


def alike():
    return {
        0: speaker(0, "ann", [SECOND] * 8),
        1: speaker(1, "bob", [SECOND] * 8),
        2: speaker(2, "cy", [9 * SECOND] * 3),
    }


def test_a_call_of_many_steps_has_one_bucket_and_keeps_the_order():
    stop = {0: 6, 1: 6, 2: 6}
    start = dict.fromkeys(stop, 0)
    calls = list(minibatch_schedule.training_calls(alike(), start, stop, 2, 3))
    assert max(map(len, calls)) == 3
    steps = collections.defaultdict(list)
    for call in calls:
        assert len({group.bucket for group in call}) == 1
        for group in call[1:]:
            assert len(group.minibatches) == 2
        for group in call:
            for minibatch in group.minibatches:
                steps[minibatch.slot].append(minibatch.step)
    assert steps == {slot: list(range(6)) for slot in stop}


def test_what_follows_a_call_is_a_function_of_the_counts():
    stop = {0: 6, 1: 6, 2: 6}
    steps = dict.fromkeys(stop, 0)
    whole = list(minibatch_schedule.training_calls(alike(), steps, stop, 2, 3))
    for done, call in enumerate(whole):
        rest = list(
            minibatch_schedule.training_calls(alike(), steps, stop, 2, 3)
        )
        assert rest == whole[done:]
        for group in call:
            for minibatch in group.minibatches:
                steps[minibatch.slot] += 1
