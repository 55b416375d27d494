"""Which records stand in one table, and with which numbers."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from records import make_board, make_contract, make_failure, make_record

from bench.errors import RecordError
from bench.judge import board as boards
from bench.judge.board import MAIN, Board, board
from bench.judge.doubts import row_doubts
from bench.render.doubts import Badge, badge
from bench.render.page import page
from bench.render.text import leaderboard
from bench.run.identity import Backend
from bench.spec import DataRef
from bench.stats import Interval
from bench.store.ledger import Ledger, Stored, read
from bench.store.record import LeftOut, Record, Written, seal


def only(found: Board) -> boards.Group:
    """The group of a board that has one."""
    assert len(found.groups) == 1
    return found.groups[0]


def width(interval: Interval) -> float:
    """How far an interval reaches from end to end."""
    return interval.high - interval.low


def test_seeds_of_a_model_are_one_row(tmp_path: Path) -> None:
    """Three seeds of two models are two rows of three seeds."""
    group = only(board(make_board(tmp_path, ["gpt2", "phi-1.5"])))
    assert {row.model: row.seeds for row in group.rows} == {"gpt2": (0, 1, 2), "phi-1.5": (0, 1, 2)}


def test_a_row_is_the_mean_over_seeds_and_examples(tmp_path: Path) -> None:
    """Pooling averages what the records hold."""
    stored = [make_record(tmp_path, seed=seed) for seed in range(3)]
    row = only(board(stored)).rows[0]
    tuned = np.mean([one.scores["rows"]["tuned"][MAIN]["f"] for one in stored])
    base = np.mean([one.scores["rows"]["base"][MAIN]["f"] for one in stored])
    assert row.tuned[MAIN].mean == pytest.approx(tuned)
    assert row.gain[MAIN].mean == pytest.approx(tuned - base)
    assert row.gain[MAIN].low < row.gain[MAIN].mean < row.gain[MAIN].high


def test_the_gain_is_paired(tmp_path: Path) -> None:
    """Examples differ far more than the two answers to one example do."""
    row = only(board(make_board(tmp_path, ["gpt2", "phi-1.5", "llama-2-7b"]))).rows[0]
    assert width(row.gain[MAIN]) < 0.6 * np.hypot(width(row.tuned[MAIN]), width(row.base[MAIN]))


def test_rows_are_ordered_by_score_and_share_a_rank_when_close(tmp_path: Path) -> None:
    """A clear winner ranks alone; two equal models share a range."""
    stored = [
        *(make_record(tmp_path, "gpt2", seed, gain=0.30) for seed in range(3)),
        *(make_record(tmp_path, "llama-2-7b", seed, gain=0.05) for seed in range(3)),
        *(make_record(tmp_path, "llama-3.1-8b", seed, gain=0.099) for seed in range(3)),
    ]
    rows = only(board(stored)).rows
    assert rows[0].model == "gpt2"
    assert rows[0].rank == (1, 1)
    assert [row.rank for row in rows[1:]] == [(2, 3), (2, 3)]


def test_one_seed_keeps_the_records_own_interval(tmp_path: Path) -> None:
    """Without a second seed anywhere there is nothing to pool."""
    one = make_record(tmp_path)
    row = only(board([one])).rows[0]
    assert row.tuned[MAIN].low == one.record.scores["tuned"][MAIN].low
    assert row.gain[MAIN].high == one.record.gain[MAIN].high


def test_another_budget_is_another_table_that_says_why(tmp_path: Path) -> None:
    """Rows of two contracts are never ranked together."""
    short = make_record(tmp_path, finished="2026-11-20T12:00:00Z")
    long = make_record(tmp_path, contract=make_contract(steps=600))
    found = board([long, short])
    assert [group.contract.budget.steps for group in found.groups] == [60, 600]
    assert found.groups[0].apart == ""
    assert found.groups[1].apart == "budget.steps 600, not 60"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"scorer": "another"}, "scorer another, not "),
        ({"max_length": 64}, "max_length 64, not 512"),
        ({"eval": DataRef(name="dolly", digest=64 * "a")}, "eval.name dolly, not course-qa"),
    ],
)
def test_any_difference_of_contracts_separates(tmp_path: Path, changes: dict[str, object], why: str) -> None:
    """Scorer, length and data alike."""
    first = make_record(tmp_path, finished="2026-11-20T12:00:00Z")
    other = make_record(tmp_path, contract=make_contract(**changes))
    assert why in board([first, other]).groups[1].apart


def test_scales_are_never_ranked_together(tmp_path: Path) -> None:
    """A twin and its published checkpoint stand in two tables."""
    found = board(
        [make_record(tmp_path, finished="2026-11-20T12:00:00Z"), make_record(tmp_path, scale="full")]
    )
    assert [group.scale for group in found.groups] == ["mini", "full"]
    assert found.groups[1].apart == "scale full, not mini"


def test_other_evaluation_examples_are_another_table(tmp_path: Path) -> None:
    """The same contract on other examples, as after an edit of the data's cache, is not comparable."""
    found = board([make_record(tmp_path, n=60), make_record(tmp_path, "phi-1.5", n=50)])
    assert len(found.groups) == 2
    assert found.groups[1].apart == "scored on other evaluation examples"


def test_the_newest_versions_stand_for_a_model(tmp_path: Path) -> None:
    """An older set is counted and left out, whatever it scored."""
    old = [make_record(tmp_path, seed=seed, versions={"trl": "1.12.0"}, gain=0.3) for seed in range(3)]
    new = make_record(tmp_path, gain=0.05, finished="2026-11-21T10:00:00Z")
    group = only(board([*old, new]))
    assert group.rows[0].stored == (new,)
    assert group.left_out == 3


def test_models_may_stand_with_different_versions(tmp_path: Path) -> None:
    """Each model's newest set is its own."""
    stored = [make_record(tmp_path, "gpt2"), make_record(tmp_path, "phi-1.5", versions={"trl": "1.12.0"})]
    group = only(board(stored))
    assert len(group.rows) == 2
    assert group.left_out == 0


def test_reference_rows_are_the_records_own(tmp_path: Path) -> None:
    """Copying the question and the nearest answer, best first."""
    one = make_record(tmp_path)
    references = only(board([one])).references
    assert {row.name for row in references} == {"copy", "nearest"}
    assert references[0].scores[MAIN].mean >= references[1].scores[MAIN].mean
    for row in references:
        assert row.scores[MAIN].mean == one.record.scores[row.name][MAIN].mean


def test_failures_stand_with_their_contract(tmp_path: Path) -> None:
    """A failure of another contract makes a table of its own, without rows."""
    stored = [make_record(tmp_path, "gpt2")]
    here = make_failure(tmp_path, "phi-1.5")
    elsewhere = here.model_copy(
        update={"run": here.run.model_copy(update={"contract": make_contract(steps=4)})}
    )
    found = board(stored, [here, elsewhere])
    assert found.groups[0].failures == (here,)
    assert (found.groups[1].rows, found.groups[1].failures) == ((), (elsewhere,))


def test_a_failure_is_forgotten_once_the_seed_succeeded(tmp_path: Path) -> None:
    """Under newer versions it works; the older death is no news."""
    failure = make_failure(tmp_path, "gpt2", seed=0)
    late = make_record(tmp_path, "gpt2", versions={"trl": "1.14.0"}, finished="2026-11-21T10:00:00Z")
    assert only(board([late], [failure])).failures == ()
    early = make_record(tmp_path, "gpt2", versions={"trl": "1.14.1"}, finished="2026-11-01T10:00:00Z")
    assert only(board([early], [failure])).failures == (failure,)


def test_cost_averages_time_and_takes_the_highest_peak(tmp_path: Path) -> None:
    """Time differs by seed; memory is what must be there."""
    stored = [make_record(tmp_path, seed=seed) for seed in range(3)]
    cost = only(board(stored)).rows[0].cost
    assert cost.seconds == pytest.approx(np.mean([sum(one.record.spent.seconds.values()) for one in stored]))
    assert cost.memory == max(one.record.spent.peak_memory for one in stored)


def test_memory_is_the_gpus_where_there_is_one(tmp_path: Path) -> None:
    """Host memory says little of a run on a GPU."""
    one = make_record(tmp_path, scale="full")
    assert only(board([one])).rows[0].cost.memory == one.record.spent.peak_gpu_memory


def test_memory_is_that_of_training_where_stages_are_kept_apart(tmp_path: Path) -> None:
    """A large batch of answers may take more than training, and says nothing of what training needs."""
    one = make_record(tmp_path, scale="full")
    spent = one.record.spent.model_copy(
        update={"peak_gpu_memory": 60 << 30, "gpu_memory": {"train": 8 << 30, "generate tuned": 60 << 30}}
    )
    apart = make_record(tmp_path / "apart", scale="full", fields={"spent": spent})
    assert only(board([apart])).rows[0].cost.memory == 8 << 30


def test_many_records_are_not_read_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit no per-example score is opened, and intervals only widen."""
    stored = make_board(tmp_path, ["gpt2", "phi-1.5", "llama-2-7b"])
    exact = only(board(stored))
    monkeypatch.setattr(boards, "READ_AT_MOST", 8)
    for one in stored:
        (one.folder / "scores.json").unlink()
    coarse = only(board([Stored(one.record, one.folder) for one in stored]))
    assert (exact.exact, coarse.exact) == (True, False)
    for fine, wide in zip(exact.rows, coarse.rows, strict=True):
        assert wide.tuned[MAIN].mean == pytest.approx(fine.tuned[MAIN].mean)
        assert width(wide.gain[MAIN]) > 0.95 * width(fine.gain[MAIN])
        assert wide.rank[0] <= fine.rank[0] <= fine.rank[1] <= wide.rank[1]


def test_examples_are_paired_by_id_not_by_place(tmp_path: Path) -> None:
    """A record that lists its examples in another order gives the same board."""
    stored = make_board(tmp_path, ["gpt2", "phi-1.5"], seeds=(0, 1))
    before = only(board(stored))
    scores = stored[0].scores
    for part in ("ids", "groups", "categories"):
        scores[part] = scores[part][::-1]
    for kinds in scores["rows"].values():
        for values in kinds.values():
            for name in values:
                values[name] = values[name][::-1]
    text = json.dumps(scores)
    (stored[0].folder / "scores.json").write_text(text)
    files = {**stored[0].record.files, "scores.json": sha256(text.encode()).hexdigest()}
    turned = Stored(stored[0].record.model_copy(update={"files": files}), stored[0].folder)
    after = only(board([turned, *stored[1:]]))
    for left, right in zip(before.rows, after.rows, strict=True):
        assert left.gain[MAIN].high == pytest.approx(right.gain[MAIN].high)


def test_a_record_with_broken_scores_is_left_out_by_name(tmp_path: Path) -> None:
    """The rest of the board stands."""
    stored = make_board(tmp_path, ["gpt2", "phi-1.5"], seeds=(0, 1))
    (stored[0].folder / "scores.json").write_text("{}")
    for one in stored[2:]:
        (one.folder / "scores.json").unlink()
    found = board(stored)
    assert [(row.model, row.seeds) for row in only(found).rows] == [("gpt2", (1,))]
    assert [str(stored[0].folder) in message for message in found.messages] == [True, False, False]


def test_no_records_make_an_empty_board() -> None:
    """Nothing is not an error."""
    assert board([]).groups == ()


def badges(records: list[Record]) -> list[Badge]:
    """The badges of a row of these records."""
    return [badge(doubt) for doubt in row_doubts(records)]


def names(stored: Stored) -> list[str]:
    """The names of the badges of a row of one record."""
    return [shown.name for shown in badges([stored.record])]


def test_badges_say_what_a_reader_must_know(tmp_path: Path) -> None:
    """Fallback with its reason, one seed, mini, dirty tree."""
    one = make_record(tmp_path, fallbacks=["no Unsloth: not installed"], dirty=True)
    assert names(one) == ["fallback", "one seed", "mini", "dirty tree"]
    assert badges([one.record])[0].reason == "no Unsloth: not installed"
    assert names(make_record(tmp_path, "phi-1.5", scale="full")) == ["one seed"]


def test_badges_count_what_was_cut_or_repeated(tmp_path: Path) -> None:
    """Truncated training examples, repeated epochs, answers at the limit, empty answers."""
    one = make_record(tmp_path)
    spent = one.record.spent.model_copy(update={"truncated": 3})
    data = one.record.data.model_copy(update={"selected": {"train": 100, "test": 60}})
    written = Written(examples=60, mean_tokens=9, mean_words=7, empty=2, truncated=30, echoed=0, distinct=50)
    record = one.record.model_copy(update={"spent": spent, "data": data, "written": {"tuned": written}})
    found = {shown.name: shown for shown in badges([record])}
    assert (found["truncated"].amount, found["cut answers"].amount) == ("3", "30 of 60")
    assert found["empty answers"].amount == "2 of 60"
    assert "4.8 epochs" in found["repeated epochs"].reason
    assert "96 new tokens" in found["cut answers"].reason


def test_a_template_of_its_own_is_a_badge(tmp_path: Path) -> None:
    """Such a row was prompted otherwise than the rest."""
    one = make_record(tmp_path)
    model = one.record.run.model.model_copy(update={"template": "chat"})
    record = one.record.model_copy(update={"run": one.record.run.model_copy(update={"model": model})})
    assert "own template" in [shown.name for shown in badges([record])]


def test_every_fallback_of_a_row_is_named_once(tmp_path: Path) -> None:
    """Three seeds that fell back for one reason say it once."""
    stored = [make_record(tmp_path, seed=seed) for seed in range(2)]
    backend = Backend(
        name="peft", reason="r", fallbacks=("no 4-bit: no CUDA",), precision="fp32", quantisation=None
    )
    records = [one.record.model_copy(update={"backend": backend}) for one in stored]
    assert badges(records)[0].reason == "no 4-bit: no CUDA"


def test_a_copied_record_folder_is_no_further_seed(tmp_path: Path) -> None:
    """However often the best seed is copied, it counts once, and the copies are named."""
    best = make_record(tmp_path, "gpt2", seed=0, gain=0.2)
    make_record(tmp_path, "gpt2", seed=1)
    for number in range(8):
        shutil.copytree(best.folder, best.folder.with_name(f"copy-{number}"))
    stored, messages = Ledger(tmp_path).load()
    [row] = board(stored).groups[0].rows
    assert row.seeds == (0, 1)
    assert len(messages) == 8
    assert f"holds a copy of {best.record.id}, which counts once" in messages[0]


def test_a_record_under_another_runs_id_is_not_read(tmp_path: Path) -> None:
    """Its digest may be right; the run that it describes is another."""
    one = make_record(tmp_path, "gpt2", seed=0)
    forged = one.record.model_copy(update={"id": one.record.id.replace("-s0-", "-s7-")})
    folder = Path(shutil.copytree(one.folder, one.folder.with_name(forged.id)))
    (folder / "record.json").write_text(json.dumps(seal(forged)), encoding="utf-8")
    with pytest.raises(RecordError, match="but its run is"):
        read(folder)


def trial(out: Path, model: str = "gpt2", seed: int = 0) -> Stored:
    """A record of a run under `--with trl==1.14.0`, finished after all others."""
    pin = {"trl": "1.14.0"}
    return make_record(out, model, seed, versions=pin, trial=["trl==1.14.0"], finished="2026-11-21T10:00:00Z")


def test_a_trial_of_other_versions_takes_no_row_over(tmp_path: Path) -> None:
    """The newer runs under another TRL are a table of their own, named, below the installed one."""
    installed = make_record(tmp_path)
    tried = trial(tmp_path)
    first, second = board([installed, tried]).groups
    assert [row.stored[0].record.id for row in first.rows] == [installed.record.id]
    assert [row.stored[0].record.id for row in second.rows] == [tried.record.id]
    assert second.apart == "tried with trl==1.14.0"
    assert "with trl==1.14.0" in leaderboard.terminal(board([installed, tried]))


def test_what_was_asked_for_is_shown_before_what_is_newer(tmp_path: Path) -> None:
    """After a library was upgraded and put back, the same command shows its own rows again."""
    today = make_record(tmp_path)
    upgraded = make_record(tmp_path, versions={"trl": "1.15.0"}, finished="2026-11-22T10:00:00Z")
    assert only(board([today, upgraded])).rows[0].stored == (upgraded,)
    asked = board([today, upgraded], asked=[boards.setting(today.record.run)])
    assert only(asked).rows[0].stored == (today,)
    assert only(asked).left_out == 1


def left_out(model: str, contract: str) -> LeftOut:
    return LeftOut(
        model=model,
        scale="mini",
        contract=contract,
        why="gated",
        reason=f"model '{model}' is gated",
        when="2026-11-20T10:00:00+00:00",
    )


def test_a_model_that_could_not_run_is_listed_until_it_has_a_row(tmp_path: Path) -> None:
    """Of the same contract; and the next request for all models replaces the list."""
    stored, ledger = make_record(tmp_path, "gpt2"), Ledger(tmp_path)
    contract = stored.record.run.contract.digest
    ledger.leave_out(contract, "mini", [left_out("phi-1.5", contract), left_out("gpt2", contract)])
    shown = board([stored], left_out=[*ledger.left_out(), left_out("bart-large-xsum", "other")])
    assert [model.model for model in only(shown).missing] == ["phi-1.5"]
    for text in (leaderboard.markdown(shown), leaderboard.terminal(shown), page(shown)):
        assert "phi-1.5: gated; model" in text
    ledger.leave_out(contract, "mini", [])
    assert ledger.left_out() == []
