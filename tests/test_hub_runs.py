"""From the hub to a record: what `bench run --scale full` finds, fetches, refuses and leaves out.

The hub is the stand-in; the checkpoints have the true classes, names and tokenizers of the registry and
small random weights.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import published
import pytest
from conftest import ROOT
from hub import PROXIES, Hub
from hub_repositories import Content
from huggingface_hub import HfApi, constants, file_download

from bench import registry
from bench.errors import RequestError
from bench.launch import hub as preflight_hub
from bench.launch.hub import Published
from bench.store.ledger import Ledger

Ask = Callable[..., "Published | str"]

TOKENS = {"hf_reader": "reader", "hf_stranger": "stranger"}
GPT2, PINNED = "openai-community/gpt2", str(published.spec("models", "gpt2")["revision"])
LLAMAS = ("llama-2-7b", "llama-3.1-8b")
CONFIG = json.dumps({"model_type": "gpt2", "n_positions": 1024, "dtype": "float32"})
WHOLE = {"config.json": CONFIG, "model.safetensors": bytes(4000), "tokenizer.json": "{}"}
SHORT = ["--budget", "smoke", "--eval-limit", "20", "--max-length", "160", "--max-new-tokens", "12"]
RUN = ["run", "--scale", "full", "--train", "dolly", "--backend", "transformers", *SHORT]
#: Name of a question -> repository and revision.
QUESTIONS = {
    "whole": ("team/whole", "main"),
    "sharded": ("team/sharded", "main"),
    "gated": ("team/gated", "main"),
    "private": ("team/private", "main"),
    "no repository": ("team/absent", "main"),
    "no revision": ("team/whole", "absent"),
    "pickle only": ("team/pickle", "main"),
    "half of the shards": ("team/index", "main"),
    "another format": ("team/consolidated", "main"),
    "code of its own": ("team/code", "main"),
    "code that is not needed": ("team/native", "main"),
}


@pytest.fixture
def ask(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask the preflight for a repository, with an empty cache at first; an answer or an error's text."""
    return asking(hub, tmp_path, monkeypatch)


def asking(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
    for module in (constants, file_download):
        if hasattr(module, "HUGGINGFACE_CO_URL_TEMPLATE"):
            monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home))
    monkeypatch.setattr(preflight_hub, "TIMEOUT", 1.0)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)

    def ask(repository: str, revision: str = "main", token: str | None = None) -> Published | str:
        monkeypatch.delenv("HF_TOKEN", raising=False)
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        try:
            return preflight_hub.ask(registry.find_model("gpt2"), repository, revision)
        except RequestError as error:
            return f"{type(error).__name__}: {error}"

    return ask


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub(TOKENS) as serving:
        yield serving


@pytest.fixture(scope="module")
def asked(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every question without a token, and some with one."""
    shards = {f"model-0000{n}-of-00002.safetensors": bytes(4000) for n in (1, 2)}
    rest = {"config.json": CONFIG, "tokenizer.json": "{}"}
    code = {"auto_map": {"AutoModelForCausalLM": "modeling.Model"}}
    hub.create("team/whole", {**WHOLE, "pytorch_model.bin": bytes(9000)})
    hub.create("team/sharded", {**rest, **shards, "model.safetensors.index.json": "{}"})
    hub.create("team/gated", WHOLE, gated="manual", readers=("reader",))
    hub.create("team/private", WHOLE, private=True, readers=("reader",))
    hub.create("team/pickle", {**rest, "pytorch_model.bin": bytes(9)})
    hub.create("team/index", {**rest, **shards})
    hub.create("team/consolidated", {**rest, "consolidated.safetensors": bytes(9)})
    hub.create("team/code", {**WHOLE, "config.json": json.dumps({"model_type": "unheard", **code})})
    hub.create("team/native", {**WHOLE, "config.json": json.dumps({"model_type": "gpt2", **code})})
    with pytest.MonkeyPatch.context() as monkeypatch:
        ask = asking(hub, tmp_path_factory.mktemp("home"), monkeypatch)
        found = {name: ask(*question) for name, question in QUESTIONS.items()}
        for token in ("hf_reader", "hf_stranger", "hf_forged"):
            for name in ("gated", "private", "whole"):
                found[f"{name} for {token}"] = ask(*QUESTIONS[name], token=token)
    return found


@pytest.mark.parametrize(
    ("question", "part"),
    [
        ("gated", "Gated: model 'gpt2': team/gated@main is gated; accept its licence"),
        ("gated for hf_stranger", "Gated: "),
        ("private", "Unreachable: model 'gpt2': team/private@main: no such repository, or it is private"),
        ("private for hf_stranger", "Unreachable: "),
        ("no repository", "no such repository"),
        ("no revision", "team/whole@absent: the repository has no such revision"),
        ("pickle only", "UnsafeRequest: model 'gpt2': team/pickle@main has no safetensors weights"),
        ("half of the shards", "has no safetensors weights"),
        ("another format", "has no safetensors weights"),
        ("code of its own", "'auto_map' in its config.json asks to run its code; refused"),
        ("whole for hf_forged", "the hub refuses the token"),
    ],
)
def test_what_cannot_be_had_is_named_before_anything_is_fetched(asked: Any, question: str, part: str) -> None:
    assert part in asked[question]
    assert len(asked[question].splitlines()) == 1


@pytest.mark.parametrize("question", ["whole", "gated for hf_reader", "private for hf_reader"])
def test_what_may_be_had_is_named_by_its_commit(asked: Any, hub: Hub, question: str) -> None:
    found = asked[question]
    assert found.commit == hub.repositories["models", f"team/{question.split()[0]}"].branches["main"]
    assert (found.parameters, found.note) == (1000, "")


def test_only_what_will_be_fetched_counts(asked: Any) -> None:
    assert asked["whole"].missing == sum(map(len, WHOLE.values())), "pickled weights stay on the hub"


def test_shards_count_as_one_checkpoint(asked: Any) -> None:
    assert asked["sharded"].parameters == 2000


def test_code_beside_a_class_that_transformers_has_is_no_obstacle(asked: Any, hub: Hub) -> None:
    assert (
        asked["code that is not needed"].commit == hub.repositories["models", "team/native"].branches["main"]
    )


def test_asking_fetches_no_weights(asked: Any, hub: Hub) -> None:
    fetched = {file for name in ("team/whole", "team/sharded", "team/gated") for file in hub.downloads(name)}
    assert fetched == {"config.json"}


def test_a_cached_branch_is_no_identity(hub: Hub, ask: Ask) -> None:
    """The branch moves after it was fetched: the new commit counts, and with the hub away the cached one."""
    model = hub.create("team/moving", WHOLE)
    old = model.branches["main"]
    HfApi().snapshot_download("team/moving")
    new = model.commit({"model.safetensors": bytes(8000)})
    moved = ask("team/moving")
    assert isinstance(moved, Published)
    assert (moved.commit, moved.missing) == (new, 8000 + sum(map(len, WHOLE.values())) - 4000)
    (Path(constants.HF_HUB_CACHE) / "models--team--moving" / "refs" / "main").write_text(old)
    with hub.down():
        cached = ask("team/moving")
    assert isinstance(cached, Published)
    assert (cached.commit, cached.missing) == (old, 0)
    assert f"its commit {old[:12]} is taken from the cache" in cached.note


def test_a_pinned_commit_in_the_cache_needs_no_hub(hub: Hub, ask: Ask) -> None:
    pinned = hub.create("team/pinned", WHOLE).branches["main"]
    HfApi().snapshot_download("team/pinned")
    hub.forget()
    found = ask("team/pinned", pinned)
    assert isinstance(found, Published)
    assert (found.commit, found.missing) == (pinned, 0)
    assert not hub.requests


def test_a_checkpoint_of_which_a_shard_is_missing_in_the_cache_is_asked_for(hub: Hub, ask: Ask) -> None:
    shards = {f"model-0000{n}-of-00002.safetensors": bytes(4000 + n) for n in (1, 2)}
    index = json.dumps({"weight_map": {str(name): name for name in shards}})
    rest = {"config.json": CONFIG, "tokenizer.json": "{}", "model.safetensors.index.json": index}
    pinned = hub.create("team/half", {**rest, **shards}).branches["main"]
    HfApi().snapshot_download("team/half", revision=pinned, ignore_patterns="*-00002-of-*")
    found = ask("team/half", pinned)
    assert isinstance(found, Published)
    assert found.missing == 4002


@pytest.mark.parametrize("fault", ["down", "failing", "slow"])
def test_a_hub_that_does_not_answer_is_out_of_reach_in_seconds(hub: Hub, ask: Ask, fault: str) -> None:
    hub.create("team/whole", WHOLE)
    faults = {"down": hub.down(), "failing": hub.failing(500), "slow": hub.slow(2, "/api/")}
    with faults[fault]:
        answer = ask("team/whole")
    assert "is not in the cache and the hub cannot be reached" in str(answer)


# The real command


@dataclass(frozen=True)
class Bench:
    """The `bench` command before a stand-in hub, with folders of its own."""

    hub: Hub
    folder: Path
    ran: list[subprocess.CompletedProcess[str]] = field(default_factory=list)

    def __call__(self, *words: str, token: str | None = None, out: str = "out", **settings: str) -> str:
        """Run the command; its output and messages."""
        settings = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **settings}
        settings.setdefault("BENCH_CACHE", str(self.folder / "cache"))
        done = subprocess.run(
            [sys.executable, "-m", "bench.cli", *words, "--out", str(self.folder / out)],
            env=self.hub.environment(self.folder / "home", token, **settings),
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        self.ran.append(done)
        return done.stdout + done.stderr

    @property
    def status(self) -> int:
        return self.ran[-1].returncode

    def records(self, out: str = "out") -> dict[str, Any]:
        return {stored.record.run.name: stored.record for stored in Ledger(self.folder / out).load()[0]}


@pytest.fixture(scope="module")
def stocked(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with every checkpoint of the registry that has a small form, and Dolly."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with Hub(TOKENS) as hub:
        for name in published.CHECKPOINTS:
            published.make_checkpoint(name, folder / name, shared / "tokenizers")
            published.publish_model(hub, name, folder / name, readers=["reader"])
        dolly = shared / "data" / "dolly" / "databricks-dolly-15k.jsonl"
        published.publish_dataset(hub, "dolly", dolly, rows=600)
        yield hub


@pytest.fixture
def bench(stocked: Hub, tmp_path: Path) -> Bench:
    return Bench(stocked, tmp_path)


def test_a_published_checkpoint_goes_from_the_hub_to_a_record(bench: Bench) -> None:
    bench.hub.forget()
    text = bench(*RUN, "--models", "gpt2")
    assert bench.status == 0, text
    record = bench.records()["gpt2"]
    assert record.run.checkpoint.model_dump(exclude_none=True) == {
        "source": GPT2,
        "revision": PINNED,
        "kind": "hub",
    }
    assert record.spent.steps == 4
    assert record.run.contract.train.name == "dolly"
    assert record.data.prepared["dolly"]["rows"] == 600
    assert bench.hub.downloads(GPT2, PINNED)["model.safetensors"] == 1
    assert "pytorch_model.bin" not in bench.hub.downloads(GPT2)
    unpinned = {request.path for request in bench.hub.requests if "/resolve/main/" in request.path}
    assert not {path for path in unpinned if GPT2 in path}, "nothing of the run comes from a branch"


def test_a_named_model_that_cannot_run_is_an_error_before_anything_starts(bench: Bench) -> None:
    text = bench(*RUN, "--models", "gpt2,llama-2-7b")
    assert bench.status == 2
    assert (
        text.strip()
        .splitlines()[-1]
        .startswith("bench: model 'llama-2-7b': meta-llama/Llama-2-7b-hf@01c7f73d771d is gated")
        or "has 6.7B parameters and there is no CUDA GPU" in text
    )
    assert not (bench.folder / "out").exists()


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(bench: Bench) -> None:
    huge = {**WHOLE, "model.safetensors": Content(b"", claimed=10**15)}
    (bench.folder / "models").mkdir()
    spec = (ROOT / "models" / "gpt2.toml").read_text().replace(GPT2, "team/huge").replace(PINNED, "main")
    (bench.folder / "models" / "huge.toml").write_text(spec)
    bench.hub.create("team/huge", {**huge, "config.json": json.dumps({"dtype": "float32"})})
    text = bench(*RUN, "--models", "huge")
    assert bench.status == 2
    assert "parameters and there is no CUDA GPU" in text or "needs 1000000.0 GB in" in text
