"""Places and replicas are shared out evenly, and always alike."""

from tasks.asr.batches import minibatch_schedule, speaker_places

SECOND = 16000


def test_places_are_even_and_in_no_order():
    places = speaker_places.assign_places(16, 4)
    assert [places.count(p) for p in range(4)] == [4] * 4
    assert places != [slot % 4 for slot in range(16)]
    assert places == speaker_places.assign_places(16, 4)


def test_those_whose_place_has_fewest_come_first():
    places = [0, 0, 0, 1, 1, 2]
    assert speaker_places.in_turn([4, 2, 1, 5], [0, 3], places) == [5, 1, 4, 2]
    assert speaker_places.in_turn(range(6), [], places) == [0, 3, 5, 1, 4, 2]
    assert speaker_places.in_turn([], [0], places) == []


def test_replicas_get_as_much_of_every_bucket_and_as_many_slots():
    lengths = [[SECOND * (1 + slot % 3)] * 8 for slot in range(24)]
    costs = [
        minibatch_schedule.MinibatchSchedule(
            slot, f"s{slot}", each, lambda length: length, 2, 0
        ).cost_by_bucket()
        for slot, each in enumerate(lengths)
    ]
    assert costs[0] == {SECOND: SECOND}
    place_of = speaker_places.assign_places(24, 2)
    replica_of = speaker_places.assign_replicas(costs, place_of, 4)
    assert replica_of == speaker_places.assign_replicas(costs, place_of, 4)
    assert [replica_of.count(r) for r in range(4)] == [6] * 4
    for seconds in (1, 2, 3):
        counts = [
            sum(
                replica_of[slot] == r and seconds * SECOND in costs[slot]
                for slot in range(24)
            )
            for r in range(4)
        ]
        assert counts == [2] * 4, seconds


def test_a_heavy_speaker_is_made_up_for():
    costs = [{SECOND: work} for work in (9.0, 1.0, 1.0, 8.0)]
    replica_of = speaker_places.assign_replicas(costs, [0] * 4, 2)
    assert replica_of[0] != replica_of[3]
    assert [replica_of.count(r) for r in range(2)] == [2, 2]
