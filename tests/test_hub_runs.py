"""From the hub to a record: what `bench run --scale full` finds, fetches, refuses and leaves out.

The hub is the stand-in; the checkpoints have the true classes, names and tokenizers of the registry and
small random weights.
"""

from __future__ import annotations

import json
import shutil
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
from hub_repositories import Content, Repository
from huggingface_hub import HfApi, constants, file_download
from test_cost import CONTRACT

from bench import devices, registry
from bench.cli import run_verb
from bench.data import sources
from bench.devices import Devices
from bench.errors import NotEnough, RequestError, Unreachable
from bench.launch import hub as preflight_hub
from bench.launch import preflight
from bench.launch.hub import Published
from bench.spec import ModelSpec
from bench.store.ledger import Ledger
from bench.verbs import model_options

Ask = Callable[..., "Published | str"]

TOKENS = {"hf_reader": "reader", "hf_stranger": "stranger"}
GPT2, PINNED = "openai-community/gpt2", str(published.spec("models", "gpt2")["revision"])
LLAMAS = ("llama-2-7b", "llama-3.1-8b")
CONFIG = json.dumps({"model_type": "gpt2", "n_positions": 1024, "dtype": "float32"})
WHOLE = {"config.json": CONFIG, "model.safetensors": bytes(4000), "tokenizer.json": "{}"}
#: Clients read in steps of ten mebibytes; what came of a step that was cut is fetched again.
STEP = 10 * 2**20
SHORT = ["--budget", "smoke", "--eval-limit", "20", "--max-length", "160", "--max-new-tokens", "12"]
#: For eight models at once: vocabularies of true size are slow on a CPU.
BRIEF = ["--max-length", "64", "--max-new-tokens", "8"]
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


def located(spec: ModelSpec) -> preflight.Place:
    return preflight.locate(spec, "full", "cpu")


def test_a_mirror_stands_in_for_a_gated_model_and_is_recorded(hub: Hub, ask: Ask) -> None:
    """Only where the first may not be had, and never silently."""
    hub.create("team/gated", WHOLE, gated="manual", readers=("reader",))
    mirror = hub.create("team/mirror", WHOLE).branches["main"]
    names = {"checkpoint": "team/gated", "revision": "main", "mirror": "team/mirror"}
    spec = registry.find_model("gpt2").model_copy(update=names)
    place = located(spec)
    assert (place.checkpoint.source, place.checkpoint.revision) == ("team/mirror", mirror)
    assert place.note == "model 'gpt2': team/gated is gated, its mirror team/mirror is taken instead"
    ask("team/gated", token="hf_reader")
    assert located(spec).checkpoint.source == "team/gated"
    assert located(spec).note == ""


def test_disk_is_counted_over_all_models_that_will_be_fetched(
    hub: Hub, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alone would fit."""
    specs = []
    for name in ("team/first", "team/second"):
        hub.create(name, WHOLE)
        update = {"name": name[5:], "checkpoint": name, "revision": "main"}
        specs.append((registry.find_model("gpt2").model_copy(update=update), "full"))
    size = sum(map(len, WHOLE.values()))
    usage = shutil._ntuple_diskusage(10**9, 0, round(size * 1.5))  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    contract = CONTRACT.model_copy(update={"max_length": 256})
    places, left_out = preflight.usable(specs, Devices("cpu"), contract, by_name=False)
    assert [spec.name for spec, *_ in places] == ["first"]
    assert [(model.model, model.why) for model in left_out] == [("second", "too large")]
    assert "of the models before it" in left_out[0].reason
    with pytest.raises(NotEnough):
        preflight.usable(specs, Devices("cpu"), contract, by_name=True)


def test_where_nothing_can_run_every_reason_is_told(hub: Hub, ask: Ask) -> None:
    specs = [(registry.find_model(name), "full") for name in ("gpt2", "llama-2-7b")]
    with hub.down(), pytest.raises(NotEnough) as refusal:
        preflight.usable(specs, Devices("cpu"), CONTRACT, by_name=False)
    first, *reasons = str(refusal.value).splitlines()
    assert first == "none of the models can run here; --scale mini runs their twins"
    assert ["gpt2" in reasons[0], "llama-2-7b" in reasons[1]] == [True, True]


@pytest.mark.parametrize(
    ("checkpoint", "part"),
    [
        ("team/gated", "model 'mine': team/gated@main is gated; accept its licence"),
        ("team/huge", "model 'mine' needs 400000.0 GB in "),
        ("team/large", "model 'mine' has 2.0B parameters and there is no CUDA GPU"),
        ("team/short", "model 'mine' has 128 positions, --max-length is 160"),
    ],
)
def test_a_named_model_that_cannot_run_is_an_error_before_anything_starts(
    hub: Hub,
    ask: Ask,
    checkpoint: str,
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Although the description of a gated repository is public, and a twin beside it could run."""
    monkeypatch.setattr(devices, "here", lambda: Devices("cpu"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    spec = (ROOT / "models" / "gpt2.toml").read_text().replace(GPT2, checkpoint).replace(PINNED, "main")
    (tmp_path / "models" / "mine.toml").write_text(spec)
    config = json.dumps({"n_positions": 128 if checkpoint == "team/short" else 1024})
    files: dict[str, Any] = {**WHOLE, "config.json": config}
    if checkpoint == "team/huge":  # few numbers, and a file beside them that no disk holds
        files["tokenizer.model"] = Content(b"", claimed=4 * 10**14)
    if checkpoint == "team/large":
        files["model.safetensors"] = Content(b"", claimed=8 * 10**9)
    hub.create(checkpoint, files, gated="manual" if checkpoint == "team/gated" else False)
    hub.create(GPT2, WHOLE, sha=PINNED)
    assert run_verb([*RUN, "--models", "gpt2,mine"]) == 2
    assert part in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "reports").exists()


# Data sets


@pytest.fixture
def orca(hub: Hub, ask: Ask, shared: Path) -> Repository:
    """A data set that its spec names by a branch, with a few rows; a branch is resolved once a process."""
    sources._resolved.cache_clear()
    return published.publish_dataset(
        hub, "openorca", shared / "data" / "dolly" / "databricks-dolly-15k.jsonl"
    )


def test_a_branch_of_a_data_set_that_moves_is_another_data_set(orca: Repository) -> None:
    spec = registry.find_dataset("openorca")
    before = sources.identity(spec)
    assert sources.identity(spec) == before
    orca.commit({"README.md": "moved"})
    assert sources.identity(spec) == before, "one process reads one commit"
    sources._resolved.cache_clear()
    assert sources.identity(spec) != before


def test_rows_are_read_at_the_commit_that_the_identity_names(
    orca: Repository, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    asked: list[Any] = []
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **how: asked.append((name, how)) or _Rows())
    spec = registry.find_dataset("openorca").model_copy(update={"subset": 3})
    commit = orca.branches["main"]
    sources.identity(spec)
    orca.commit({"README.md": "moved"})
    assert len(list(sources.rows(spec))) == 3
    assert [(name, how["revision"], how["streaming"]) for name, how in asked] == [(spec.hub, commit, True)]


class _Rows(list[Any]):
    """Five rows that can be shuffled and cut off as a stream can."""

    def __init__(self) -> None:
        super().__init__({"question": f"q{n}", "response": "r"} for n in range(5))

    def shuffle(self, seed: int, buffer_size: int) -> _Rows:
        assert seed == sources.SUBSET_SEED
        return self

    def take(self, count: int) -> list[Any]:
        return self[:count]


def test_a_data_set_out_of_reach_says_how_to_go_on(orca: Repository, hub: Hub) -> None:
    with hub.down(), pytest.raises(Unreachable, match="or give a local copy by --data openorca=FILE"):
        sources.identity(registry.find_dataset("openorca"))


# The real command


@dataclass(frozen=True)
class Bench:
    """The `bench` command before a stand-in hub, with folders of its own."""

    hub: Hub
    folder: Path
    ran: list[subprocess.CompletedProcess[str]] = field(default_factory=list)

    def __call__(self, *words: str, token: str | None = None, out: str = "out") -> str:
        """Run the command; its output and messages."""
        settings = {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "BENCH_CACHE": str(self.folder / "cache"),
        }
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


def stock(hub: Hub, folder: Path, shared: Path, *names: str) -> None:
    """Put small checkpoints of these models on a hub, and Dolly."""
    for name in names:
        published.make_checkpoint(name, folder / name, shared / "tokenizers")
        published.publish_model(hub, name, folder / name, readers=["reader"])
    published.publish_dataset(
        hub, "dolly", shared / "data" / "dolly" / "databricks-dolly-15k.jsonl", rows=600
    )


@pytest.fixture(scope="module")
def bench(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The command before a hub that has GPT-2 and nothing else of the registry."""
    folder = tmp_path_factory.mktemp("gpt2")
    with Hub(TOKENS) as hub:
        stock(hub, folder, shared, "gpt2")
        yield Bench(hub, folder)


@pytest.fixture(scope="module")
def gpt2(bench: Bench) -> Any:
    """The record of GPT-2, asked for by `--models all`."""
    text = bench(*RUN, "--models", "all")
    assert bench.status == 0, text
    return bench.records()["gpt2"]


def test_a_published_checkpoint_goes_from_the_hub_to_a_record(bench: Bench, gpt2: Any) -> None:
    checkpoint = {"source": GPT2, "revision": PINNED, "kind": "hub"}
    assert gpt2.run.checkpoint.model_dump(exclude_none=True) == checkpoint
    assert (gpt2.spent.steps, gpt2.run.contract.train.name) == (4, "dolly")
    assert bench.hub.downloads(GPT2, PINNED)["model.safetensors"] == 1
    assert "pytorch_model.bin" not in bench.hub.downloads(GPT2)


def test_nothing_of_a_run_comes_from_a_branch(bench: Bench, gpt2: Any) -> None:
    assert not [request.path for request in bench.hub.requests if "/resolve/main/" in request.path]


def test_all_models_are_those_that_can_run_and_the_others_are_listed(bench: Bench, gpt2: Any) -> None:
    assert "to fetch from the hub: 0.0 GB" in bench.ran[0].stderr
    output, board = bench.ran[0].stdout, (bench.folder / "out" / "leaderboard.md").read_text()
    assert "### Left out" in board
    for text in (output, board):
        flat = " ".join(text.split())
        assert "llama-2-7b: too large; model 'llama-2-7b' has 6.7B parameters and there is no CUDA" in flat
        assert "phi-1.5: out of reach; model 'phi-1.5': microsoft/phi-1" in flat
        assert "gpt2: " not in flat.partition("eft out")[2]


def test_what_was_left_out_stays_on_the_board(
    bench: Bench, gpt2: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(["report", "--out", str(bench.folder / "out")]) == 0
    assert "phi-1.5: out of reach" in capsys.readouterr().out


@pytest.mark.slow
def test_with_the_hub_away_what_is_cached_is_run_again_and_gives_the_same_numbers(
    bench: Bench, gpt2: Any
) -> None:
    with bench.hub.down():
        text = bench(*RUN, "--models", "gpt2", out="again")
    assert bench.status == 0, text
    again = bench.records("again")["gpt2"]
    assert (again.id, again.scores) == (gpt2.id, gpt2.scores)


@pytest.mark.slow
def test_every_published_model_goes_from_the_hub_to_one_board(shared: Path, tmp_path: Path) -> None:
    """First without a token, while GPT-2's download breaks off again and again; then with one.

    A download that breaks off once is taken up where it ended, and the run notices nothing.
    """
    with Hub(TOKENS) as hub:
        bench = Bench(hub, tmp_path)
        stock(hub, tmp_path / "checkpoints", shared, *published.CHECKPOINTS)
        weights = f"{GPT2}/resolve/{PINNED}/model.safetensors"
        hub.cut(weights, after=300_000, times=50)
        text = bench(*RUN, *BRIEF, "--models", "all")
        assert bench.status == 1, text
        assert "gpt2, seed 0: failed in stage 'load'" in text
        assert "smollm2-135m: out of reach" in text
        assert set(bench.records()) == {*published.CHECKPOINTS} - {"gpt2", *LLAMAS}
        hub._cuts.clear()
        hub.forget()
        hub.cut(weights, after=STEP + 300_000)
        text = bench(*RUN, *BRIEF, "--models", "all", token="hf_reader")
        assert bench.status == 0, text
        assert f"bytes={STEP}-" in [request.range for request in hub.requests if weights in request.path]
        records = bench.records()
        assert set(records) == {*published.CHECKPOINTS}
        for name, record in records.items():
            entry = published.spec("models", name)
            main = hub.repositories["models", entry["checkpoint"]].branches["main"]
            checkpoint = record.run.checkpoint
            assert (checkpoint.source, checkpoint.revision) == (entry["checkpoint"], main)
            assert record.run.model.architecture == published.CHECKPOINTS[name].architecture
        board = (tmp_path / "out" / "leaderboard.md").read_text()
        assert "too large" not in board, "with a token both Llamas have a row"


def test_a_checkpoint_of_the_hub_needs_no_spec(hub: Hub, ask: Ask) -> None:
    """Its name, class, size and today's commit come from the hub; the recipe is the default one."""
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "dtype": "float32"}
    repository = hub.create("team/mine", {**WHOLE, "config.json": json.dumps(config)})
    spec = preflight_hub.published_model("team/mine")
    assert (spec.name, spec.checkpoint, spec.revision) == ("mine", "team/mine", repository.at("main").sha)
    assert (spec.architecture, spec.objective, spec.parameters) == ("GPT2LMHeadModel", "causal", 1000)
    assert spec.recipe == ModelSpec.model_fields["recipe"].get_default(call_default_factory=True)


def test_a_checkpoint_of_the_hub_that_writes_no_text_is_refused(hub: Hub, ask: Ask) -> None:
    """By its class, before anything is fetched."""
    config = {"model_type": "bert", "architectures": ["BertModel"]}
    hub.create("team/reads", {**WHOLE, "config.json": json.dumps(config)})
    with pytest.raises(RequestError, match="holds a BertModel, which writes no text"):
        preflight_hub.published_model("team/reads")


def test_the_hubs_name_of_a_registered_model_is_that_model(hub: Hub, ask: Ask) -> None:
    """With its recipe and its pinned commit; the hub is not asked."""
    (chosen, _), *rest = model_options.models(GPT2, "mini", [])
    assert chosen == registry.find_model("gpt2")
    assert rest == []


@pytest.mark.slow
def test_any_causal_model_of_the_hub_runs_by_its_name(bench: Bench, gpt2: Any) -> None:
    """From its name to a row, beside a registered one."""
    bench.hub.create("team/tiny", bench.hub.repositories["models", GPT2].at(PINNED).files)
    text = bench(*RUN, "--models", "gpt2,team/tiny", "--rank", "4")
    assert bench.status == 0, text
    record = bench.records()["tiny"]
    assert record.run.checkpoint.source == "team/tiny"
    assert record.run.recipe.rank == 4
