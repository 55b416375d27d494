"""Forgetting: the loss on a fixed text before and after tuning, measured from stored weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from records import make_record
from runs import course, job_for, mini_run
from served import FULL, LORA, QLORA, finished

from bench.cli import run_verb
from bench.errors import Incomparable, RecordError, RequestError
from bench.metrics import forgetting
from bench.registry import TWINS
from bench.run import attempt
from bench.run.job import PENDING
from bench.spec import Budget
from bench.store.forgetting import FILE, Forgetting, keep, measured
from bench.store.ledger import Ledger, Stored, read
from bench.store.record import Record


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """A run of a twin with its weights, in a ledger of its own."""
    return copied(LORA, tmp_path)


def copied(model: str, out: Path) -> Stored:
    run = finished(model)
    place = out / "runs" / run.record.id
    shutil.copytree(run.folder, place, ignore=shutil.ignore_patterns(FILE))
    return Stored(read(place), place)


def asked(capsys: pytest.CaptureFixture[str], out: Path, *words: str) -> tuple[int, str]:
    code = run_verb(["score", *words, "--out", str(out)])
    streams = capsys.readouterr()
    return code, streams.out + streams.err


def plain_losses(model: Any, tokenizer: Any) -> list[float]:
    """The same by the model's own loss."""
    import torch

    losses = []
    for text in forgetting.paragraphs():
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            losses.append(float(model(input_ids=ids, labels=ids).loss))
    return losses


def test_the_text_is_a_page_and_part_of_the_columns_name() -> None:
    """A changed letter would be another column, so it is not changed unnoticed."""
    texts = forgetting.paragraphs()
    assert len(texts) == 16
    assert sum(len(text.split()) for text in texts) == 909
    assert all(text.isascii() for text in texts)
    assert forgetting.identity() == "forgetting/1 text=prose@81e1a1f2 nats/token"


def test_both_sides_are_the_losses_of_the_checkpoint_and_of_the_adapter(
    stored: Stored, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As transformers and PEFT alone compute them; a twin has little to forget, so no direction is held."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    code, text = asked(capsys, tmp_path, stored.record.id, "--metrics", "forgetting,em")
    assert code == 0
    assert "written: metrics.json and forgetting.json beside 1 record" in text
    made = measured(stored)
    assert made is not None
    tokenizer = AutoTokenizer.from_pretrained(TWINS / "gpt2")
    model = AutoModelForCausalLM.from_pretrained(TWINS / "gpt2", dtype="float32").eval()
    assert made.before == pytest.approx(plain_losses(model, tokenizer), abs=1e-4)
    tuned = PeftModel.from_pretrained(model, stored.folder / "adapter").eval()
    assert made.after == pytest.approx(plain_losses(tuned, tokenizer), abs=1e-4)
    assert abs(sum(made.after) - sum(made.before)) > 0.1 * len(made.after)
    assert run_verb(["show", stored.record.id, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert f"forgetting is {forgetting.identity()}" in shown
    assert f"{sum(made.after) / 16:.3f}" in shown
    assert run_verb(["report", "--out", str(tmp_path), "--json"]) == 0
    (column,) = [
        each
        for each in json.loads(capsys.readouterr().out)["groups"][0]["rows"][0]["added"]
        if each["metric"] == forgetting.identity()
    ]
    assert column["gain"]["mean"] == pytest.approx((sum(made.after) - sum(made.before)) / 16)
    assert column["examples"] == 16
    assert "forgetting (95%)" in (tmp_path / "leaderboard.md").read_text()


def test_what_was_not_kept_cannot_be_measured(
    stored: Stored, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (stored.folder / "adapter" / "adapter_model.safetensors").unlink()
    code, text = asked(capsys, tmp_path, stored.record.id, "--metrics", "forgetting")
    assert code == 2
    assert "adapter_model.safetensors was deleted; a record keeps its answers without weights" in text
    assert not (stored.folder / FILE).exists()
    with pytest.raises(Incomparable):
        forgetting.measure(stored)


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["--metrics", "em", "--base", "."], "--base is of the metric 'forgetting'"),
        (["--metrics", "forgettin"], "did you mean 'forgetting'?"),
    ],
)
def test_wrong_requests_are_one_line(
    stored: Stored, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], remedy: str
) -> None:
    code, text = asked(capsys, tmp_path, stored.record.id, *words)
    assert (code, remedy in text) == (2, True), text


def made_up(stored: Stored, **changes: Any) -> Forgetting:
    from bench.store.forgetting import weights_digest

    body = {"before": [4.0, 3.0], "after": [5.0, 3.5], "metric": forgetting.identity()}
    fields = {"record": stored.record.id, "weights": weights_digest(stored), **body, **changes}
    return Forgetting(**fields)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"record": "another"}, "is of other weights than this record's"),
        ({"weights": "0" * 64}, "is of other weights than this record's"),
        ({"after": [5.0]}, "does not hold two losses of every paragraph"),
    ],
)
def test_a_measurement_of_something_else_is_refused(
    stored: Stored, changes: dict[str, Any], fault: str
) -> None:
    keep(stored, made_up(stored, **changes))
    with pytest.raises(RecordError, match=fault):
        measured(stored)


def test_an_edited_measurement_is_refused_and_a_merge_takes_a_whole_one_along(
    stored: Stored, tmp_path: Path
) -> None:
    keep(stored, made_up(stored))
    held = measured(stored)
    assert held is not None
    target = tmp_path / "both"
    assert run_verb(["merge", str(tmp_path), "--out", str(target)]) == 0
    place = target / "runs" / stored.record.id
    assert measured(Stored(read(place), place)) == held
    file = stored.folder / FILE
    file.write_text(file.read_text().replace("5.0", "4.0"))
    with pytest.raises(RecordError, match="does not match its digest"):
        measured(stored)


@pytest.mark.slow
def test_a_model_without_a_loss_on_text_is_named_and_of_several_left_out(
    stored: Stored, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copied(FULL, tmp_path)
    code, text = asked(capsys, tmp_path, FULL, "--metrics", "forgetting")
    assert (code, "has no loss on text alone" in text) == (2, True)
    code, text = asked(capsys, tmp_path, "all", "--metrics", "forgetting")
    assert (code, "has no loss on text alone" in text) == (0, True)
    assert measured(stored) is not None


@pytest.mark.slow
def test_four_bit_models_and_whole_ones_are_measured(tmp_path: Path) -> None:
    """Each as its run loaded it: through Unsloth where that trained it, and a base of its own."""
    four_bit = forgetting.measure(copied(QLORA, tmp_path))
    assert four_bit.before != four_bit.after
    run, twin = mini_run("gpt2", steps=2, new_tokens=4, method="full", learning_rate=1e-3)
    ledger = Ledger(tmp_path)
    workspace = ledger.workspace(run.id)
    chosen = course(limit=20)
    attempt.execute(
        job_for(run, twin, replace(chosen, followed=chosen.followed[:4]), workspace), emit=lambda event: None
    )
    record = Record.model_validate_json((workspace / PENDING).read_bytes())
    (workspace / PENDING).unlink()
    whole = forgetting.measure(Stored(record, ledger.publish(record, workspace)))
    lora = forgetting.measure(copied(LORA, tmp_path))
    assert whole.before == pytest.approx(lora.before, abs=1e-4), "one checkpoint, however it is tuned"
    assert whole.after != whole.before


def test_a_record_of_another_objective_is_refused_by_name() -> None:
    from records import make_run

    class Held:
        run = make_run("bart-large-xsum")
        id = run.id

    class Only:
        record = Held

    with pytest.raises(RequestError, match="'bart-large-xsum' writes one text from another"):
        forgetting.measure(Only())  # type: ignore[arg-type]


def test_a_run_that_was_not_trained_has_forgotten_nothing(tmp_path: Path) -> None:
    """Among several runs of a model it is passed over with this line."""
    trained = make_record(tmp_path, "gpt2")
    run = trained.record.run
    contract = run.contract.model_copy(update={"budget": Budget(steps=0, effective_batch=8)})
    record = trained.record.model_copy(update={"run": run.model_copy(update={"contract": contract})})
    assert forgetting.unfit(trained) == ""
    assert "was not trained" in forgetting.unfit(replace(trained, record=record))
