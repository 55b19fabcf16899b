"""DELETE, UPDATE, MERGE, upsert and replaceWhere against a plain evaluator over rows, for every kind of table."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltalite.features.deletion_vectors import removal
from rows import drawing
from rows.drawing import Shape
from rows.story import Story

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example]
FLAGS = [(v, f, t) for v in (True, False) for f in (True, False) for t in (True, False)]
IDS = ["-".join(n if on else f"no_{n}" for n, on in zip(("vectors", "feed", "ids"), f, strict=True)) for f in FLAGS]


@st.composite
def stories(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "partitioned": draw(st.booleans()),
        "mapped": draw(st.booleans()),
        "row_group": draw(st.sampled_from([1, 3, 1000])),
        "inline": draw(st.sampled_from([0, 500])),
        "live_share": draw(st.sampled_from([0.0, 0.5])),
        "steps": draw(drawing.story_steps()),
    }


def play(flags: tuple[bool, bool, bool], told: dict[str, Any]) -> None:
    shape = Shape(*flags, told["partitioned"], told["mapped"])
    remover = partial(removal.RowRemover, inline_characters=told["inline"], least_live_share=told["live_share"])
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(removal, "RowRemover", remover):
        story = Story(Path(folder) / "t", shape, told["row_group"])
        for step in told["steps"]:
            story.take(step)


LAW = settings(deadline=None, suppress_health_check=QUIET, derandomize=True)


@pytest.mark.parametrize("flags", FLAGS, ids=IDS)
@given(told=stories())
@settings(LAW, max_examples=6)
def test_operations_do_what_the_model_says(flags: tuple[bool, bool, bool], told: dict[str, Any]) -> None:
    play(flags, told)


@pytest.mark.nightly
@pytest.mark.parametrize("flags", FLAGS, ids=IDS)
@given(told=stories())
@settings(LAW, max_examples=60, derandomize=False)
def test_operations_do_what_the_model_says_at_length(flags: tuple[bool, bool, bool], told: dict[str, Any]) -> None:
    play(flags, told)
