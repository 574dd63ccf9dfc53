"""Batches of one bucket, in an order that is fair to tenants."""

import dataclasses
import itertools

import hypothesis
from hypothesis import strategies

from tasks.serving.queueing import fair_queues

_names = itertools.count()


@dataclasses.dataclass(eq=False)
class Item:
    tenant: str = "acme"
    bucket: int = 0
    cost: float = 1.0
    deadline: float = 1e9
    queued_at: float = 0.0
    tag: float = 0.0
    name: int = dataclasses.field(default_factory=lambda: next(_names))


def made(items, batch_size=4, delay_seconds=0.0):
    queues = fair_queues.FairQueues(2, batch_size, delay_seconds)
    for item in items:
        queues.add(item)
    return queues


def test_one_tenants_items_go_in_their_order():
    items = [Item() for _ in range(6)]
    queues = made(items)
    assert queues.take(1.0) == (items[:4], [], None)
    assert queues.take(1.0) == (items[4:], [], None)
    assert queues.take(1.0) == ([], [], None)


def test_a_batch_is_of_one_bucket_that_of_the_oldest():
    short = [Item(bucket=0) for _ in range(2)]
    long = [Item(bucket=1) for _ in range(2)]
    queues = made([long[0], short[0], long[1], short[1]])
    assert queues.take(1.0)[0] == long
    assert queues.take(1.0)[0] == short


def test_who_sends_little_does_not_wait_behind_who_sends_much():
    many = [Item("big") for _ in range(100)]
    queues = made(many)
    queues.take(1.0)
    one, other_bucket = Item("small"), Item("tiny", bucket=1)
    queues.add(one)
    queues.add(other_bucket)
    served = [queues.take(1.0)[0] for _ in range(3)]
    assert one in served[0] + served[1]
    assert [other_bucket] in served


def test_two_busy_tenants_get_equal_parts_of_the_engine():
    # One's utterances cost twice as much.
    queues = made(
        [Item("a", cost=2.0) for _ in range(60)]
        + [Item("b", cost=1.0) for _ in range(60)],
        batch_size=3,
    )
    served = [item for _ in range(10) for item in queues.take(1.0)[0]]
    cost = {
        tenant: sum(item.cost for item in served if item.tenant == tenant)
        for tenant in "ab"
    }
    assert abs(cost["a"] - cost["b"]) <= 3


def test_a_tenant_is_not_charged_for_what_is_taken_out():
    cancelled = [Item("a", cost=5.0) for _ in range(10)]
    expired = [Item("a", deadline=0.5) for _ in range(10)]
    last, next_one = Item("a"), Item("a")
    queues = made([*cancelled, *expired, last], batch_size=1)
    for item in cancelled:
        assert queues.remove(item)
    assert not queues.remove(cancelled[0])
    queues.add(Item("b"))
    queues.add(Item("b"))
    first, gone, _ = queues.take(1.0)
    assert {item.name for item in gone} == {item.name for item in expired}
    queues.add(next_one)
    # As if there had never been others: a and b take turns.
    assert [last.tag, next_one.tag] == [0.0, 1.0]
    served = first + [queues.take(1.0)[0][0] for _ in range(3)]
    assert [item.tenant for item in served] in (list("abab"), list("abba"))


def test_what_is_taken_out_brings_nobody_before_what_was_served():
    items = [Item("a", cost=1.0) for _ in range(6)]
    queues = made(items, batch_size=1)
    other = [Item("b", cost=1.0) for _ in range(6)]
    for item in other:
        queues.add(item)
    for _ in range(6):
        queues.take(1.0)
    waiting = [item for item in items if item.tag > 2.0]
    queues.remove(waiting[0])
    assert all(item.tag >= 2.0 for item in waiting[1:])
    queues.add(late := Item("a"))
    assert late.tag == waiting[-1].tag + 1.0


def test_a_tenant_that_was_quiet_has_saved_up_nothing():
    queues = made([Item("a") for _ in range(40)], batch_size=1)
    for _ in range(20):
        queues.take(1.0)
    for _ in range(20):
        queues.add(Item("b"))
    served = [queues.take(1.0)[0][0].tenant for _ in range(20)]
    assert 9 <= served.count("a") <= 11


def test_an_item_waits_for_company_but_not_longer_than_it_may():
    queues = made([Item(queued_at=10.0)], 2, delay_seconds=0.5)
    assert queues.take(10.1)[2] == 0.4 or abs(queues.take(10.1)[2] - 0.4) < 1e-9
    queues.add(Item(queued_at=10.1))
    assert len(queues.take(10.1)[0]) == 2
    queues.add(Item(queued_at=10.1))
    assert len(queues.take(10.6)[0]) == 1


def test_expired_items_come_out_apart():
    items = [Item(deadline=5.0), Item(), Item(bucket=1, deadline=5.0)]
    batch, expired, _ = made(items).take(5.0)
    assert batch == [items[1]]
    assert set(expired) == {items[0], items[2]}


def test_an_item_is_taken_out_once():
    items = [Item() for _ in range(3)]
    queues = made(items)
    assert queues.remove(items[1])
    assert not queues.remove(items[1])
    assert queues.take(1.0)[0] == [items[0], items[2]]


def test_the_cost_before_an_item_counts_what_goes_first():
    queues = made([Item("a", cost=3.0), Item("a", cost=3.0)])
    assert queues.cost_before(queues.start_of("a")) == 6.0
    # Its first item goes beside the other's first.
    assert queues.cost_before(queues.start_of("b")) == 3.0


@hypothesis.settings(max_examples=50, derandomize=True)
@hypothesis.given(
    strategies.lists(
        strategies.tuples(
            strategies.sampled_from("abc"), strategies.integers(0, 1)
        ),
        max_size=40,
    )
)
def test_every_item_comes_out_once(kinds):
    items = [Item(tenant, bucket) for tenant, bucket in kinds]
    queues, served = made(items), []
    while batch := queues.take(1.0)[0]:
        assert len({item.bucket for item in batch}) == 1
        served += batch
    assert sorted(item.name for item in served) == [item.name for item in items]
    assert queues.clear() == []


@hypothesis.settings(max_examples=50, derandomize=True)
@hypothesis.given(
    strategies.lists(
        strategies.tuples(
            strategies.sampled_from("abc"), strategies.integers(1, 5)
        ),
        min_size=8,
        max_size=40,
    ),
    strategies.sets(strategies.integers(0, 7)),
)
def test_the_order_holds_though_items_are_taken_out(kinds, removed):
    items = [Item(tenant, cost=float(cost)) for tenant, cost in kinds]
    queues = made(items, batch_size=1)
    for place in removed:
        queues.remove(items[place])
    served = []
    while batch := queues.take(1.0)[0]:
        served += batch
    tags = [item.tag for item in served]
    assert tags == sorted(tags)
    assert len(served) == len(items) - len(removed)
