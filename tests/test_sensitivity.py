"""Planted faults: each drops the tuned score, or is refused.

What this program promises is only worth something if a broken harness is seen. Every fault is
one that was found in public fine-tuning code. The table of scores is printed at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import REPORT
from runs import course, mini_run, prompts

from bench import stats
from bench.data.prepare import training_order
from bench.errors import BudgetMismatch, LossMisplaced
from bench.run.answers import generate
from bench.run.encode import encode_all
from bench.run.identity import Run
from bench.score.rouge import Rouge
from bench.spec import Example
from bench.train import fit as fitting
from bench.train.encoded import IGNORED, Encoded
from bench.train.fit import fit
from bench.train.load import Loaded, load

MODEL = "phi-1.5"
QUESTIONS = 120


@dataclass
class Attempt:
    """Per-example ROUGE-L and the words written."""

    scores: list[float]
    words: float

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)


def attempt(
    workspace: Path,
    encode: Callable[[Run, Loaded, list[Example]], list[Encoded]] | None = None,
    answer: Callable[[Run, Loaded, list[list[int]]], list[Any]] | None = None,
    template: str = "qa",
    **recipe: Any,
) -> Attempt:
    """One whole run of a twin, with parts replaced."""
    run, folder = mini_run(MODEL, steps=60, new_tokens=64, method="lora", optimizer="adamw_torch", **recipe)
    selection = course()
    loaded = load(run, folder)
    order = training_order(selection.train, run.contract.budget, 0)
    rows = encode(run, loaded, order) if encode else encode_all(order, loaded.tokenizer, "qa", 512, "causal")
    with pytest.MonkeyPatch.context() as patch:
        if encode:  # the score is what such labels would cost if nothing refused them
            with pytest.raises(LossMisplaced):
                fit(run, loaded, rows, workspace / "refused", report=lambda *_: None)
            patch.setattr(fitting, "check_supervision", lambda *_: None)
        fit(run, loaded, rows, workspace, report=lambda *_: None)
    asked = run.model_copy(update={"contract": run.contract.model_copy(update={"template": template})})
    examples = selection.eval[:QUESTIONS]
    ids = prompts(asked, loaded, examples)
    complete = answer or (
        lambda run, loaded, ids: generate.complete(
            loaded.model, loaded.tokenizer, ids, run.contract.decoding, "causal"
        )
    )
    texts = [completion.text for completion in complete(run, loaded, ids)]
    rouge = Rouge()
    scores = [rouge.score(e.answers, text)["rougeL"].f for e, text in zip(examples, texts, strict=True)]
    return Attempt(scores, sum(len(text.split()) for text in texts) / len(texts))


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[dict[str, Attempt]]:
    found: dict[str, Attempt] = {}
    yield found
    sound = found.get("none")
    if sound is not None:
        lines = request.config.stash.setdefault(REPORT, [])
        lines.append(f"{'planted fault':<40}{'ROUGE-L':>7}  {'difference':>10}  words")
        for name, one in found.items():
            lines.append(f"{name:<40}{one.mean:7.3f}  {one.mean - sound.mean:+10.3f}  {one.words:5.1f}")


@pytest.fixture(scope="module")
def sound(table: dict[str, Attempt], tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    table["none"] = attempt(tmp_path_factory.mktemp("sound"))
    return table["none"]


def falls(table: dict[str, Attempt], name: str, sound: Attempt, faulty: Attempt) -> None:
    """The fault costs score, by a paired interval clear of zero."""
    table[name] = faulty
    interval = stats.paired_interval(sound.scores, faulty.scores)
    assert interval.high < 0, f"{name}: {interval}"


def relabelled(change: Callable[[list[int], list[int]], list[int]]) -> Callable[..., list[Encoded]]:
    def encode(run: Run, loaded: Loaded, order: list[Example]) -> list[Encoded]:
        rows = encode_all(order, loaded.tokenizer, "qa", 512, "causal")
        return [replace(row, labels=change(row.input_ids, row.labels)) for row in rows]

    return encode


def test_labels_shifted_by_one_more_are_refused_and_would_drop_the_score(
    table: dict[str, Attempt], sound: Attempt, tmp_path: Path
) -> None:
    """The double shift of the lecture-notes project."""
    shifted = relabelled(lambda ids, labels: [*labels[1:], IGNORED])
    falls(table, "labels shifted by one", sound, attempt(tmp_path, encode=shifted))


def test_a_masked_end_token_is_refused_and_would_make_answers_run_on(
    table: dict[str, Attempt], sound: Attempt, tmp_path: Path
) -> None:
    """What pad = end token does where padding is masked by id."""
    faulty = table["end token masked"] = attempt(
        tmp_path, encode=relabelled(lambda ids, labels: [*labels[:-1], IGNORED])
    )
    assert faulty.words > 1.1 * sound.words


def test_loss_on_the_prompt_too_is_refused(table: dict[str, Attempt], sound: Attempt, tmp_path: Path) -> None:
    """The table says what it would cost; on a model this small that can be little."""
    table["loss on the prompt as well"] = attempt(tmp_path, encode=relabelled(lambda ids, labels: list(ids)))


@pytest.mark.slow
def test_right_padding_in_generation_drops_the_score(
    table: dict[str, Attempt], sound: Attempt, tmp_path: Path
) -> None:
    def answer(run: Run, loaded: Loaded, ids: list[list[int]]) -> list[Any]:
        with pytest.MonkeyPatch.context() as patch:
            original = generate.padded
            patch.setattr(generate, "padded", lambda rows, pad, left: original(rows, pad, left=False))
            return generate.complete(loaded.model, loaded.tokenizer, ids, run.contract.decoding, "causal")

    falls(table, "right padding in generation", sound, attempt(tmp_path, answer=answer))


@pytest.mark.slow
def test_an_adapter_that_is_not_applied_drops_the_score(
    table: dict[str, Attempt], sound: Attempt, tmp_path: Path
) -> None:
    def answer(run: Run, loaded: Loaded, ids: list[list[int]]) -> list[Any]:
        with loaded.model.disable_adapter():
            return generate.complete(loaded.model, loaded.tokenizer, ids, run.contract.decoding, "causal")

    falls(table, "adapter not applied at evaluation", sound, attempt(tmp_path, answer=answer))


@pytest.mark.slow
def test_another_template_at_evaluation_drops_the_score(
    table: dict[str, Attempt], sound: Attempt, tmp_path: Path
) -> None:
    falls(table, "another template at evaluation", sound, attempt(tmp_path, template="instruct"))


def test_training_on_the_test_split_is_refused_by_the_selection() -> None:
    """Test examples handed in as training examples are removed as leaks, all of them."""
    from bench.data.prepare import without_leaks

    selection = course()
    kept, dropped = without_leaks(selection.eval, selection.eval)
    assert kept == []
    assert sum(dropped.values()) == len(selection.eval)


def test_training_on_too_little_is_refused_by_the_budget(tmp_path: Path) -> None:
    run, folder = mini_run(MODEL, steps=3)
    loaded = load(run, folder)
    rows = encode_all(course().train[:10], loaded.tokenizer, "qa", 512, "causal")
    with pytest.raises(BudgetMismatch):
        fit(run, loaded, rows, tmp_path, report=lambda *_: None)
