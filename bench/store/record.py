"""What a run leaves: an immutable folder that is enough to rank, compare and explain it.

    runs/<id>/record.json        this module's `Record`: small, everything but the long lists
              scores.json        per example: ROUGE of tuned, base and reference rows
              completions.jsonl  per example: question, references, what base and tuned wrote
              curve.jsonl        training curve, one line per logged step
              log.txt            what the libraries printed
              adapter/ or model/ the weights; may be deleted, the record stays whole

`record.json` holds the digest of every other file and of itself, so a record that was edited
or cut short is detected. `FORMAT` is its version; `UPGRADES` names a function for each older
one. A record of a later version is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.digest import digest
from bench.errors import RecordError
from bench.run.identity import Backend, Run
from bench.spec import Scale

FORMAT = 1
#: version -> function that turns such a record's JSON into the next version's.
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}

RECORD, SCORES, COMPLETIONS, CURVE, LOG = (
    "record.json",
    "scores.json",
    "completions.jsonl",
    "curve.jsonl",
    "log.txt",
)
#: Beside the weights; written by the driver from the whole record, so its digest is not part of that.
CARD = "README.md"
#: Rows of the untuned model: asked as the tuned one is, and in the checkpoint's own chat template, which an
#: instruct model has, where that is another.
BASE, BASE_CHAT = "base", "base-chat"
#: The files that a whole record must have.
PARTS = (SCORES, COMPLETIONS, CURVE)

Stage = Literal[
    "prepare",
    "load",
    "retrieve",
    "generate base",
    "generate retrieved",
    "train",
    "validation loss",
    "generate tuned",
    "generate both",
    "score",
    "save",
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Part):
    """A mean over examples with its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


class Spent(_Part):
    """What the run really used, measured and not derived from the budget."""

    examples: int
    steps: int
    effective_batch: int
    #: Tokens with a loss, and all tokens that were not padding, over training.
    supervised_tokens: int
    total_tokens: int
    #: Floating-point operations of training as `transformers` estimates them.
    flops: float
    #: Stage -> wall-clock seconds.
    seconds: dict[str, float]
    #: Bytes at the highest point of the run's process; none where there is no GPU.
    peak_memory: int
    peak_gpu_memory: int | None = None
    #: Stage -> bytes of GPU memory at its highest point; empty without a GPU and in older records.
    gpu_memory: dict[str, int] = Field(default_factory=dict)
    trainable_parameters: int
    parameters: int
    #: Training examples whose prompt or answer was cut to the maximum length.
    truncated: int = 0

    @property
    def training_gpu_memory(self) -> int | None:
        """Bytes of GPU memory that training took; of the whole run where stages were not kept apart."""
        return self.gpu_memory.get("train", self.peak_gpu_memory)

    @property
    def tokens_per_second(self) -> float:
        """Training throughput in tokens that were not padding."""
        return self.total_tokens / self.seconds["train"] if self.seconds.get("train") else 0.0


class Written(_Part):
    """What a model wrote, in numbers that show broken generation at a glance."""

    examples: int
    mean_tokens: float
    mean_words: float
    #: Completions that are empty, that reached the limit of new tokens, that repeat the prompt.
    empty: int
    truncated: int
    echoed: int
    distinct: int
    #: Prompts answered together: the contract's batch, or what memory allowed; none in older records.
    batch: int | None = None


class Retrieved(_Part):
    """What the arms that retrieve found, and its price."""

    #: Training rows and passages in the index; seconds to make it, and to search it for all questions.
    index_rows: int
    index_passages: int = 0
    index_seconds: float
    search_seconds: float
    #: Share of `recall_questions` test questions of which a best row was found (`bench.retrieval.recall`).
    recall: float | None
    recall_questions: int
    #: Of these, the questions whose own passage was the one to find.
    recall_passages: int = 0
    #: Means over the test questions: rows in a context, and tokens that it adds to the prompt.
    rows_in_context: float
    context_tokens: float
    #: Questions whose rows did not all fit, and those of which none was found.
    short: int
    nothing_found: int


class HeldOutLoss(_Part):
    """The loss on passages that are not trained on, where text is: nats a token, by the model's own tokens.

    Models of other tokenizers have other tokens, so it is never compared between them.
    """

    passages: int
    before: float
    after: float


class Data(_Part):
    """What the run was trained and scored on."""

    #: Data set -> reason -> rows.
    prepared: dict[str, dict[str, int]]
    selected: dict[str, int]
    #: Digests over ids and order of the training examples seen, and of the evaluation set.
    train_digest: str
    eval_digest: str
    #: Mean words of the references, to hold answers' lengths against.
    reference_words: float
    #: Evaluation prompts that were cut to the contract's length; older records do not say.
    cut_prompts: int | None = None


class Provenance(_Part):
    """Where and how a run came about."""

    versions: dict[str, str]
    commit: str | None
    dirty: bool
    python: str
    platform: str
    hardware: str
    gpu: str | None = None
    threads: int
    #: Setting -> value of what decides whether a repeated run gives the same digits; empty in older records.
    determinism: dict[str, str] = Field(default_factory=dict)
    command: str
    #: What `--with` asked for, where that moved a package: such runs are a trial, shown apart.
    trial: tuple[str, ...] = ()
    started: str
    finished: str

    @property
    def machine(self) -> str:
        """What computed: the GPU where there was one, and the processor."""
        return " ".join(filter(None, (self.gpu, self.hardware)))


class Record(_Part):
    """A finished run."""

    format: int = FORMAT
    id: str
    run: Run
    backend: Backend
    data: Data
    spent: Spent
    #: "tuned", `BASE`, `BASE_CHAT` if there is one, the arms that retrieve, and "copy", "nearest" (reference
    #: rows) -> metric -> estimate of F.
    scores: dict[str, dict[str, Estimate]]
    #: Metric -> paired difference of tuned over the better row of the untuned model, which is `gain_over`.
    gain: dict[str, Estimate]
    gain_over: str = BASE
    #: Corpus-level values of further metrics: row -> name -> value.
    further: dict[str, dict[str, float]] = Field(default_factory=dict)
    written: dict[str, Written]
    #: Where the contract asks for arms that retrieve.
    retrieved: Retrieved | None = None
    #: The run whose untuned model gave the base answers, which this record holds a copy of; none where this
    #: run's did, and in older records.
    base_from: str | None = None
    #: None where nothing was trained.
    final_loss: float | None
    #: Where text was trained on and passages of it were held out.
    held_out: HeldOutLoss | None = None
    provenance: Provenance
    #: File name -> SHA-256, of `PARTS`.
    files: dict[str, str]
    #: The same for weights, which may be deleted later.
    artifacts: dict[str, str] = Field(default_factory=dict)


class Failure(_Part):
    """A run that died: what the board shows below the table."""

    format: int = FORMAT
    id: str
    run: Run
    stage: str
    reason: str
    traceback: str = ""
    when: str
    versions: dict[str, str] = Field(default_factory=dict)
    trial: tuple[str, ...] = ()


class LeftOut(_Part):
    """A model of `--models all` that could not be run here: what the board shows beside the failures."""

    model: str
    scale: Scale
    #: Digest of the contract that it was left out of.
    contract: str
    why: Literal["gated", "out of reach", "too large", "refused", "unsuited"]
    reason: str
    when: str


def weights_folder(adapter: bool) -> str:
    """Where in a record's folder the weights lie."""
    return "adapter" if adapter else "model"


def seal(record: Record) -> dict[str, Any]:
    """The record as JSON with its own digest."""
    body = record.model_dump(mode="json")
    return {**body, "digest": digest(body)}


def unseal(raw: Mapping[str, Any], where: str, checked: bool = False) -> Record:
    """The record in a JSON object, upgraded where it is of an older format.

    `checked` says that its digest was found to fit, and that the file is the same since.
    Raises `RecordError` naming `where` if it was edited, cut short, or comes from a later program.
    """
    body = {key: value for key, value in raw.items() if key != "digest"}
    if not checked and digest(body) != raw.get("digest"):
        raise RecordError(f"{where}: does not match its digest; edited or cut short")
    version = body.get("format")
    if not isinstance(version, int) or version > FORMAT:
        raise RecordError(f"{where}: record format {version}, this program reads up to {FORMAT}; upgrade it")
    while version < FORMAT:
        if version not in UPGRADES:
            raise RecordError(f"{where}: record format {version} is no longer read")
        body, version = UPGRADES[version](body), version + 1
    try:
        return Record.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise RecordError(f"{where}: '{'.'.join(map(str, first['loc']))}' {first['msg']}") from None
