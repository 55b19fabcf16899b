"""Text for people: escapes, sizes, times, shares."""

from __future__ import annotations

import datetime as dt
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalite.cli.output import text
from deltalite.cli.output.terminal import GAP, fit

UTC = dt.timezone.utc


@pytest.mark.bug("S-19")
@settings(deadline=None)
@given(st.text())
def test_nothing_that_acts_on_a_terminal_survives(value):
    shown = text.escape(value)
    assert not any(unicodedata.category(c) == "Cc" for c in shown)
    assert not any(c in shown for c in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2028\u2029")
    if not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in value):
        assert shown == value


@settings(deadline=None)
@given(st.integers(-(10**17), 10**17))
def test_a_size_is_right_to_three_digits(size):
    number, unit = text.size(size).split(" ")
    assert abs(float(number) * 1000 ** text.UNITS.index(unit) - size) <= max(0.5, abs(size) * 0.06)
    assert len(number.lstrip("-")) <= 4


@pytest.mark.parametrize(
    "size, shown",
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (15_200_000, "15.2 MB"),
        (612_000_000, "612 MB"),
        (999_950, "1.0 MB"),
    ],
)
def test_sizes(size, shown):
    assert text.size(size) == shown


@settings(deadline=None)
@given(st.datetimes(dt.datetime(1000, 1, 1), dt.datetime(9999, 12, 31), timezones=st.just(UTC)))
def test_a_moment_reads_back(moment):
    shown = text.moment(moment)
    assert shown.endswith("Z")
    body = shown[:-1]
    if "." in body:
        body = body + "0" * (6 - len(body.partition(".")[2]))
    assert dt.datetime.fromisoformat(body).replace(tzinfo=UTC) == moment


def test_moments_of_milliseconds():
    assert text.moment(1_500) == "1970-01-01T00:00:01.5Z"
    assert text.clock(1_500) == "1970-01-01 00:00:01"


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_share_of_some_is_never_none_or_all(part, whole):
    part = min(part, whole)
    shown = text.share(part, whole)
    assert (shown == "0 %") == (part == 0) and (shown == "100 %") == (part == whole)


@settings(deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=40), st.integers(1, 300))
def test_columns_fit_the_room_and_the_first_one_stays(natural, room):
    kept, widths = fit(natural, room)
    assert kept[0] == 0 and kept == sorted(set(kept))
    assert all(w <= natural[i] for i, w in zip(kept, widths))
    total = sum(widths) + GAP * (len(kept) - 1)
    assert total <= room or len(kept) == 1
    if sum(natural) + GAP * (len(natural) - 1) <= room:
        assert kept == list(range(len(natural))) and widths == natural
