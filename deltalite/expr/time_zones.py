"""Local time and UTC, for whole arrays of microseconds.

The rules come from ``zoneinfo``: Arrow's own kernels know no daylight saving after 2037 and move times in a gap
elsewhere than Java does. Offsets are computed from the transitions of the years that occur, so seconds-exact local
mean times of the 19th century come out right as well.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

import numpy as np

from deltalite.expr.literals import parse_offset, zone_info

SECOND = 1_000_000
DAY = 86_400 * SECOND
_DAY_SECONDS = 86_400
_UTC = dt.timezone.utc


def to_local(utc: np.ndarray, zone: str) -> np.ndarray:
    """Instants in microseconds since 1970 to what the clocks of the zone showed."""
    fixed = parse_offset(zone)
    if fixed is not None:
        return utc + (fixed // dt.timedelta(microseconds=1))
    starts, offsets, _ = _breaks(utc, zone)
    return utc + offsets[np.searchsorted(starts, utc // SECOND, "right") - 1] * SECOND


def to_utc(local: np.ndarray, zone: str) -> np.ndarray:
    """What clocks showed to instants. A time that occurs twice is the earlier one; a time that is skipped counts on
    from before the gap, as in Java."""
    fixed = parse_offset(zone)
    if fixed is not None:
        return local - (fixed // dt.timedelta(microseconds=1))
    _, offsets, local_starts = _breaks(local, zone)
    return local - offsets[np.searchsorted(local_starts, local // SECOND, "right") - 1] * SECOND


def _breaks(micros: np.ndarray, zone: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """When (UTC seconds) which offset begins, and from which local second on it rules, for the years that occur."""
    years = np.unique((micros // DAY).astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970)
    needed = sorted({int(y) + step for y in years for step in (-1, 0, 1)}) or [1970]
    pieces = [_year(zone, year) for year in needed]
    flat = [change for piece in pieces for change in piece]
    starts, before, after = (np.array(column, dtype=np.int64) for column in zip(*flat, strict=True))
    return starts, after, starts + np.maximum(before, after)


@lru_cache(maxsize=20_000)
def _year(zone: str, year: int) -> tuple[tuple[int, int, int], ...]:
    """``(second, offset before, offset after)`` for the begin of a year and each change of offset within it.

    Beyond the years of Python, the rules repeat every 400 years; before them, the oldest offset holds.
    """
    known = min(max(year, 2), 9200 + year % 400) if year > 9000 else max(year, 2)
    info = zone_info(zone)
    start = dt.datetime(known, 1, 1, tzinfo=_UTC)
    shift = _first_second(year) - _first_second(known)
    days = (dt.datetime(known + 1, 1, 1, tzinfo=_UTC) - start).days
    offset = _offset(start, info)
    found = [(int(start.timestamp()) + shift, offset, offset)]
    if year != known and year < 2:
        return tuple(found)
    for day in range(days):
        here = start + dt.timedelta(days=day + 1)
        later = _offset(here, info)
        if later != offset:
            moment = _change(here - dt.timedelta(days=1), info, offset)
            found.append((int(moment.timestamp()) + shift, offset, later))
            offset = later
    return tuple(found)


def _first_second(year: int) -> int:
    return int(np.datetime64(year - 1970, "Y").astype("datetime64[D]").astype(np.int64)) * _DAY_SECONDS


def _offset(moment: dt.datetime, info: dt.tzinfo) -> int:
    offset = moment.astimezone(info).utcoffset()
    return 0 if offset is None else offset // dt.timedelta(seconds=1)


def _change(day: dt.datetime, info: dt.tzinfo, before: int) -> dt.datetime:
    """The first second of a day at which the offset is no longer ``before``."""
    low, high = 0, _DAY_SECONDS
    while low < high:
        middle = (low + high) // 2
        if _offset(day + dt.timedelta(seconds=middle), info) == before:
            low = middle + 1
        else:
            high = middle
    return day + dt.timedelta(seconds=low)
