"""Inputs that every engine reads: made once, deterministic, kept in the cache directory."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

__all__ = ["cached"]


def cached(place: Path, build: Callable[[Path], None]) -> Path:
    """``place``, built under another name first so that an interrupted build leaves nothing to be mistaken for it."""
    if not place.exists():
        unfinished = place.with_name(f".{place.name}-{uuid.uuid4().hex}")
        try:
            build(unfinished)
            os.replace(unfinished, place)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return place
