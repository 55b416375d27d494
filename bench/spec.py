"""The vocabulary: what a model, a data set, a budget and a contract are.

All specs are frozen and refuse unknown keys, so the diff of two spec files is the whole difference between
two experiments. A model spec holds a *recipe* (what a model may choose for itself: learning rate, method,
rank ...) and nothing of the *contract* (what must be equal for two rows to be ranked together). A key that
belongs to the other side is named as such.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from bench.digest import differences, digest

Scale = Literal["mini", "full"]
Device = Literal["cpu", "cuda", "mps"]
Objective = Literal["causal", "seq2seq"]
Method = Literal["full", "freeze", "lora", "qlora"]
Split = Literal["test", "validation"]
Arm = Literal["retrieved", "both"]
#: What training falls on: the answer to a question, or all of a text.
Loss = Literal["answer", "text"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Name = Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]


@dataclass(frozen=True)
class Example:
    """One question with its reference answers; or a passage of text, the one answer to no question.

    `group` joins paraphrases: they never straddle the split. `category` is the unit or topic
    by which scores can be broken down.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    context: str = ""
    group: str = ""
    category: str = ""

    @property
    def is_text(self) -> bool:
        """Whether this is a passage, which is trained on whole and never scored."""
        return not self.question


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Recipe(_Frozen):
    """What a model spec may choose for itself."""

    method: Method = "lora"
    #: Peak learning rate of the schedule.
    learning_rate: float = Field(2e-4, gt=0)
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    #: Fraction of the optimizer steps that the learning rate rises over.
    warmup: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    #: One of `bench.recipe_keys`; held by the registry, so that records of older programs are still read.
    optimizer: str = "adamw_torch"
    max_grad_norm: float = Field(1.0, ge=0)
    #: Examples per forward pass; times `devices` it must divide the effective batch.
    micro_batch: int = Field(2, ge=1)
    #: Processes that share every optimizer step.
    devices: int = Field(1, ge=1, le=64)
    rank: int = Field(16, ge=1)
    alpha: int = Field(16, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    #: Blocks that `freeze` trains, counted from the end; the final norm and the head besides.
    last_blocks: int = Field(2, ge=1)
    #: "all-linear" or names of modules.
    targets: Literal["all-linear"] | list[str] = "all-linear"
    #: "auto": bfloat16 on GPUs that have it, float16 on older ones, float32 elsewhere.
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    gradient_checkpointing: bool = False

    @property
    def adapter(self) -> bool:
        """Whether weights are trained beside the checkpoint's, which stay as they are."""
        return self.method in ("lora", "qlora")

    @model_serializer(mode="wrap")
    def _in_force(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Later fields are left out where they change nothing, so earlier runs keep their ids."""
        unused = {"last_blocks": self.method != "freeze", "devices": self.devices == 1}
        return {key: value for key, value in handler(self).items() if not unused.get(key)}


class ModelSpec(_Frozen):
    """A published checkpoint and the recipe that tunes it: one file `models/NAME.toml`."""

    name: Name
    #: Repository id on the Hugging Face hub; or a path, as seen from the spec file, to a folder or GGUF file.
    checkpoint: str
    #: Commit of the repository; a branch is resolved when fetched, and the commit recorded.
    revision: str = "main"
    licence: str
    family: str
    #: Class name in `transformers`.
    architecture: str
    objective: Objective
    #: Parameters of the published checkpoint, for planning memory and disk.
    parameters: int = Field(gt=0)
    #: True where the hub asks to accept a licence first.
    gated: bool = False
    #: An ungated repository with the same weights, for those who may not have the first; its commit.
    mirror: str | None = None
    mirror_revision: str = "main"
    #: Of the published `config.json`, what decides the architecture's size; for planning without a network.
    config: dict[str, Any] = Field(default_factory=dict)
    #: Folder name under `models/twins/`, or none where the model has no miniature.
    twin: Name | None = None
    #: Another prompt template than the contract's; such a row is badged.
    template: str | None = None
    recipe: Recipe = Recipe()
    #: What the twin's recipe changes.
    recipe_mini: dict[str, Any] = Field(default_factory=dict)
    #: Why the spec is as it is, and where its recipe comes from.
    source: str = ""

    def recipe_at(self, scale: Scale) -> Recipe:
        """The recipe in force at a scale."""
        if scale == "full":
            return self.recipe
        return Recipe.model_validate({**dict(self.recipe), **self.recipe_mini})


class Columns(_Frozen):
    """Which columns of a row hold what; none means: find the usual names."""

    question: str | None = None
    answer: str | None = None
    context: str | None = None
    id: str | None = None
    group: str | None = None
    category: str | None = None


class DatasetSpec(_Frozen):
    """Where rows come from and what shape they have: one file `datasets/NAME.toml`."""

    name: Name
    licence: str = "unknown"
    attribution: str = ""
    #: Hub repository with `revision`, or `file`: exactly one of the two.
    hub: str | None = None
    revision: str = "main"
    split: str = "train"
    file: str | None = None
    format: Literal["jsonl", "csv", "parquet"] | None = None
    encoding: str = "utf-8"
    #: "columns": one question and answer a row. "turns": "### Human: ... ### Assistant: ..." text.
    #: "text": one passage a row, which is trained on whole.
    shape: Literal["columns", "turns", "text"] = "columns"
    columns: Columns = Columns()
    #: File of the passages that the rows were made from, which arms retrieve beside them; of text, its own.
    passages: str | None = None
    #: Rows to draw from a large hub data set, streamed and seeded.
    subset: int | None = Field(None, gt=0)
    test_fraction: float = Field(0.1, gt=0, lt=1)
    validation_fraction: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_source(self) -> DatasetSpec:
        if (self.hub is None) == (self.file is None):
            raise ValueError("give exactly one of 'hub' and 'file'")
        return self


class Budget(_Frozen):
    """How many examples are seen at which effective batch."""

    #: None trains nothing: the checkpoint is scored as it is.
    steps: int = Field(ge=0)
    effective_batch: int = Field(gt=0)

    @property
    def examples(self) -> int:
        """Examples seen in all, repeats included."""
        return self.steps * self.effective_batch

    def __str__(self) -> str:
        return f"{self.steps}x{self.effective_batch}"


def called(model: str, scale: str) -> str:
    """A model's name in a report: at scale mini a twin stands for it, and is called one."""
    return f"{model} twin" if scale == "mini" else model


class Decoding(_Frozen):
    """Free-running greedy generation, the same for every architecture.

    The batch is part of it: floating-point sums, and so ties between tokens, can depend on its size.
    """

    strategy: Literal["greedy"] = "greedy"
    max_new_tokens: int = Field(96, ge=1)
    batch: int = Field(128, ge=1)


class DataRef(_Frozen):
    """A prepared data set by name and by the digest of all that determines it."""

    name: str
    digest: str


class Retrieval(_Frozen):
    """Arms that answer with rows in the context, beside the untuned and the tuned model without.

    "retrieved": the untuned model. "both": the tuned one.
    """

    arms: tuple[Arm, ...] = Field(min_length=1, strict=False)
    #: Identity of what finds the rows.
    retriever: str
    #: Rows that are found for a question, at most.
    rows: int = Field(3, ge=1)
    #: Digest of the passages that are searched beside the training rows; none where there are none.
    passages: str | None = None

    @model_serializer(mode="wrap")
    def _without_passages(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key != "passages" or value is not None}

    def __str__(self) -> str:
        passages = f" and passages ({self.passages[:8]})" if self.passages else ""
        return f"{' and '.join(self.arms)}, {self.rows} rows{passages} by {self.retriever}"


class Contract(_Frozen):
    """Everything that must be equal for two rows to be ranked together."""

    train: DataRef
    eval: DataRef
    eval_split: Split = "test"
    #: At most so many evaluation examples, chosen by hash; none for all.
    eval_limit: int | None = Field(200, ge=1)
    budget: Budget
    max_length: int = Field(512, ge=16)
    template: str = "qa"
    decoding: Decoding = Decoding()
    scorer: str
    #: Further `evaluate` metrics by name.
    metrics: tuple[str, ...] = Field((), strict=False)
    #: Arms that retrieve, where they are asked for.
    retrieval: Retrieval | None = None
    loss: Loss = "answer"

    @model_serializer(mode="wrap")
    def _without_what_is_not_asked(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Later fields are left out where they ask for nothing, so earlier runs keep their ids."""
        unasked = {"retrieval": None, "loss": "answer"}
        return {
            key: value for key, value in handler(self).items() if key not in unasked or value != unasked[key]
        }

    @property
    def digest(self) -> str:
        """64 hexadecimal digits; equal for contracts whose rows may be ranked together."""
        return digest(self.model_dump(mode="json"))

    def differences(self, other: Contract) -> dict[str, tuple[Any, Any]]:
        """Dotted field -> the two values, for every part in which two contracts differ."""
        found = dict(differences("", self.model_dump(mode="json"), other.model_dump(mode="json")))
        arms = (str(self.retrieval or "no arms"), str(other.retrieval or "no arms"))
        words = {"retrieval": arms, "loss": (self.loss, other.loss)}  # where they are of one contract only
        return {key: words.get(key, values) for key, values in found.items()}

    def in_words(self) -> str:
        """One sentence for the reader of a board."""
        limit = f", at most {self.eval_limit}" if self.eval_limit else ""
        data, text = f"{self.train.name} ({self.train.digest[:8]})", self.loss == "text"
        told = ("examples), loss on the answer only", "passages), loss on all tokens, no question template")
        trained = (
            f"Trained on {data} for {self.budget.steps} optimizer steps at effective batch "
            f"{self.budget.effective_batch} ({self.budget.examples} {told[text]}"
        )
        if not self.budget.steps:
            trained = "Not trained: every model as it is" + f", nearest questions from {data}" * (not text)
        template, searched = f"template '{self.template}'", "passages" if text else "training rows"
        return (
            f"{trained}, at most {self.max_length} tokens{'' if text else f', {template}'}; scored on the "
            f"{self.eval_split} split of {self.eval.name} ({self.eval.digest[:8]}{limit}) "
            f"{f'asked in {template}, ' if text else ''}by free-running {self.decoding.strategy} generation "
            f"of at most {self.decoding.max_new_tokens} new tokens in batches of {self.decoding.batch}; "
            f"scorer {self.scorer}"
            + (f"; arms with {searched} in the context: {self.retrieval}." if self.retrieval else ".")
        )
