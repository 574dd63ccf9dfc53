"""Codes, and messages that fit every transport."""

import pytest

from tasks.serving import errors


@pytest.mark.parametrize(
    "name, number, http",
    [
        ("OK", 0, 200),
        ("INVALID_ARGUMENT", 3, 400),
        ("FAILED_PRECONDITION", 9, 400),
        ("OUT_OF_RANGE", 11, 400),
        ("UNAUTHENTICATED", 16, 401),
        ("PERMISSION_DENIED", 7, 403),
        ("NOT_FOUND", 5, 404),
        ("ABORTED", 10, 409),
        ("ALREADY_EXISTS", 6, 409),
        ("RESOURCE_EXHAUSTED", 8, 429),
        ("CANCELLED", 1, 499),
        ("INTERNAL", 13, 500),
        ("UNIMPLEMENTED", 12, 501),
        ("UNAVAILABLE", 14, 503),
        ("DEADLINE_EXCEEDED", 4, 504),
    ],
)
def test_codes_have_the_numbers_of_both_transports(name, number, http):
    code = errors.Code[name]
    assert (code.number, code.http) == (number, http)


def test_no_two_codes_are_one():
    # Equal values would make aliases of members.
    assert len({code.number for code in errors.Code}) == 17


@pytest.mark.parametrize("text", ["a" * 5000, "ü" * 5000, "\ud800" * 5000])
def test_a_message_is_at_most_a_kibibyte_of_utf8(text):
    error = errors.ServingError(errors.Code.INTERNAL, text)
    assert 1000 < len(error.message.encode()) <= 1024


def test_a_message_is_one_line():
    error = errors.ServingError(errors.Code.INTERNAL, "one\n two\r\n\x0bthree")
    assert error.message == "one two three"


def test_a_copy_of_an_error_is_a_new_object():
    error = errors.ServingError(errors.Code.UNAVAILABLE, "later", 2.0)
    again = error.copy()
    assert again is not error
    assert vars(again) == vars(error)
