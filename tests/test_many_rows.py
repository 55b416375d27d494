"""Time and memory of import, leak check and split, and what they find of planted near duplicates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import data, rows


def measured(folder: Path, count: int) -> tuple[data.Side, list[tuple[str, str, str]]]:
    file = folder / "rows.jsonl"
    with file.open("w") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows.rows(count))
    planted = [(pair.original, pair.copy, pair.kind) for pair in rows.planted(count)]
    return data.measured("bench", file, folder), planted


def test_planted_near_duplicates_are_found_and_sound_rows_stay(tmp_path: Path) -> None:
    """Of 20,000 rows, in seconds and a few times the memory that the file takes."""
    side, planted = measured(tmp_path, 20_000)
    dropped, parted = data.found(side, planted)
    assert parted.total() > 150
    assert dropped.total() > 0.9 * parted.total()
    assert data.sound_rows_dropped(side, planted, 20_000) < 20
    assert side.seconds < 20
    assert side.memory < 300


@pytest.mark.slow
def test_a_hundred_thousand_rows_take_a_minute_and_a_gigabyte_at_most(tmp_path: Path) -> None:
    """Of one core."""
    side, _ = measured(tmp_path, 100_000)
    assert side.seconds < 60
    assert side.memory < 1000
