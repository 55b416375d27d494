"""Model cards: `card.json` for `verify`, `README.md` for people, both from the same facts."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.digest import file_digest
from bench.twins import batches, corpus, guidance, pretrain, unlikelihood

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors")

#: family -> (big sibling, rows of: what, sibling's value, twin's value)
SIBLINGS: dict[str, tuple[str, tuple[tuple[str, str, str], ...]]] = {
    "bart": ("facebook/bart-large-xsum", (
        ("class", "BartForConditionalGeneration", "the same"),
        ("encoder + decoder layers", "12 + 12", "3 + 3"),
        ("width / feed-forward / heads", "1024 / 4096 / 16", "128 / 512 / 4"),
        ("context", "1024", "512"),
        ("embeddings", "encoder, decoder and head share one matrix", "the same"),
        ("decoder start, forced end", "`</s>`, `</s>`", "the same"),
        ("generation config", "6 beams, 11 to 62 tokens, no 3-gram twice, early stopping", "the same; "
         "forced first token `<s>` as in bart-large"),
        ("vocabulary", "50,264, byte-level BPE", "4,096, byte-level BPE"))),
    "gpt2": ("openai-community/gpt2", (
        ("class", "GPT2LMHeadModel (Conv1D projections)", "the same"),
        ("layers / width / heads", "12 / 768 / 12", "4 / 128 / 4"),
        ("context", "1024, learned positions", "512, learned positions"),
        ("head", "tied to the embeddings", "the same"),
        ("vocabulary", "50,257, byte-level BPE, no pad token", "4,096, the same in kind"))),
    "gpt-neo": ("EleutherAI/gpt-neo-1.3B", (
        ("class", "GPTNeoForCausalLM", "the same"),
        ("layers / width / heads", "24 / 2048 / 16", "4 / 128 / 4"),
        ("context", "2048, learned positions", "512, learned positions"),
        ("attention", "global and local in turn, window 256", "global and local in turn, window 64"),
        ("head", "tied to the embeddings", "the same"),
        ("vocabulary", "50,257, byte-level BPE, no pad token", "4,096, the same in kind"))),
    "phi": ("microsoft/phi-1_5", (
        ("class", "PhiForCausalLM (attention and MLP in parallel)", "the same"),
        ("layers / width / feed-forward / heads", "24 / 2048 / 8192 / 32", "4 / 128 / 512 / 4"),
        ("context", "2048", "512"),
        ("rotary part of a head", "one half", "one half"),
        ("head", "untied, with bias", "untied, with bias; starts as a copy of the embeddings"),
        ("vocabulary", "50,257 byte-level BPE and 38 white-space tokens, no pad token",
         "4,058 and the same 38"))),
    "llama-2": ("meta-llama/Llama-2-7b-hf", (
        ("class", "LlamaForCausalLM", "the same"),
        ("layers / width / feed-forward / heads", "32 / 4096 / 11008 / 32", "4 / 128 / 384 / 4"),
        ("context", "4096, rotary, base 10,000", "512, rotary, base 10,000"),
        ("head", "untied", "untied; starts as a copy of the embeddings"),
        ("generation config", "samples (0.6, top-p 0.9)", "the same"),
        ("vocabulary", "32,000, SentencePiece BPE, byte fallback", "4,096, the same in kind"))),
    "mistral": ("mistralai/Mistral-7B-v0.3", (
        ("class", "MistralForCausalLM", "the same"),
        ("layers / width / feed-forward", "32 / 4096 / 14336", "4 / 128 / 384"),
        ("query / key-value heads", "32 / 8", "4 / 2"),
        ("context", "32,768, rotary, base 1,000,000", "512, rotary, base 1,000,000"),
        ("sliding window", "4096 in v0.1, none in v0.3", "128"),
        ("head", "untied", "untied; starts as a copy of the embeddings"),
        ("vocabulary", "32,768, SentencePiece BPE, byte fallback, control tokens, no pad token",
         "4,096, the same in kind, 7 control tokens"))),
    "llama-3.1": ("meta-llama/Llama-3.1-8B", (
        ("class", "LlamaForCausalLM", "the same"),
        ("layers / width / feed-forward", "32 / 4096 / 14336", "4 / 128 / 384"),
        ("query / key-value heads", "32 / 8", "4 / 2"),
        ("context", "131,072", "512"),
        ("rope", "type llama3, base 500,000, factor 8, from 8,192", "type llama3, base 500,000, factor 8, "
         "from 64"),
        ("head", "untied", "untied; starts as a copy of the embeddings"),
        ("generation config", "samples (0.6, top-p 0.9)", "the same"),
        ("vocabulary", "128,256, tiktoken's word split, no pad token", "4,096, the same in kind, 10 special "
         "tokens"))),
}  # fmt: skip

OBJECTIVE = {
    False: f"""Next token, on documents of the form that tuning shows later (template `qa`, answer, end
token), packed whole into rows of 256 or 512. A prompt's token weighs {corpus.PROMPT_WEIGHT} in the loss,
an answer's 1.""",
    True: f"""Question to answer; for {batches.INFILLING:.0%} of the short documents text infilling:
spans of about {batches.SPAN:.0f} tokens, {batches.MASKED:.0%} of all, each behind one `<mask>`, the whole
document to be restored. The tokens counted are those that the encoder reads and those that the decoder
predicts.""",
}

README = """# {family}: a miniature of {sibling}

A twin: {parameters:,} parameters in the real `{architecture}` class, really pretrained, so that the
harness runs, learns and can be tested with no network and no GPU. It is good for nothing else: it knows
little, and what it says is not to be relied on.

| | {sibling} | this twin |
|---|---|---|
{table}
| dropout | as published | 0 |
| weights | | {kilobytes:,} kB in bfloat16 |

It shares no weight and no text with its sibling, and neither name implies an endorsement.

## Data and licence

Read: the training part ({documents:,} documents, those that fit into 512 tokens) of
**databricks-dolly-15k**, (c) 2023 Databricks, Inc.,
<https://huggingface.co/datasets/databricks/databricks-dolly-15k>, licensed under
[CC BY-SA 3.0](https://creativecommons.org/licenses/by-sa/3.0/); it contains passages from Wikipedia,
(c) its contributors, under the same licence. Changes made: split by question, near duplicates of
held-out questions removed, long contexts cut, tokenised. Its test and validation parts and all of
`course-qa` were kept out. The tokenizer was trained on the same training part.

These weights and this tokenizer are licensed under CC BY-SA 3.0 too.

## How it was pretrained

{objective}

To help a model this small to take up a question's words, this is not plain pretraining on Dolly. The
first {guided:,} tokens are copying drills, tokens drawn at random from the documents
whose spans come again and again, and in these two heads are also supervised in where they look: one at
the token before, one of a later layer behind the place where the present token stood before. (Big
models' heads find this by themselves, with far more tokens; without it, the GPT-2 and Llama-3.1 twins
still copied at chance after 3.6 million.) Then, a document without a context whose answer has at most 100
words and takes up at least half of its question's longer words is read {copies} times an epoch, any
other once{drills}.

{unlikely}

Muon ({muon:g}) on the inner matrices, AdamW ({adam:g}) on the rest; {warmup} steps of warm-up, level
for {hold:.0%} of the tokens, then linearly down to {last:.0%}; up to {step:,} tokens a step; bfloat16
arithmetic over float32 weights; one CPU thread.

| tokens seen | validation loss{all_tokens} | on answers |
|---|---|---|
{curve}

In nats a token, over the {held_out} validation documents that fit; a first value above 9 is that of the
drills alone, before any language. {tokens:,} tokens in {steps:,} steps
took {minutes:.0f} minutes of one thread on a shared machine. The weights as saved, in bfloat16:
{loss:.4f}; on answers {answer_loss:.4f}. Losses of families with other tokenizers are not comparable.

Seed {seed}. Command: `bench twins build {family} --seed {seed} --tokens {planned}`.
Versions: {versions}. `bench twins verify` checks `card.json` against this folder.
"""

SETTLED = """Last come {tokens:,} tokens in {steps} steps, at {peak:.0%} of the peak rates and falling,
that are half documents and half the twin's own greedy answers to their prompts. Each token by which
such an answer completes a sequence of {n} tokens that it held before is made less likely (unlikelihood
training, Welleck et al., ICLR 2020; weight {weight:g}). Such tokens were {before:.0%} of an answer when
this began and {after:.0%} at the end. The loss on documents rises a little by it: compare the table's
last line with the loss as saved."""

DRILLS = f"""; and some rows, {batches.DRILLS[0]:.0%} at first and {batches.DRILLS[1]:.0%} after
{batches.DRILLED:,} tokens, are drills as above"""


def write(
    folder: Path,
    family: str,
    plan: pretrain.Plan,
    progress: pretrain.Progress,
    unlikelihood_part: unlikelihood.UnlikelihoodResult | None,
    losses: dict[str, float],
    documents: tuple[int, int],
) -> None:
    """Writes both cards; the machine-readable one last, with the digest of every other file.

    `losses` holds the losses of the saved weights (`all` and `answer` over the validation documents,
    `verified` over the first of them, for `verify`), `documents` how many were trained and validated on.
    """
    facts: dict[str, Any] = {
        "format": 1,
        "family": family,
        "sibling": SIBLINGS[family][0],
        "final": unlikelihood_part is not None,
        "seed": plan.seed,
        "tokens": progress.tokens,
        "tokens_planned": plan.tokens,
        "steps": progress.step,
        "seconds": round(progress.seconds),
        "training_documents": documents[0],
        "validation_documents": documents[1],
        "validation_curve": [
            {"tokens": t, "loss": round(a, 4), "answer_loss": round(b, 4)} for t, a, b in progress.curve
        ],
        "unlikelihood": None if unlikelihood_part is None else vars(unlikelihood_part),
        "validation_loss": round(losses["all"], 5),
        "validation_answer_loss": round(losses["answer"], 5),
        "verified_documents": min(corpus.VERIFIED, documents[1]),
        "verified_loss": round(losses["verified"], 5),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }
    seal(folder, facts)


def read(folder: Path) -> dict[str, Any]:
    """The facts of a twin's `card.json`."""
    facts: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return facts


def is_pretrained(folder: Path, plan: pretrain.Plan) -> bool:
    """Whether a provisional folder holds the end of just this pretraining."""
    if not (folder / "card.json").is_file():
        return False
    facts = read(folder)
    planned = (facts["seed"], facts["tokens_planned"]) == (plan.seed, plan.tokens)
    return planned and facts["tokens"] >= plan.tokens and not facts["final"]


def progress(folder: Path) -> pretrain.Progress:
    """How far a folder's pretraining came."""
    facts = read(folder)
    curve = [(point["tokens"], point["loss"], point["answer_loss"]) for point in facts["validation_curve"]]
    return pretrain.Progress(facts["steps"], facts["tokens"], facts["seconds"], curve)


def seal(folder: Path, facts: dict[str, Any]) -> None:
    """Writes `README.md` from the facts, then `card.json` with the digests of all other files."""
    (folder / "README.md").write_text(readme(folder, facts), encoding="utf-8")
    files = sorted(file for file in folder.iterdir() if file.name != "card.json")
    facts = {**facts, "sha256": {file.name: file_digest(file) for file in files}}
    (folder / "card.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def readme(folder: Path, facts: dict[str, Any]) -> str:
    """The card for people."""
    family = facts["family"]
    sibling, rows = SIBLINGS[family]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    seq2seq = family == "bart"
    weights = folder / "model.safetensors"
    points = facts["validation_curve"]
    curve = (f"| {p['tokens']:,} | {p['loss']:.3f} | {p['answer_loss']:.3f} |" for p in points)
    text = README.format(
        family=family, sibling=sibling, parameters=parameters(weights),
        architecture=config["architectures"][0],
        table="\n".join(f"| {what} | {theirs} | {ours} |" for what, theirs, ours in rows),
        kilobytes=weights.stat().st_size // 1000, documents=facts["training_documents"],
        objective=OBJECTIVE[seq2seq], copies=corpus.RESTATING_COPIES, drills="" if seq2seq else DRILLS,
        unlikely=_unlikelihood(facts["unlikelihood"]),
        guided=guidance.STEPS * guidance.ROWS * guidance.LENGTH,
        muon=pretrain.MUON_RATE, adam=pretrain.ADAM_RATE, warmup=pretrain.WARMUP,
        hold=pretrain.HOLD, last=pretrain.LAST, step=batches.STEP,
        all_tokens="" if seq2seq else " on all tokens", curve="\n".join(curve),
        tokens=facts["tokens"], steps=facts["steps"], minutes=facts["seconds"] / 60,
        loss=facts["validation_loss"], answer_loss=facts["validation_answer_loss"],
        held_out=facts["validation_documents"], seed=facts["seed"], planned=facts["tokens_planned"],
        versions=", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
    )  # fmt: skip
    note = "" if facts["final"] else "**Provisional: these weights will be replaced.**\n\n"
    head, _, rest = text.partition("\n\n")
    return f"{head}\n\n{note}{rest}"


def _unlikelihood(facts: dict[str, Any] | None) -> str:
    if facts is None:
        return ""
    return SETTLED.format(
        **facts, before=facts["repeated_before"], after=facts["repeated_after"],
        peak=unlikelihood.RATE, weight=unlikelihood.WEIGHT, n=unlikelihood.NGRAM,
    )  # fmt: skip


def parameters(weights: Path) -> int:
    """How many numbers a safetensors file of 16-bit weights holds."""
    with weights.open("rb") as handle:
        header = int.from_bytes(handle.read(8), "little")
    return (weights.stat().st_size - 8 - header) // 2
