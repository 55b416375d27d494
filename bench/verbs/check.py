"""`bench check`: every mistake in specs, data and records, with file, key and remedy."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import registry
from bench.curate.files import direct
from bench.data import prepare, sources
from bench.errors import BenchError, RequestError, SpecError
from bench.files import is_file
from bench.judge.doubts import Code
from bench.judge.doubts.table import doubts
from bench.render.doubts import sentence
from bench.spec import ModelSpec
from bench.store.ledger import Ledger, Stored
from bench.train import local
from bench.verbs import Output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add where to look."""
    parser.add_argument(
        "--data", action="append", default=[], metavar="NAME=FILE", help="check a data file too"
    )
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR")


def execute(args: argparse.Namespace) -> Output:
    """Read everything that can be read here; exit 2 where there is a mistake."""
    mistakes = [*_specs(), *_data(args.data)]
    stored, unreadable = Ledger(args.out).load()
    mistakes += unreadable
    warnings = _warnings(stored)
    lines = [f"mistake  {text}" for text in mistakes] + [f"warning  {text}" for text in warnings]
    lines.append(
        f"{len(registry.spec_files('models'))} model specs, {len(registry.spec_files('datasets'))} dataset "
        f"specs, {len(stored)} records: {len(mistakes)} mistakes, {len(warnings)} warnings"
    )
    return Output(
        "\n".join(lines), {"mistakes": mistakes, "warnings": warnings}, exit_code=2 if mistakes else 0
    )


def _warnings(stored: list[Stored]) -> list[str]:
    """One line for each doubt, the models that share it together."""
    bearers: dict[str, list[str]] = {}
    for doubt in doubts(stored):
        if doubt.code != Code.MINI:  # every row of a laptop is a twin's, and says so on the board
            bearers.setdefault(sentence(doubt), []).append(doubt.model or "the whole board")
    return [f"{', '.join(models)}: {text}" for text, models in bearers.items()]


def _specs() -> list[str]:
    mistakes: list[str] = []
    for kind, load in (("models", registry.load_model), ("datasets", registry.load_dataset)):
        names: dict[str, Path] = {}
        for file in registry.spec_files(kind):
            try:
                spec = load(file)
            except SpecError as error:
                mistakes += str(error).splitlines()
                continue
            if spec.name in names:
                mistakes.append(f"{file}: '{spec.name}' is already registered by {names[spec.name]}")
            names[spec.name] = file
            if isinstance(spec, ModelSpec):
                mistakes += _architecture(file, spec)
    return mistakes


def _architecture(file: Path, spec: ModelSpec) -> list[str]:
    """The spec's architecture against the configurations on this machine: its twin's, its own folder's."""
    mistakes = []
    folders = [Path(spec.checkpoint), *([registry.TWINS / spec.twin] if spec.twin else [])]
    for folder in folders:
        config = folder / "config.json"
        if not is_file(config):
            continue
        try:
            classes = local.architectures(folder, local.read_json(config))
        except RequestError as error:
            mistakes.append(str(error))
            continue
        if spec.architecture not in classes:
            mistakes.append(
                f"{file}: 'architecture' is {spec.architecture}, but {config.parent.name}/config.json says "
                f"{', '.join(classes)}; correct it"
            )
    return mistakes


def _data(pairs: list[str]) -> list[str]:
    mistakes = []
    specs = {}
    for pair in pairs:
        name, _, file = pair.partition("=")
        try:
            specs[name] = direct.described(name, Path(file))
        except BenchError as error:
            mistakes += str(error).splitlines()
    known = registry.datasets()  # the broken ones are reported above
    for name, spec in {**known, **specs}.items():
        if spec.hub is not None:
            continue  # fetched only when a run asks for it
        try:
            spec = sources.from_file(known[name], Path(str(spec.file))) if name in known else spec
            prepare.check_parts(prepare.prepare(spec))
        except BenchError as error:
            mistakes += str(error).splitlines()
    return mistakes
