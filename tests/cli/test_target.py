"""TABLE[@VERSION]: what is a place, what is a version, what is a time."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalite.cli.target import Target, parse_hours, parse_point, parse_target, parse_time
from deltalite.exceptions import InvalidArgumentError

UTC = dt.timezone.utc
names = st.text("abc./_-~ é:", min_size=1)


@settings(deadline=None)
@given(names)
def test_text_without_a_mark_is_a_place(name):
    assert parse_target(name) == Target(name)


@settings(deadline=None)
@given(names, st.integers(0, 10**9), st.sampled_from(["", "v", "V"]))
def test_a_number_is_a_version(name, version, mark):
    assert parse_target(f"{name}@{mark}{version}") == Target(name, version=version)


@settings(deadline=None)
@given(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(9000, 1, 1)), st.sampled_from(["T", " "]))
def test_a_time_is_a_time_in_utc(moment, letter):
    text = moment.isoformat(letter)
    assert parse_target(f"t@{text}") == Target("t", timestamp=moment.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2026-11-01", dt.datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:00", dt.datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01T10:00Z", dt.datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01T10:00:00.5+01:30", dt.datetime(2026, 11, 1, 8, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-11-01T10:00-0200", dt.datetime(2026, 11, 1, 12, tzinfo=UTC)),
    ],
)
def test_forms_of_time(text, expected):
    assert parse_time(text) == expected


@pytest.mark.parametrize("text", ["2026-13-01", "2026-11-01T25:00", "0001-01-01T00:00+23:59", "yesterday", "7d", ""])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InvalidArgumentError, match="no point in time"):
        parse_time(text)


def test_how_long_ago():
    now = dt.datetime(2026, 11, 20, tzinfo=UTC)
    assert parse_time("7d", now) == now - dt.timedelta(days=7)
    assert parse_time("90m", now) == now - dt.timedelta(minutes=90)


@pytest.mark.parametrize(
    "place",
    [
        "abfss://container@account.dfs.core.windows.net/tables/events",
        "abfss://container@account.dfs.core.windows.net",
        "sftp://user@host/events",
        "sftp://user@host",
        "./mail@home/events",
    ],
)
def test_an_at_sign_inside_a_place_is_part_of_it(place):
    assert parse_target(place) == Target(place)


def test_a_url_with_a_user_and_a_version():
    place = "abfss://container@account.dfs.core.windows.net/events"
    assert parse_target(f"{place}@v3") == Target(place, version=3)


def test_a_path_that_exists_literally_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_target("events@12") == Target("events", version=12)
    (tmp_path / "events@12").mkdir()
    assert parse_target("events@12") == Target("events@12")
    assert parse_target("events@12@3") == Target("events@12", version=3)


def test_a_name_is_a_tag():
    for name in ("release-1", "-1", "v1.0", "12th", "7d", "2026-11"):
        assert parse_target(f"events@{name}") == Target("events", tag=name)
    assert parse_target("s3://bucket/events@release") == Target("s3://bucket/events", tag="release")
    assert parse_target("s3://bucket@release") == Target("s3://bucket@release")


def test_points_that_options_take():
    now = dt.datetime(2026, 11, 20, tzinfo=UTC)
    assert parse_point("t", "12", now) == parse_point("t", "v12") == Target("t", version=12)
    assert parse_point("t", "7d", now) == Target("t", timestamp=now - dt.timedelta(days=7))
    assert parse_point("t", "@7d", now) == parse_point("t", "7d") == Target("t", tag="7d")
    assert parse_point("t", "@release/3") == Target("t", tag="release/3")


def test_durations_are_hours():
    assert [parse_hours(text) for text in ("168h", "7d", "168", "90m", "1w", "0h")] == [168, 168, 168, 1.5, 168, 0]
    for text in ("", "h", "-1h", "1y", "one day"):
        with pytest.raises(InvalidArgumentError, match="no duration"):
            parse_hours(text)


@pytest.mark.parametrize("text", ["events@", "events@ ", "events@2026-13-01", "@12"])
def test_an_unknown_suffix_is_refused_with_the_forms(text):
    with pytest.raises(InvalidArgumentError) as error:
        parse_target(text)
    assert "2026-11-01T10:00" in (error.value.hint or "") or "TABLE@VERSION" in (error.value.hint or "")
