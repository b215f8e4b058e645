"""What a server's `Retry-After` asks for (RFC 9110 sections 5.6.7 and 10.2.3), read strictly."""

import re
from datetime import UTC, datetime

SHORTEST_S = 1.0
LONGEST_S = 300.0

_SECONDS = re.compile(r"[0-9]+")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
# By hand, since strptime speaks the process's language and email.utils takes nearly everything.
_DATES = (
    re.compile(rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(
        rf"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"
    ),
    re.compile(
        rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    ),
)


def parse_retry_after(value: str | None, now_s: float) -> float | None:
    """Read how many seconds to wait, 1 to 300, from whole seconds or an HTTP date.

    now_s: seconds since the epoch, which a date is relative to.

    Returns None for what names no wait: nothing, zero, the past, and everything that is neither form; the asker then
    uses a back-off of its own.
    """
    if value is None:
        return None
    text = value.strip(" \t")
    if _SECONDS.fullmatch(text):
        digits = text.lstrip("0")
        # Ten digits are longer than any wait; int() itself fails on thousands of them.
        wait_s = LONGEST_S if len(digits) > 9 else float(digits or 0)
    else:
        at_s = _date_s(text, now_s)
        wait_s = 0.0 if at_s is None else at_s - now_s
    return min(max(wait_s, SHORTEST_S), LONGEST_S) if wait_s > 0 else None


def _date_s(text: str, now_s: float) -> float | None:
    """Seconds since the epoch of an HTTP date in any of its three forms; None for anything else."""
    found = next((match for pattern in _DATES if (match := pattern.fullmatch(text))), None)
    if found is None:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        year = _full_year(year, datetime.fromtimestamp(now_s, UTC).year)
    try:
        return datetime(
            year,
            _MONTHS.index(found["month"]) + 1,
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            59 if found["second"] == "60" else int(found["second"]),  # a leap second
            tzinfo=UTC,
        ).timestamp()
    except ValueError:  # the 31st of February
        return None


def _full_year(two_digits: int, this_year: int) -> int:
    """The year a two-digit one means: none is more than fifty years ahead (RFC 9110 section 5.6.7), nor behind."""
    year = this_year - this_year % 100 + two_digits
    if year > this_year + 50:
        return year - 100
    return year + 100 if year <= this_year - 50 else year
