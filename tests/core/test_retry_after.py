"""`Retry-After` is read strictly, and never asks for more than five minutes or less than a second."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.retry_after import parse_retry_after

NOW_S = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param(" 7\t", 7.0, id="seconds with blanks around"),
        pytest.param("007", 7.0, id="seconds with leading zeros"),
        pytest.param("1", 1.0, id="the shortest"),
        pytest.param("300", 300.0, id="the longest"),
        pytest.param("301", 300.0, id="longer than the longest"),
        pytest.param("9" * 10_000, 300.0, id="ten thousand digits"),
        pytest.param("0" * 10_000 + "5", 5.0, id="ten thousand zeros and a five"),
        pytest.param(None, None, id="absent"),
        pytest.param("", None, id="empty"),
        pytest.param("0", None, id="zero"),
        pytest.param("000", None, id="many zeros"),
        pytest.param("-1", None, id="negative"),
        pytest.param("+7", None, id="signed"),
        pytest.param("10.5", None, id="a fraction"),
        pytest.param("1e2", None, id="an exponent"),
        pytest.param("7, 9", None, id="two values"),
        pytest.param("soon", None, id="a word"),
        pytest.param("\u0667", None, id="a digit that is not ASCII"),
        pytest.param("Sun, 06 Nov 1994 08:49:47 GMT", 10.0, id="a date"),
        pytest.param("Sunday, 06-Nov-94 08:49:47 GMT", 10.0, id="a date as in RFC 850"),
        pytest.param("Sun Nov  6 08:49:47 1994", 10.0, id="a date as asctime writes it"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT", None, id="a date that is now"),
        pytest.param("Sun, 06 Nov 1994 08:49:36 GMT", None, id="a date gone by"),
        pytest.param("Sunday, 06-Nov-60 08:49:37 GMT", None, id="a two-digit year gone by"),
        pytest.param("Sunday, 06-Nov-30 08:49:37 GMT", 300.0, id="a two-digit year of the next century"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", 300.0, id="the end of the calendar"),
        pytest.param("Sun, 06 Nov 1994 08:49:60 GMT", 22.0, id="a leap second is the second before"),
        pytest.param("Sun, 31 Feb 1995 08:49:47 GMT", None, id="a day that is not"),
        pytest.param("Sun, 06 Nov 1994 25:49:47 GMT", None, id="an hour that is not"),
        pytest.param("Sun, 06 Nov 0000 08:49:47 GMT", None, id="a year that is not"),
        pytest.param("Sun, 06 Nov 1994 08:49:47 +0000", None, id="a date with an offset"),
        pytest.param("Sun, 06 Nov 1994 08:49:47", None, id="a date without zone"),
        pytest.param("1994-11-06T08:49:47Z", None, id="an ISO date"),
    ],
)
def test_a_wait_is_whole_seconds_or_an_http_date_and_clamped(value: str | None, wait_s: float | None) -> None:
    assert parse_retry_after(value, NOW_S) == wait_s


def test_a_date_less_than_a_second_ahead_is_a_whole_second() -> None:
    assert parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", NOW_S - 0.25) == 1.0


@given(st.integers(min_value=1, max_value=10**12))
def test_any_number_of_seconds_is_clamped_and_nothing_else(seconds: int) -> None:
    assert parse_retry_after(str(seconds), NOW_S) == min(seconds, 300)


@given(st.text() | st.text(alphabet="0123456789SunNovGMT,:- "), st.floats(min_value=0, max_value=4e9))
def test_whatever_is_sent_gives_a_clamped_wait_or_none(value: str, now_s: float) -> None:
    wait_s = parse_retry_after(value, now_s)

    assert wait_s is None or 1 <= wait_s <= 300


@pytest.mark.parametrize("value", ["Sun, 06 Nov 1994 08:49:47 GMT+1", "Sun, 06 Nov 1994 08:49:47 GMT, 7", "7 s"])
def test_a_wait_has_nothing_behind_it(value: str) -> None:
    assert parse_retry_after(value, NOW_S) is None


def test_a_two_digit_year_more_than_fifty_years_ahead_is_gone_by() -> None:
    now_s = 1_800_000_000.0  # in 2027

    assert parse_retry_after("Sunday, 06-Nov-94 08:49:47 GMT", now_s) is None
    assert parse_retry_after("Sunday, 06-Nov-76 08:49:47 GMT", now_s) == 300.0
