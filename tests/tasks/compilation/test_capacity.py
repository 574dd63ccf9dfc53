"""How many fit, with a compiler whose memory is known."""

import types

import pytest

from tasks.compilation import capacity
from tpu.aot import compiler

AVAILABLE, FIXED, SLOT = 1000, 300, 7


class Chip:
    """A compiler for a chip of 1,000 bytes; remembers what it was asked."""

    def __init__(self, slot=SLOT, fixed=FIXED):
        self.slot, self.fixed, self.asked = slot, fixed, []
        self.more = lambda num_slots: 0

    def __call__(self, num_slots):
        self.asked.append(num_slots)
        needed = self.fixed + self.slot * num_slots + self.more(num_slots)
        if needed > AVAILABLE:
            raise compiler.DoesNotFitError("too much", needed, AVAILABLE)
        return types.SimpleNamespace(
            memory_bytes=needed,
            free_bytes=AVAILABLE - needed,
            argument_bytes=needed,
        )


def test_the_largest_number_is_computed_and_compiled():
    chip = Chip()
    found = capacity.measure(chip, 10, 2, SLOT)
    assert found.most == 100
    assert found.confirmed and found.report and not found.error
    assert chip.asked == [10, 100]
    assert found.slot_bytes == SLOT


def test_padding_is_found_by_compiling():
    # The stack takes more than its values: the first estimate is too high.
    chip = Chip(slot=8)
    found = capacity.measure(chip, 10, 2, SLOT)
    assert found.most == 700 // 8
    assert found.slot_bytes == 8
    assert len(chip.asked) == 3
    assert found.confirmed


def test_too_many_are_brought_down_to_what_fits():
    chip = Chip()
    found = capacity.measure(chip, 500, 2, SLOT)
    assert found.report is None
    assert found.error.excess_bytes == FIXED + 500 * SLOT - AVAILABLE
    assert found.most == 100
    assert found.confirmed


@pytest.mark.parametrize("num_slots", [10, 500])
def test_memory_that_is_no_straight_line_still_has_a_largest_number(num_slots):
    # Near the limit the compiler finds no better plan, and takes more.
    chip = Chip()
    chip.more = lambda slots: 60 if slots > 80 else 0
    found = capacity.measure(chip, num_slots, 2, SLOT)
    assert found.confirmed
    assert found.most == 91


def test_an_excess_that_is_rounded_to_nothing_still_leads_to_what_fits():
    chip = Chip(slot=1)

    def rounded(num_slots):
        try:
            return chip(num_slots)
        except compiler.DoesNotFitError as error:
            # As a message of two digits gives it.
            needed = round(error.needed_bytes, -2)
            raise compiler.DoesNotFitError("", needed, AVAILABLE) from None

    found = capacity.measure(rounded, 739, 2, 1)
    assert found.most == 700
    assert found.confirmed


def test_a_batch_that_does_not_fit_holds_no_submodel():
    found = capacity.measure(Chip(fixed=999), 4, 4, SLOT)
    assert found.report is None
    assert found.most == 0
    assert found.error.excess_bytes == 999 + 28 - 1000


def test_where_no_estimate_holds_the_least_is_still_tried():
    chip = Chip()
    # The more there are the more each takes: every line leads below nothing.
    chip.more = lambda slots: 10 * slots * slots if slots > 5 else 0
    found = capacity.measure(chip, 500, 5, SLOT)
    assert chip.asked[1] == 5
    assert found.most == 8
    assert found.confirmed and found.report is None


def test_without_confirmation_nothing_more_is_compiled():
    chip = Chip()
    found = capacity.measure(chip, 10, 2, SLOT, confirm=False)
    assert found.most == 100
    assert not found.confirmed
    assert chip.asked == [10]


def test_what_a_better_plan_leaves_free_is_used():
    # With many the compiler plans again, and takes less.
    chip = Chip()
    chip.more = lambda slots: -70 if slots > 80 else 0
    found = capacity.measure(chip, 10, 2, SLOT)
    assert chip.asked[:2] == [10, 100]
    assert found.most == 110


def test_the_largest_number_is_sought_to_within_two_percent():
    chip = Chip(slot=0.001)
    chip.more = lambda slots: 60 if slots > 600_000 else 0
    found = capacity.measure(chip, 10, 2, 0.001)
    assert 0.98 * 640_000 <= found.most <= 640_000
    assert len(chip.asked) < 7


@pytest.mark.parametrize("confirm", [True, False])
def test_fewer_than_a_step_has_are_not_said_to_fit(confirm):
    found = capacity.measure(Chip(fixed=900), 20, 16, SLOT, confirm)
    assert found.most == 0
    assert not found.confirmed


@pytest.mark.parametrize("limit", range(9))
def test_the_largest_that_fits_is_found_by_halves(limit):
    asked = []

    def compile_at(number):
        asked.append(number)
        if number > limit:
            raise compiler.DoesNotFitError("too much", number, limit)
        return number

    assert capacity.largest(compile_at, 8) == limit
    assert len(asked) <= 4


def test_nothing_is_asked_of_an_empty_range():
    assert capacity.largest(lambda number: 1 / 0, 0) == 0
