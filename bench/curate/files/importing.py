"""Users' files become one list of examples, with what was read, left out, decided and mended.

The result depends on the files' content and names alone: no date, no folder and no machine is part of it, and
the same rows give the same examples whatever kind of file they came in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.curate.files import shapes, tables
from bench.curate.files.repair import Repaired, repaired
from bench.curate.files.shapes import Reading, Turns
from bench.curate.files.tables import Source, Table
from bench.errors import DataError
from bench.spec import Columns, Example


@dataclass(frozen=True)
class Options:
    """What a user may decide; none of it is needed for files in usual forms."""

    columns: Columns = field(default_factory=Columns)
    encoding: str | None = None
    turns: Turns = "first"
    #: Whether texts that were decoded wrongly before are mended.
    mend: bool = True


@dataclass(frozen=True)
class Imported:
    """Examples of all files, in order, and their provenance."""

    examples: list[Example]
    sources: list[Source | str]
    #: One line for each table: its form, its columns and what was decided to read it.
    tables: list[str]
    #: Reason -> rows: "read", and every reason why a row became no example.
    counts: Counter[str]
    #: Reason -> cells or turns that were read in another way, or left out within a row.
    notes: Counter[str]
    repairs: Repaired
    #: Files and sheets that were passed over.
    left_out: list[str] = field(default_factory=list)

    def steps(self) -> list[str]:
        """What was read in another way, left out or mended, a line each."""
        read, repairs = self.counts["read"], self.repairs
        lines = [
            f"{count} of {read} rows: {reason}" for reason, count in self.counts.items() if reason != "read"
        ]
        lines += [f"{count} times: {reason}" for reason, count in sorted(self.notes.items()) if count]
        if repairs.texts:
            lines.append(f"{repairs.texts} texts mended that were decoded wrongly before")
            lines += [f'  "{old}" became "{new}"' for old, new in repairs.samples]
        if repairs.damaged:
            lines.append(
                f"{repairs.damaged} texts look as if they were decoded wrongly, and stay as they are; "
                "pip install 'bench-sft[data]' brings what mends them"
            )
        return [*lines, *(f"left out: {reason}" for reason in self.left_out)]


def import_files(paths: Sequence[Path], options: Options) -> Imported:
    """Read files and folders. Raises `DataError` naming file, row and remedy."""
    readings: list[Reading] = []
    described: list[str] = []
    left_out = [f"{name}: no data file" for name in tables.others_of(paths)]
    sources: list[Source | str] = []
    for name, file in tables.files_of(paths):
        sources.append(tables.source_of(name, file))
        for table in _tables(name, file, options.encoding):
            try:
                reading = shapes.read(table, options.columns, options.turns)
            except DataError as error:
                if not table.beside_others or ": row " in str(error):
                    raise
                left_out.append(str(error))
                continue
            readings.append(reading)
            described.append(_described(table, reading))
    return _imported(readings, described, sources, left_out, options, ", ".join(map(str, paths)))


def import_table(table: Table, source: str, options: Options) -> Imported:
    """Read one table, of whatever source. Raises `DataError` naming the row and a remedy."""
    reading = shapes.read(table, options.columns, options.turns)
    return _imported([reading], [_described(table, reading)], [source], [], options, table.place)


def _imported(
    readings: list[Reading],
    described: list[str],
    sources: list[Source | str],
    left_out: list[str],
    options: Options,
    place: str,
) -> Imported:
    counts, notes = shapes.totals(readings)
    examples = [example for reading in readings for example in reading.examples]
    mended = repaired(examples) if options.mend else Repaired(examples)
    if not mended.examples:
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "; ".join(left_out)
        raise DataError(f"{place}: no example ({reasons or 'no rows'})")
    return Imported(mended.examples, sources, described, counts, notes, mended, left_out)


def _tables(name: str, file: Path, encoding: str | None) -> list[Table]:
    try:
        found = tables.read(name, file, encoding)
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise DataError(f"{name}: does not fit in memory; part it into several files") from None
    if not any(table.rows for table in found):
        raise DataError(f"{name}: holds no row below its header")
    return found


def _described(table: Table, reading: Reading) -> str:
    words = [f"{reading.counts['read']} rows", str(reading.form), *table.remarks]
    return f"{table.place}: {', '.join(words)} ({reading.columns})"
