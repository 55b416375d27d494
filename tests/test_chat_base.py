"""An instruct model in a foreign template: its base is asked in its own chat template too, and both told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from records import make_record
from runs import course, job_for, mini_run

from bench.cli import run_verb
from bench.digest import file_digest
from bench.harness import harness
from bench.judge.board import Board, board
from bench.judge.doubts import Code
from bench.render import export
from bench.render.card import model_card
from bench.render.page import page
from bench.render.text import leaderboard
from bench.run import attempt
from bench.run.job import PENDING
from bench.score.rows import means
from bench.stats import Interval, paired_interval
from bench.store.ledger import Ledger, Stored
from bench.store.record import BASE, BASE_CHAT, SCORES, Estimate, Record

TEMPLATE = "{% for each in messages %}Question: {{ each.content }}\nAnswer:\n{% endfor %}"
OTHER = "{% for each in messages %}<<{{ each.content }}>>{% endfor %}"
Carried = Callable[..., Record]


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Carried:
    """Carry out one run of GPT-2's twin with a chat template, into a ledger."""

    def carry(out: Path, chat: str | None, seed: int = 0, **options: str) -> Record:
        run, twin = mini_run("gpt2", steps=1, new_tokens=6, seed=seed)
        run = run.model_copy(update={"harness": harness()})
        if options:
            run = run.model_copy(update={"contract": run.contract.model_copy(update=options)})
        folder = tmp_path_factory.mktemp("model") / "twin"
        shutil.copytree(twin, folder)
        described = json.loads((folder / "tokenizer_config.json").read_text())
        changed = {**described, "chat_template": chat} if chat else described
        (folder / "tokenizer_config.json").write_text(json.dumps(changed))
        ledger = Ledger(out)
        workspace = ledger.workspace(run.id)
        few = replace(course(), train=course().train[:8], eval=course().eval[:6], followed=())
        job = job_for(run, folder, few, workspace, untuned=str(ledger.untuned))
        attempt.execute(job, emit=lambda _: None)
        record = Record.model_validate_json((workspace / PENDING).read_bytes())
        (workspace / PENDING).unlink()
        ledger.publish(record, workspace)
        return record

    return carry


@pytest.fixture(scope="module")
def stored(carried: Carried, tmp_path_factory: pytest.TempPathFactory) -> list[Stored]:
    out = tmp_path_factory.mktemp("reports")
    for seed in (0, 1):
        carried(out, OTHER, seed)
    records, messages = Ledger(out).load()
    assert messages == []
    return records


def test_both_bases_are_answered_scored_and_sealed(stored: list[Stored]) -> None:
    first, second = (each.record for each in stored)
    assert {"tuned", BASE, BASE_CHAT} <= set(first.scores)
    assert set(first.written) == {"tuned", BASE, BASE_CHAT}
    lines = stored[0].completions
    assert any(line[BASE] != line[BASE_CHAT] for line in lines)
    assert first.scores[BASE_CHAT] == second.scores[BASE_CHAT]
    assert second.base_from == first.id


def test_a_second_seed_takes_both_answers_from_the_first(stored: list[Stored]) -> None:
    kept = list((stored[0].folder.parent.parent / ".untuned").glob("*.json"))
    assert len(kept) == 2


def test_the_gain_is_over_the_better_base(stored: list[Stored]) -> None:
    record = stored[0].record
    over = max((BASE, BASE_CHAT), key=lambda row: record.scores[row]["rougeL"].mean)
    assert record.gain_over == over
    expected = record.scores["tuned"]["rougeL"].mean - record.scores[over]["rougeL"].mean
    assert record.gain["rougeL"].mean == pytest.approx(expected)


def test_a_chat_template_that_says_the_same_gives_the_same_base(carried: Carried, tmp_path: Path) -> None:
    record = carried(tmp_path, TEMPLATE)
    assert record.scores[BASE] == record.scores[BASE_CHAT]
    assert record.gain_over == BASE


@pytest.mark.parametrize(("template", "options"), [(None, {}), (OTHER, {"template": "chat"})])
def test_one_base_where_there_is_no_other_template(
    carried: Carried, template: str | None, options: dict[str, str], tmp_path: Path
) -> None:
    record = carried(tmp_path, template, **options)
    assert BASE_CHAT not in record.scores
    assert record.gain_over == BASE


def test_a_template_that_cannot_be_rendered_is_told_and_stops_nothing(
    carried: Carried, tmp_path: Path
) -> None:
    record = carried(tmp_path, "{{ raise_exception('system first') }}")
    assert BASE_CHAT not in record.scores
    assert any("cannot be rendered (system first)" in reason for reason in record.backend.fallbacks)


def estimates(values: dict[str, Interval]) -> dict[str, Estimate]:
    return {kind: Estimate(mean=each.mean, low=each.low, high=each.high) for kind, each in values.items()}


def with_two_bases(out: Path, seeds: tuple[int, ...]) -> list[Stored]:
    """Records in which the base in its own chat template scores .03 more, as a run would seal them."""
    ledger = Ledger(out)
    for seed in seeds:
        stored = make_record(out / "plain", "gpt2", seed)
        record, content = stored.record, stored.scores
        table = content["rows"]
        table[BASE_CHAT] = {
            kind: {part: [min(1.0, value + 0.03) for value in values] for part, values in parts.items()}
            for kind, parts in table[BASE].items()
        }
        groups = [group or id for group, id in zip(content["groups"], content["ids"], strict=True)]
        gain = {
            kind: paired_interval(table[BASE_CHAT][kind]["f"], parts["f"], groups)
            for kind, parts in table["tuned"].items()
        }
        folder = ledger.workspace(record.id)
        for file in stored.folder.iterdir():
            shutil.copy(file, folder / file.name)
        (folder / SCORES).write_text(json.dumps(content))
        chat = estimates(means(table, groups)[BASE_CHAT])
        changed = {
            "scores": {**record.scores, BASE_CHAT: chat},
            "gain": estimates(gain),
            "gain_over": BASE_CHAT,
            "files": {**record.files, SCORES: file_digest(folder / SCORES)},
        }
        ledger.publish(record.model_copy(update=changed), folder)
    records, messages = ledger.load()
    assert messages == []
    return records


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_board_page_card_and_data_show_both_and_the_gain_over_the_better(
    tmp_path: Path, seeds: tuple[int, ...]
) -> None:
    records = with_two_bases(tmp_path, seeds)
    shown: Board = board(records)
    (row,) = shown.groups[0].rows
    base, chat = row.base["rougeL"].mean, row.chat["rougeL"].mean
    assert row.gained_over is row.chat
    assert row.gain["rougeL"].mean == pytest.approx(row.tuned["rougeL"].mean - chat)
    assert Code.CHAT_BASE in {doubt.code for doubt in row.doubts}
    told = f"base {base:.3f}, in its own chat template {chat:.3f}"
    for text in (leaderboard.terminal(shown, 80), leaderboard.markdown(shown), page(shown)):
        flat = " ".join(text.split())
        assert told in flat
        assert "'over base' is over the better" in flat.replace("&#39;", "'")
    (data,) = export.as_data(shown)["groups"][0]["rows"]
    assert data["gain_over"] == BASE_CHAT
    assert data["base_chat"]["rougeL"]["mean"] == pytest.approx(chat)
    assert export.rows(shown)[0]["rougeL_base_chat"] == pytest.approx(chat)
    assert "tuned over untuned in its own chat template" in model_card(records[0].record)


def test_a_gain_over_a_row_that_is_not_there_is_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = make_record(tmp_path)
    changed = stored.record.model_copy(update={"gain_over": BASE_CHAT})
    folder = Ledger(tmp_path).workspace("changed")
    for file in stored.folder.iterdir():
        shutil.copy(file, folder / file.name)
    Ledger(tmp_path).publish(changed, folder)
    assert run_verb(["check", "--out", str(tmp_path)]) == 2
    assert "is no record of this program" in capsys.readouterr().out


def test_records_of_before_are_read_as_they_were(tmp_path: Path) -> None:
    """They have one base and do not say what their gain is over."""
    body = json.loads((make_record(tmp_path).folder / "record.json").read_text())
    del body["gain_over"], body["digest"]
    record = Record.model_validate(body)
    assert record.gain_over == BASE
