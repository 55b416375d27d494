"""The model card that lies beside saved weights, from the record alone.

huggingface_hub writes the header: it owns the model-index format, and the hub's own reader then
finds the measured scores. A twin has no repository, so its card names no base model there.
"""

from __future__ import annotations

from huggingface_hub import EvalResult, ModelCardData

from bench.judge.board import REFERENCES
from bench.judge.intervals import KINDS
from bench.render import words
from bench.render.text.leaderboard import LABELS
from bench.stats import Interval
from bench.store.record import BASE, BASE_CHAT, Record

#: Licence as the specs write it -> identifier on the hub.
LICENCES = {
    "MIT": "mit",
    "Apache-2.0": "apache-2.0",
    "CC BY 4.0": "cc-by-4.0",
    "Llama 2 Community License": "llama2",
    "Llama 3 Community License": "llama3",
    "Llama 3.1 Community License": "llama3.1",
}
CHAT_WORDS = "the same model untuned, in its own chat template"
LOAD_ADAPTER = """\
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained({base})
model = PeftModel.from_pretrained(base, "{folder}")
tokenizer = AutoTokenizer.from_pretrained("{folder}")"""
LOAD_MODEL = """\
from transformers import {loader}, AutoTokenizer

model = {loader}.from_pretrained("{folder}")
tokenizer = AutoTokenizer.from_pretrained("{folder}")"""
LOAD_GGUF = """\
llama-cli -m path/to/{file}                    # llama.cpp, by the chat template in the file
bench run --models ./{file} --budget 0x8       # scored as it is"""
OF_GGUF = (
    "`{file}` holds the tuned weights, tokenizer and chat template in one file, converted by llama.cpp's "
    "`convert_hf_to_gguf.py`. The test questions are answered by transformers, which expands the file; "
    "llama.cpp computes with kernels of its own."
)


def model_card(
    record: Record, merged: bool = False, verified: str | None = None, gguf: str | None = None
) -> str:
    """The text of `README.md`: a header in the hub's format, then the facts in words.

    `merged` is for an adapter that was added to its base; `verified` says how a check of the weights went;
    `gguf` is the name of the file, where all is in one.
    """
    adapter = record.run.recipe.adapter and not merged
    body = _body(record, adapter, verified, gguf)
    return "\n".join(["---", _header(record, adapter, gguf), "---", "", *body]) + "\n"


def _header(record: Record, adapter: bool, gguf: str | None) -> str:
    run = record.run
    hub = run.checkpoint.kind == "hub"
    licence = LICENCES.get(run.model.licence, "other")
    data = ModelCardData(
        model_name=f"{run.name}-{run.contract.train.name}",
        base_model=run.checkpoint.source if hub else None,
        base_model_relation=("adapter" if adapter else "finetune") if hub else None,
        library_name="gguf" if gguf else "peft" if adapter else "transformers",
        pipeline_tag="text-generation" if run.model.objective == "causal" else "text2text-generation",
        license=licence,
        license_name=run.model.licence if licence == "other" else None,
        tags=["bench", "sft", run.recipe.method],
        eval_results=_results(record),
        ignore_metadata_errors=False,
    )
    return str(data.to_yaml()).strip()


def _results(record: Record) -> list[EvalResult]:
    contract = record.run.contract
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Question answering, free-running greedy generation",
            dataset_type=contract.eval.name,
            dataset_name=contract.eval.name,
            dataset_split=contract.eval_split,
            dataset_revision=contract.eval.digest,
            metric_type="rouge",
            metric_name=LABELS[kind],
            metric_value=round(record.scores["tuned"][kind].mean, 6),
            metric_config=contract.scorer,
        )
        for kind in KINDS
    ]


def _body(record: Record, adapter: bool, verified: str | None, gguf: str | None) -> list[str]:
    run, spent = record.run, record.spent
    lines = [f"# {run.name} tuned on {run.contract.train.name}", ""]
    if run.scale == "mini":
        lines += [
            f"A miniature twin ({words.count(spent.parameters)} parameters) of {run.model.checkpoint}, "
            "tuned to exercise the harness. It says nothing about how good that checkpoint is.",
            "",
        ]
    if verified is not None:
        lines += [verified, ""]
    if gguf is not None:
        lines += [OF_GGUF.format(file=gguf), ""]
    lines += ["## Scores", "", *_score_table(record), "", run.contract.in_words(), ""]
    code = ["```python", _code(record, adapter)] if gguf is None else ["```sh", LOAD_GGUF.format(file=gguf)]
    lines += ["## Use", "", *code, "```", ""]
    chat = ", which is the tokenizer's chat template" if verified and run.model.objective == "causal" else ""
    lines += [
        "The prompt template is part of the contract: "
        f"template '{run.template}' of bench {run.versions.get('bench', '?')}{chat}.",
        "",
    ]
    return [*lines, *_training(record), *_environment(record)]


def _score_table(record: Record) -> list[str]:
    lines = ["| | " + " | ".join(LABELS[kind] for kind in KINDS) + " |", "|---|" + "---:|" * len(KINDS)]
    names = {
        "tuned": "**tuned** (95% interval)",
        BASE: "the same model untuned",
        BASE_CHAT: CHAT_WORDS,
        **REFERENCES,
    }
    for row, name in names.items():
        if row not in record.scores:
            continue
        cells = []
        for kind in KINDS:
            value = Interval(**record.scores[row][kind].model_dump())
            ends = f" ({words.interval(value)})" if row == "tuned" else ""
            cells.append(words.score(value.mean) + ends)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    gains = (Interval(**record.gain[kind].model_dump()) for kind in KINDS)
    cells = [f"{words.change(gain.mean)} ({words.change_interval(gain)})" for gain in gains]
    over = " in its own chat template" if record.gain_over == BASE_CHAT else ""
    return [*lines, f"| tuned over untuned{over}, paired | " + " | ".join(cells) + " |"]


def _base(record: Record) -> str:
    """The repository that the weights came from; a mirror's where that stood in."""
    run = record.run
    return run.checkpoint.source if run.checkpoint.kind == "hub" else run.model.checkpoint


def _code(record: Record, adapter: bool) -> str:
    run = record.run
    if adapter:
        base = f'"{_base(record)}"'
        if run.checkpoint.kind == "twin":
            base = f'"path/to/models/twins/{run.model.twin}"'
        elif run.checkpoint.kind == "adapter":
            base = '"path/to/the base with its first adapter merged"'
        elif run.checkpoint.kind == "gguf":
            base = f'"path/to/folder", gguf_file="{run.checkpoint.source}"'
        return LOAD_ADAPTER.format(base=base, folder="path/to/adapter")
    loader = "AutoModelForCausalLM" if run.model.objective == "causal" else "AutoModelForSeq2SeqLM"
    return LOAD_MODEL.format(loader=loader, folder="path/to/model")


def _training(record: Record) -> list[str]:
    run, spent, backend = record.run, record.spent, record.backend
    random = run.checkpoint.kind == "random"
    recipe = ", ".join(f"{key} {value}" for key, value in run.recipe.model_dump(mode="json").items())
    facts = [
        *(["Weights: random numbers in this architecture; scores mean nothing"] if random else []),
        f"Base model: {_base(record)}, revision {run.checkpoint.revision[:12]}, licence {run.model.licence}",
        *([f"Weights dequantised from {stored}"] if (stored := run.checkpoint.dequantised_from) else []),
        f"Recipe: {recipe}",
        f"Backend: {backend.name} ({backend.reason}), precision {backend.precision}"
        + (f", {backend.quantisation}" if backend.quantisation else ""),
        *([f"End token: {backend.end_token}"] if backend.end_token else []),
        *(f"Fallback: {reason}" for reason in backend.fallbacks),
        f"Seed {run.seed}; {spent.steps} optimizer steps at effective batch {spent.effective_batch}; "
        f"{spent.supervised_tokens:,} supervised tokens; final loss {record.final_loss or 0:.3f}",
        f"Trainable parameters: {spent.trainable_parameters:,} of {spent.parameters:,}",
        f"{words.duration(sum(spent.seconds.values()))} in all, "
        f"{words.size(spent.peak_gpu_memory or spent.peak_memory)} at the peak",
    ]
    return ["## Training", "", *(f"- {fact}" for fact in facts), ""]


def _environment(record: Record) -> list[str]:
    where = record.provenance
    versions = ", ".join(f"{name} {version}" for name, version in record.run.versions.items())
    machine = ", ".join(part for part in (where.gpu, where.hardware, where.platform) if part)
    return [
        "## Environment",
        "",
        f"- {versions}; Python {where.python}",
        f"- {machine}",
        f"- Commit {where.commit or 'unknown'}{' with uncommitted changes' if where.dirty else ''}",
        f"- Run `{record.id}`, finished {where.finished}, by `{where.command}`",
    ]
