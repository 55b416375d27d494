"""Valid records with realistic numbers, made without a model.

`make_record` writes one through `Ledger.publish`, so what the tests read went the way of real
records. Scores depend on model, seed and example only, unless asked otherwise: two records of
one model and seed under other package versions differ by `shift` and in `changed` of their examples,
and by nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bench import registry
from bench.digest import digest, file_digest
from bench.run.identity import Backend, Checkpoint, Run
from bench.run.plan import plan
from bench.spec import Budget, Contract, DataRef, Scale
from bench.store.ledger import Ledger, Stored
from bench.store.record import (
    COMPLETIONS,
    CURVE,
    LOG,
    PARTS,
    SCORES,
    Data,
    Estimate,
    Failure,
    Provenance,
    Record,
    Spent,
    Written,
    seal,
)

VERSIONS = {
    "bench": "0.1.0",
    "torch": "2.13.0+cpu",
    "transformers": "5.17.0",
    "tokenizers": "0.23.3",
    "accelerate": "1.15.0",
    "trl": "1.14.2",
    "peft": "0.21.2",
    "bitsandbytes": "0.50.2",
}
SCORER = "rouge:f1:stem:porter:split:newline:bench-0.1.0"
KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
LEVELS = {"rouge1": 0.30, "rouge2": 0.10, "rougeL": 0.22, "rougeLsum": 0.24}
ALL_MODELS = (
    "bart-large-xsum",
    "gpt-neo-1.3b",
    "gpt-neo-125m",
    "gpt2",
    "llama-2-7b",
    "llama-3.1-8b",
    "mistral-7b-v0.3",
    "phi-1.5",
)

Floats = NDArray[np.float64]


def make_contract(name: str = "course-qa", steps: int = 60, **changes: Any) -> Contract:
    """A contract over a data set of this name."""
    ref = DataRef(name=name, digest=digest(name))
    body: dict[str, Any] = {
        "train": ref,
        "eval": ref,
        "budget": Budget(steps=steps, effective_batch=8),
        "scorer": SCORER,
        "eval_limit": 250,
    }
    return Contract(**{**body, **changes})


def make_run(
    model: str = "gpt2",
    seed: int = 0,
    scale: Scale = "mini",
    versions: Mapping[str, str] | None = None,
    contract: Contract | None = None,
) -> Run:
    """A planned run; `versions` overrides those of `VERSIONS`."""
    spec = _spec(model)
    checkpoint = Checkpoint(source=f"twins/{spec.twin}", revision=digest(spec.twin), kind="twin")
    if scale == "full":
        checkpoint = Checkpoint(source=spec.checkpoint, revision=spec.revision, kind="hub")
    device = "cpu" if scale == "mini" else "cuda"
    return plan(
        [(spec, checkpoint)],
        [seed],
        contract or make_contract(),
        scale,
        device,  # type: ignore[arg-type]
        {**VERSIONS, **(versions or {})},
    )[0]


def make_record(
    out: Path,
    model: str = "gpt2",
    seed: int = 0,
    scale: Scale = "mini",
    versions: Mapping[str, str] | None = None,
    gain: float = 0.06,
    n: int = 60,
    texts: Mapping[str, Sequence[Any]] | None = None,
    *,
    contract: Contract | None = None,
    shift: float = 0.0,
    changed: float = 0.0,
    fallbacks: Sequence[str] = (),
    finished: str = "2026-11-20T10:00:00Z",
    commit: str | None = "0123abc" + 33 * "0",
    dirty: bool = False,
    platform: str = "Linux-6.1-x86_64",
    hardware: str = "2 x86_64 cores, 8 GB",
    extra_versions: Mapping[str, str] | None = None,
    leaked: int = 0,
    fields: Mapping[str, Any] | None = None,
    trial: Sequence[str] = (),
) -> Stored:
    """A record under `out`, as `Ledger.load` returns it.

    `gain` is the mean ROUGE-L of tuned over base; `shift` is added to the tuned scores (a regression: below
    zero); `changed` is the fraction of examples whose tuned answer and score differ from those of the
    default versions; `texts` overrides fields of the first completions, such as {"tuned": [...]};
    `extra_versions` are installed packages that are no part of the run's identity; to `leaked` of the
    questions the nearest training answer is the right one; `fields` overrides fields of the record itself;
    `trial` is what `--with` asked for.
    """
    run = make_run(model, seed, scale, versions, contract)
    rows = make_rows(run, n, gain, shift, changed)
    for kind in KINDS:
        rows["nearest"][kind]["f"][:leaked] = [0.95] * leaked
    scores = {"ids": _ids(n), "groups": _groups(n), "categories": _categories(n), "rows": rows}
    completions = _completions(run, n, changed, texts or {})
    ledger = Ledger(out)
    folder = ledger.workspace(f"{run.id}-made")
    _write(folder, scores, completions, make_curve(run))
    tuned, base = rows["tuned"], rows["base"]
    body: dict[str, Any] = {
        "id": run.id,
        "run": run,
        "backend": _backend(run, fallbacks),
        "data": Data(
            prepared={
                run.contract.eval.name: {"read": 984, "kept": 960, "exact duplicate": 20, "empty answer": 4}
            },
            selected={"train": 620, run.contract.eval_split: n, "near duplicate of the test part": 3},
            train_digest=digest(["train", run.contract.train.digest, seed]),
            eval_digest=digest(
                [[c[k] for k in ("id", "question", "context", "references")] for c in completions]
            ),
            reference_words=float(np.mean([len(str(c["references"][0]).split()) for c in completions])),
        ),
        "spent": make_spent(run),
        "scores": {
            row: {kind: _estimate(np.array(values[kind]["f"])) for kind in KINDS}
            for row, values in rows.items()
        },
        "gain": {kind: _estimate(np.array(tuned[kind]["f"]) - np.array(base[kind]["f"])) for kind in KINDS},
        "written": {row: _written([str(one[row]) for one in completions]) for row in ("base", "tuned")},
        "final_loss": make_curve(run)[-1]["loss"],
        "provenance": Provenance(
            versions={**run.versions, "numpy": "2.4.6", **(extra_versions or {})},
            commit=commit,
            dirty=dirty,
            python="3.11.2",
            platform=platform,
            hardware=hardware,
            gpu=None if scale == "mini" else "NVIDIA H200",
            threads=1,
            command="bench run --models all --seeds 0,1,2",
            trial=tuple(trial),
            started=finished,
            finished=finished,
        ),
        "files": {name: file_digest(folder / name) for name in (SCORES, COMPLETIONS, CURVE)},
    }
    record = Record(**{**body, **(fields or {})})
    return Stored(record, ledger.publish(record, folder))


def make_board(
    out: Path, models: Sequence[str] = ALL_MODELS, seeds: Sequence[int] = (0, 1, 2), n: int = 60, **more: Any
) -> list[Stored]:
    """Every model with every seed, each model with a gain of its own."""
    return [
        make_record(out, model, seed, gain=0.01 + 0.015 * place, n=n, **more)
        for place, model in enumerate(models)
        for seed in seeds
    ]


def make_many(out: Path, count: int, n: int = 40) -> None:
    """`count` records: one model, other versions and seeds; the long lists are one file, linked."""
    first = make_record(out, n=n)
    ledger = Ledger(out)
    for number in range(1, count):
        run = make_run(
            ALL_MODELS[number % 8], number // 8 % 3, versions={"transformers": f"5.18.{number // 24}"}
        )
        when = f"2026-11-20T{10 + number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z"
        record = first.record.model_copy(
            update={
                "id": run.id,
                "run": run,
                "provenance": first.record.provenance.model_copy(
                    update={"finished": when, "versions": dict(run.versions)}
                ),
            }
        )
        folder = ledger.workspace(f"{run.id}-made")
        for name in (SCORES, COMPLETIONS, CURVE):
            os.link(first.folder / name, folder / name)
        ledger.publish(record, folder)


def make_pairs(out: Path, count: int) -> None:
    """Records of `count` contracts under two versions; the long lists are one file, linked."""
    first = make_record(out / "first", n=100)
    body = {key: value for key, value in seal(first.record).items() if key != "digest"}
    ledger = Ledger(out)
    for place in range(count):
        for version in ("1.14.2", "1.15.0"):
            run = dict(body["run"])
            run["contract"] = {**run["contract"], "budget": {"steps": 1 + place, "effective_batch": 8}}
            run["versions"] = {**run["versions"], "trl": version}
            where = {**body["provenance"], "versions": run["versions"]}
            spent = {**body["spent"], "steps": 1 + place, "examples": 8 * (1 + place)}
            changed: dict[str, Any] = {**body, "id": Run.model_validate(run).id, "run": run}
            changed |= {"provenance": where, "spent": spent}
            folder = ledger.runs / changed["id"]
            folder.mkdir(parents=True)
            text = json.dumps({**changed, "digest": digest(changed)})
            (folder / "record.json").write_text(text, encoding="utf-8")
            for name in PARTS:
                (folder / name).hardlink_to(first.folder / name)


def make_failure(
    out: Path,
    model: str = "phi-1.5",
    seed: int = 0,
    reason: str = "out of memory",
    versions: Mapping[str, str] | None = None,
) -> Failure:
    """A run that died, kept in the ledger."""
    run = make_run(model, seed, versions=versions)
    failure = Failure(
        id=run.id,
        run=run,
        stage="train",
        reason=reason,
        traceback="Traceback ...",
        when="2026-11-20T10:00:00Z",
        versions=dict(run.versions),
    )
    Ledger(out).fail(failure)
    return failure


def make_rows(
    run: Run, n: int, gain: float, shift: float, changed: float
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Row -> kind -> p, r and f per example; ROUGE-like: skewed, between 0 and 1."""
    hard = _random("examples").beta(2.2, 6.0, n)
    ability = 0.03 * _random(run.name).standard_normal()
    base = hard * 0.5 + ability + 0.02 * _random(run.name, "base").standard_normal(n)
    luck = _random(run.name, run.seed, "luck")
    level = gain + shift + 0.004 * luck.standard_normal()
    tuned = base + level + 0.07 * luck.standard_normal(n)
    other = _random(run.name, run.seed, *sorted(run.versions.items()))
    moved = other.random(n) < changed
    tuned = np.where(moved, tuned + 0.10 * other.standard_normal(n), tuned)
    columns = {"tuned": tuned, "base": base, "copy": hard * 0.6 + 0.05, "nearest": hard * 0.7 + 0.02}
    return {row: {kind: _prf(values, kind) for kind in KINDS} for row, values in columns.items()}


def make_curve(run: Run) -> list[dict[str, Any]]:
    """A falling loss in about twelve lines, and four looks at the validation loss."""
    steps, batch = run.contract.budget.steps, run.contract.budget.effective_batch
    noise = _random(run.name, run.seed, "curve")
    looks = [
        {"step": step, "examples": step * batch, "eval_loss": round(2.4 + 2.2 * float(np.exp(-step / 20)), 4)}
        for step in (0, steps // 3, 2 * steps // 3, steps)
    ]
    return looks + [
        {
            "step": step,
            "examples": step * batch,
            "loss": round(2.2 + 2.3 * float(np.exp(-step / 20)) + 0.05 * noise.standard_normal(), 4),
            "learning_rate": run.recipe.learning_rate * (1 - step / steps),
            "grad_norm": round(1.0 + 0.2 * noise.random(), 4),
        }
        for step in range(max(1, steps // 12), steps + 1, max(1, steps // 12))
    ]


def make_spent(run: Run) -> Spent:
    """What such a run would use; larger models cost more."""
    budget = run.contract.budget
    weight = 1 + crc32(run.name.encode()) % 7
    parameters = run.model.parameters if run.scale == "full" else 1_600_000 + 90_000 * weight
    return Spent(
        examples=budget.examples,
        steps=budget.steps,
        effective_batch=budget.effective_batch,
        supervised_tokens=18_000 + 100 * weight,
        total_tokens=41_000 + 500 * weight,
        flops=4.0e11 * weight,
        seconds={
            "load": 0.4,
            "generate base": 2.1,
            "train": 4.5 + weight + run.seed / 8,
            "generate tuned": 2.2,
            "score": 0.3,
            "save": 0.1,
        },
        peak_memory=700_000_000 + 40_000_000 * weight,
        peak_gpu_memory=None if run.scale == "mini" else weight * 2**31,
        trainable_parameters=parameters if run.recipe.method == "full" else 170_000 + 9_000 * weight,
        parameters=parameters,
        truncated=0,
    )


@lru_cache
def _spec(model: str) -> Any:
    return registry.find_model(model)


@lru_cache
def _course() -> list[dict[str, Any]]:
    file = registry.ROOT / "datasets" / "course-qa.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _row(index: int) -> dict[str, Any]:
    rows = _course()
    return rows[(index * 7) % len(rows)]


def _ids(n: int) -> list[str]:
    return [f"{_row(i)['id']}-{i}" for i in range(n)]


def _groups(n: int) -> list[str]:
    return [f"{_row(i)['group']}-{i // 2}" for i in range(n)]


def _categories(n: int) -> list[str]:
    return [str(_row(i)["unit"]) for i in range(n)]


def _random(*key: object) -> np.random.Generator:
    return np.random.default_rng(crc32(repr(key).encode()))


def _prf(values: Floats, kind: str) -> dict[str, list[float]]:
    f = np.clip(values * LEVELS[kind] / LEVELS["rougeL"], 0.0, 1.0)
    return {
        "p": np.round(np.clip(f * 1.1, 0, 1), 6).tolist(),
        "r": np.round(np.clip(f * 0.9, 0, 1), 6).tolist(),
        "f": np.round(f, 6).tolist(),
    }


def _estimate(values: Floats) -> Estimate:
    mean, error = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5
    return Estimate(mean=mean, low=mean - 1.96 * error, high=mean + 1.96 * error)


def _completions(
    run: Run, n: int, changed: float, texts: Mapping[str, Sequence[Any]]
) -> list[dict[str, Any]]:
    luck = _random(run.name, run.seed, "luck")
    other = _random(run.name, run.seed, *sorted(run.versions.items()))
    moved = other.random(n) < changed  # the same draw as in `make_rows`
    made, ids = [], _ids(n)
    for index in range(n):
        row = _row(index)
        words = str(row["answer"]).split()
        tuned = _mangled(words, luck)
        if moved[index]:
            tuned += " which is what the newer version says."
        made.append(
            {
                "id": ids[index],
                "question": row["question"],
                "context": "",
                "references": [row["answer"]],
                "category": row["unit"],
                "base": " ".join(_random(run.name, index).permutation(words)[: len(words) // 2]),
                "tuned": tuned,
            }
        )
    for field, values in texts.items():
        for one, value in zip(made, values, strict=False):
            one[field] = value
    return made


def _mangled(words: list[str], luck: np.random.Generator) -> str:
    kept = [word for word in words if luck.random() < 0.7]
    return " ".join(kept) or "I do not know."


def _backend(run: Run, fallbacks: Sequence[str]) -> Backend:
    four_bit = run.recipe.method == "qlora"
    return Backend(
        name="bitsandbytes+peft" if four_bit else "transformers+peft",
        reason="4-bit asked for and available" if four_bit else "the recipe asks for no quantisation",
        fallbacks=tuple(fallbacks),
        precision="fp32" if run.scale == "mini" else "bf16",
        quantisation="nf4 with double quantisation" if four_bit else None,
    )


def _written(texts: list[str]) -> Written:
    lengths = [len(text.split()) for text in texts]
    return Written(
        examples=len(texts),
        mean_tokens=float(np.mean(lengths)) * 1.4,
        mean_words=float(np.mean(lengths)),
        empty=sum(not text.strip() for text in texts),
        truncated=2,
        echoed=0,
        distinct=len(set(texts)),
    )


def _write(
    folder: Path, scores: dict[str, Any], completions: list[dict[str, Any]], curve: list[dict[str, Any]]
) -> None:
    (folder / SCORES).write_text(json.dumps(scores), encoding="utf-8")
    for name, lines in ((COMPLETIONS, completions), (CURVE, curve)):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / name).write_bytes(text.encode())
    (folder / LOG).write_text("", encoding="utf-8")
