"""Options from the command line, from variables and from a file, through the real command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import config
from bench.cli import VERBS, parser_of, run_verb
from bench.store.ledger import Ledger

SMALL = ["--models", "gpt2", "--eval-limit", "4", "--max-new-tokens", "8", "--max-length", "192", "--force"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert run_verb(["plan", "--json", *words]) == 0, capsys.readouterr().err
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def seeds(data: dict[str, Any]) -> list[int]:
    return [run["seed"] for run in data["runs"]]


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run_verb(list(words)) == 2
    output = capsys.readouterr()
    assert "Traceback" not in output.err
    return output.err


def test_the_command_line_goes_before_a_variable_and_a_variable_before_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("it.toml").write_text("models = 'gpt2'\nseeds = [1]\n")
    data = planned(capsys, "--config", "it.toml")
    assert seeds(data) == [1]
    assert data["sources"]["seeds"] == {"value": "1", "from": "it.toml"}
    monkeypatch.setenv("BENCH_SEEDS", "2,3")
    data = planned(capsys, "--config", "it.toml")
    assert seeds(data) == [2, 3]
    assert data["sources"]["seeds"]["from"] == "BENCH_SEEDS"
    data = planned(capsys, "--config=it.toml", "--seeds", "4")
    assert seeds(data) == [4]
    assert list(data["sources"]) == ["models"]


def test_plan_tells_in_words_where_a_value_came_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_BUDGET", "smoke")
    assert run_verb(["plan", "--models", "gpt2"]) == 0
    assert "--budget smoke: from BENCH_BUDGET" in capsys.readouterr().out


def test_a_table_of_a_verb_goes_before_the_top_of_the_file_and_counts_for_that_verb_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("it.toml").write_text("models = 'gpt2'\nseeds = 1\njobs = 2\n[plan]\nseeds = 2\n[run]\nseeds = 3\n")
    assert seeds(planned(capsys, "--config", "it.toml")) == [2]


def test_a_variable_of_one_verb_goes_before_that_of_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_SEEDS", "1")
    monkeypatch.setenv("BENCH_PLAN_SEEDS", "2")
    monkeypatch.setenv("BENCH_RUN_SEEDS", "3")
    assert seeds(planned(capsys, "--models", "gpt2")) == [2]


def test_a_repeated_option_of_the_command_line_replaces_that_of_the_file(tmp_path: Path) -> None:
    Path("it.toml").write_text("data = ['a=b', 'c=d']\n")
    assert config.parsed(parser_of, "plan", ["--config", "it.toml", "plan"]).data == ["a=b", "c=d"]
    words = ["plan", "--data", "e=f", "--config", "it.toml"]
    assert config.parsed(parser_of, "plan", words).data == ["e=f"]


def test_a_repeated_option_is_written_in_a_variable_as_a_shell_would_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BENCH_DATA", "'a=my file' c=d")
    assert config.parsed(parser_of, "plan", ["plan"]).data == ["a=my file", "c=d"]


def test_a_flag_that_a_file_raises_is_taken_back_on_the_command_line() -> None:
    Path("it.toml").write_text("force = true\n")
    assert config.parsed(parser_of, "plan", ["plan", "--config", "it.toml"]).force is True
    assert config.parsed(parser_of, "plan", ["plan", "--config", "it.toml", "--no-force"]).force is False


def test_a_required_option_may_stand_in_the_file() -> None:
    Path("it.toml").write_text("[data.import]\nto = 'mine'\nlicence = 'MIT'\n")
    args = config.parsed(parser_of, "data", ["data", "import", "--config", "it.toml", "x.csv"])
    assert (args.to, args.licence) == ("mine", "MIT")


def test_options_that_exclude_each_other_do_so_wherever_they_stand(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_METRIC", "rouge1")
    words = ["bisect", "trl", "1", "2"]
    assert config.parsed(parser_of, "bisect", words).metric == "rouge1"
    args = config.parsed(parser_of, "bisect", [*words, "--fails"])
    assert (args.fails, args.metric) == (True, "rougeL")
    monkeypatch.setenv("BENCH_FAILS", "1")
    assert "exclude each other" in refused(capsys, *words)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sedes = 1", "it.toml: unknown option 'sedes'; did you mean 'seeds'?"),
        ("eval_limit = 1", "it.toml: unknown option 'eval_limit'; did you mean 'eval-limit'?"),
        ("[plna]\nseeds = 1", "it.toml: unknown table 'plna'; did you mean 'plan'?"),
        ("[run]\njbos = 1", "it.toml: unknown option of [run] 'jbos'; did you mean 'jobs'?"),
        ("[data.improt]\nto = 'x'", "it.toml: unknown table 'data.improt'; did you mean 'data.import'?"),
        ("config = 'other.toml'", "it.toml: unknown option 'config'"),
        ("eval-limit = -1", "it.toml: eval-limit: expected a whole number, at least 0, not '-1'"),
        ("scale = 'mega'", "it.toml: scale: 'mega' is none of auto, mini, full"),
        ("force = 'perhaps'", "it.toml: force: expected true or false, not 'perhaps'"),
        ("seeds = true", "it.toml: seeds: expected text or a number, not true"),
        ("seeds = [[1]]", "it.toml: seeds: expected text or a number"),
        ("test-fraction = 'x'", "it.toml: test-fraction: 'x' cannot be read"),
        ("seeds = ", "--config it.toml: Invalid value"),
    ],
)
def test_a_mistake_of_the_file_is_one_line_with_file_and_key(
    text: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("it.toml").write_text(text)
    said = refused(capsys, "plan", "--config", "it.toml")
    assert line in said
    assert said.count("\n") == 1


def test_all_unknown_keys_of_a_file_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("it.toml").write_text("sedes = 1\nmodles = 'x'\n")
    assert refused(capsys, "plan", "--config", "it.toml").count("did you mean") == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--config", "none.toml"], "none.toml: is not there"),
        (["--config", "."], ".: is a folder"),
        (["--config"], "argument --config: expected one argument"),
        (["--conf", "x.toml"], "--config must be written in full"),
    ],
)
def test_a_file_that_cannot_be_had_is_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in refused(capsys, "plan", *words)


def test_a_mistake_of_a_variable_names_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_EVAL_LIMIT", "many")
    assert "BENCH_EVAL_LIMIT: expected a whole number" in refused(capsys, "plan")
    monkeypatch.setenv("BENCH_EVAL_LIMIT", "20")
    monkeypatch.setenv("BENCH_BUDGET", "abc")
    assert "--budget abc: expected STEPSxBATCH" in (line := refused(capsys, "plan"))
    assert "(from BENCH_BUDGET)" in line


def test_an_empty_variable_is_unset(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_SEEDS", "")
    assert seeds(planned(capsys, "--models", "gpt2")) == [0]


def test_a_variable_may_name_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("it.toml").write_text("models = 'gpt2'\nseeds = 5\n")
    monkeypatch.setenv("BENCH_CONFIG", "it.toml")
    assert seeds(planned(capsys)) == [5]


def test_what_follows_two_dashes_is_no_option() -> None:
    args = config.parsed(parser_of, "ask", ["ask", "gpt2", "--", "--config", "x"])
    assert args.sources == {}
    assert args.config is None


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_every_verb_can_be_set_by_a_variable(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new verb or option is covered without a line of its own."""
    parsers = config.parsers_of(parser_of(verb), verb)
    every = {
        (config.variable(place, name), place, name)
        for place, parser in parsers.items()
        for name in config.options(parser)
    }
    assert every
    for variable, _, name in every:
        assert variable.startswith(f"BENCH_{verb.upper()}")
        monkeypatch.setenv(variable, name)
    from bench.config.levels import of_variables

    level = of_variables(parsers)
    assert {(given.source, place, name) for (place, name), given in level.items()} == every


def test_a_saved_plan_is_repeated_to_the_letter(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SMALL, "--seeds", "0,1", "--learning-rate", "5e-5", "--with", f"numpy=={installed('numpy')}"]
    data = planned(capsys, *words, "--save", "plan.toml")
    again = planned(capsys, "--config", "plan.toml")
    assert [run["id"] for run in again["runs"]] == [run["id"] for run in data["runs"]]
    assert again["contract"] == data["contract"]
    text = Path("plan.toml").read_text()
    assert 'scale = "mini"' in text  # not auto: elsewhere it would be another plan
    assert 'template = "qa"' in text  # a default may change
    assert all(run["id"] in text for run in data["runs"])


def installed(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def test_a_file_that_was_not_saved_by_plan_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    planned(capsys, *SMALL, "--save", "plan.toml")
    planned(capsys, *SMALL, "--save", "plan.toml")
    Path("mine.toml").write_text("seeds = 1\n")
    assert "give another name" in refused(capsys, "plan", *SMALL, "--save", "mine.toml")
    assert Path("mine.toml").read_text() == "seeds = 1\n"


@pytest.mark.slow
def test_a_saved_plan_is_run_and_the_record_names_a_command_that_needs_no_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = planned(capsys, *SMALL, "--budget", "2x8", "--save", "plan.toml")
    assert run_verb(["run", "--config", "plan.toml", "--jobs", "1"]) == 0
    (stored,) = Ledger(Path("reports")).load()[0]
    assert [stored.record.id] == [run["id"] for run in data["runs"]]
    assert stored.record.provenance.command.startswith("bench run --jobs 1 --models gpt2")
    assert "--budget 2x8" in stored.record.provenance.command
