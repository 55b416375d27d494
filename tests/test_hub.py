"""The stand-in hub, held against the real client libraries in child processes.

Each child makes many calls and prints what came of them, because a process of its own costs more than
all of its calls; a test then looks at one of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import published
import pytest
from hub import Hub
from hub_repositories import Content

GPT2 = "openai-community/gpt2"
PINNED = str(published.spec("models", "gpt2")["revision"])
MISTRAL = "mistralai/Mistral-7B-v0.3"
LLAMA = "meta-llama/Llama-3.1-8B"
WEIGHTS = bytes(range(256)) * 4096
#: Clients read in steps of ten mebibytes; what came of a step that was cut is fetched again.
STEP = 10 * 2**20
TOKENS = {"hf_reader": "reader", "hf_stranger": "stranger", "hf_owner": "team"}
PRELUDE = """
import json, warnings
from pathlib import Path
from huggingface_hub import HfApi, auth_check, hf_hub_download, snapshot_download
warnings.simplefilter("ignore")
results = {}

def attempt(name, call):
    try:
        results[name] = call()
    except Exception as error:
        results[name] = [kind.__name__ for kind in type(error).__mro__]

def text(*args, **kwargs):
    return Path(hf_hub_download(*args, **kwargs)).read_text()
"""

Child = Callable[..., dict[str, Any]]


def child(hub: Hub, home: Path, code: str, token: str | None = None, **settings: str) -> dict[str, Any]:
    """Run code against the hub in a process of its own; what it put into `results`."""
    script = f"{PRELUDE}\n{code}\nprint(json.dumps(results))"
    environment = hub.environment(home, token, HF_HUB_DISABLE_PROGRESS_BARS="1", **settings)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return results


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub(TOKENS) as serving:
        yield serving


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(hub: Hub, home: Path) -> dict[str, Any]:
    """Everything that huggingface_hub alone is asked while the hub is well."""
    model = hub.create("team/model", {"config.json": "first", "sub/notes.txt": "n"}, sha="a" * 40)
    model.tag("v1")
    model.commit({"config.json": "second", "README.md": "---\nlicense: mit\n---\n"})
    model.commit({"config.json": "aside"}, branch="aside")
    hub.create("team/whole", {"config.json": "{}", "model.safetensors": WEIGHTS})
    hub.create("team/cut", {"model.safetensors": WEIGHTS * 20})
    hub.cut("team/cut", after=STEP + 300_000)
    hub.create("team/gated", {"config.json": "{}"}, gated="manual", readers=("reader",))
    hub.create("team/private", {"config.json": "{}"}, private=True, readers=("reader",))
    hub.create("team/huge", {"model.safetensors": Content(b"", claimed=10**15)})
    code = """
    api = HfApi()
    for name in ("main", "aside", "v1", "a" * 40):
        attempt(f"at {name}", lambda: text("team/model", "config.json", revision=name))
    attempt("no file", lambda: text("team/model", "absent.json"))
    attempt("no revision", lambda: text("team/model", "config.json", revision="absent"))
    attempt("no repository", lambda: text("team/absent", "config.json"))
    attempt("no repository, known", lambda: text("team/absent", "config.json", token="hf_reader"))
    attempt("no such token", lambda: text("team/model", "sub/notes.txt", token="hf_forged"))
    for repository in ("gated", "private"):
        for token in (False, "hf_stranger", "hf_reader", "hf_owner"):
            attempt(f"{repository} for {token}", lambda: auth_check(f"team/{repository}", token=token))
            attempt(f"{repository} file for {token}",
                    lambda: text(f"team/{repository}", "config.json", token=token))
    gated = api.model_info("team/gated")
    results["gated info"] = [gated.gated, gated.siblings[0].rfilename]
    info = api.model_info("team/model")
    results["info"] = [info.sha, info.card_data.license, [file.size for file in info.siblings]]
    info = api.model_info("team/model", revision="v1", files_metadata=True)
    results["sizes"] = {file.rfilename: file.size for file in info.siblings}
    results["huge"] = api.model_info("team/huge", files_metadata=True).siblings[0].lfs.size
    results["tree"] = [file.path for file in api.list_repo_tree("team/model")]
    results["whole tree"] = [file.path for file in api.list_repo_tree("team/model", recursive=True)]
    results["folder"] = [file.path for file in api.list_repo_tree("team/model", "sub", expand=True)]
    attempt("no folder", lambda: list(api.list_repo_tree("team/model", "absent")))
    results["refs"] = {ref.name: ref.target_commit for ref in api.list_repo_refs("team/model").branches}
    for turn in ("first", "second"):
        snapshot_download("team/whole")
    results["cut"] = Path(hf_hub_download("team/cut", "model.safetensors")).stat().st_size
    """
    return child(hub, home, _dedent(code))


def _dedent(code: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in code.splitlines())


@pytest.mark.parametrize(
    ("revision", "content"), [("main", "second"), ("aside", "aside"), ("v1", "first"), ("a" * 40, "first")]
)
def test_a_file_is_that_of_its_branch_tag_or_commit(client: Any, revision: str, content: str) -> None:
    assert client[f"at {revision}"] == content


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ("no file", "EntryNotFoundError"),
        ("no folder", "EntryNotFoundError"),
        ("no revision", "RevisionNotFoundError"),
        ("no repository", "RepositoryNotFoundError"),
        ("no repository, known", "RepositoryNotFoundError"),
        ("no such token", "HfHubHTTPError"),
    ],
)
def test_what_is_missing_raises_the_clients_own_error(client: Any, request_: str, error: str) -> None:
    assert error in client[request_]
    assert "GatedRepoError" not in client[request_]


@pytest.mark.parametrize("token", ["False", "hf_stranger"])
def test_a_gated_file_is_refused_as_gated_to_whom_the_licence_was_not_granted(
    client: Any, token: str
) -> None:
    assert "GatedRepoError" in client[f"gated for {token}"]
    assert "GatedRepoError" in client[f"gated file for {token}"]


@pytest.mark.parametrize("token", ["False", "hf_stranger"])
def test_a_private_repository_does_not_exist_for_others(client: Any, token: str) -> None:
    assert client[f"private for {token}"][0] == "RepositoryNotFoundError"
    assert client[f"private file for {token}"][0] == "RepositoryNotFoundError"


@pytest.mark.parametrize("token", ["hf_reader", "hf_owner"])
@pytest.mark.parametrize("repository", ["gated", "private"])
def test_readers_and_the_owner_pass(client: Any, repository: str, token: str) -> None:
    assert client[f"{repository} for {token}"] is None
    assert client[f"{repository} file for {token}"] == "{}"


def test_a_gated_repository_is_described_to_everybody(client: Any) -> None:
    assert client["gated info"] == ["manual", "config.json"]


def test_a_description_has_commit_and_card_and_no_sizes(client: Any, hub: Hub) -> None:
    head = hub.repositories["models", "team/model"].branches["main"]
    assert client["info"] == [head, "mit", [None, None, None]]


def test_sizes_are_given_when_they_are_asked_for(client: Any) -> None:
    assert client["sizes"] == {"config.json": len("first"), "sub/notes.txt": 1}


def test_a_file_may_claim_a_size_that_no_disk_has(client: Any) -> None:
    assert client["huge"] == 10**15


def test_a_listing_is_of_a_folder_or_of_everything_below(client: Any) -> None:
    assert client["tree"] == ["README.md", "config.json", "sub"]
    assert client["whole tree"] == ["README.md", "config.json", "sub", "sub/notes.txt"]
    assert client["folder"] == ["sub/notes.txt"]


def test_branches_name_their_commits(client: Any, hub: Hub) -> None:
    assert client["refs"] == hub.repositories["models", "team/model"].branches


def test_a_snapshot_taken_twice_fetches_nothing_twice(client: Any, hub: Hub) -> None:
    assert hub.downloads("team/whole") == {"config.json": 1, "model.safetensors": 1}


def test_a_cut_download_is_taken_up_where_it_ended(client: Any, hub: Hub) -> None:
    sent = [r for r in hub.requests if r.method == "GET" and r.path.startswith("/team/cut/")]
    assert client["cut"] == 20 * len(WEIGHTS)
    assert [(r.range, r.status, r.sent) for r in sent] == [
        (None, 200, STEP + 300_000),
        (f"bytes={STEP}-", 206, 20 * len(WEIGHTS) - STEP),
    ]


# A branch moves, the hub is away


CACHED = """
attempt("cached", lambda: text("team/model", "config.json"))
attempt("snapshot", lambda: sorted(path.name for path in Path(snapshot_download("team/whole")).iterdir()))
"""
UNCACHED = """
attempt("uncached", lambda: text("team/model", "sub/notes.txt"))
attempt("no snapshot", lambda: snapshot_download("team/unfetched"))
"""


@pytest.mark.parametrize("fault", ["down", "failing", "slow"])
def test_without_the_hub_what_is_cached_is_served(client: Any, hub: Hub, home: Path, fault: str) -> None:
    faults = {"down": hub.down(), "failing": hub.failing(503), "slow": hub.slow(1.5, "/team/")}
    with faults[fault]:
        results = child(hub, home, CACHED, HF_HUB_ETAG_TIMEOUT="1")
    assert results == {"cached": "second", "snapshot": ["config.json", "model.safetensors"]}


def test_offline_the_cache_is_served_and_nobody_is_asked(client: Any, hub: Hub, home: Path) -> None:
    before = len(hub.requests)
    results = child(hub, home, CACHED + UNCACHED, HF_HUB_OFFLINE="1")
    assert (results["cached"], results["snapshot"]) == ("second", ["config.json", "model.safetensors"])
    assert "LocalEntryNotFoundError" in results["uncached"]
    assert "LocalEntryNotFoundError" in results["no snapshot"]
    assert len(hub.requests) == before


def test_after_it_was_down_the_hub_serves_again_at_the_same_address(
    client: Any, hub: Hub, tmp_path: Path
) -> None:
    address = hub.url
    with hub.down():
        pass
    assert hub.url == address
    assert child(hub, tmp_path, CACHED)["cached"] == "second"


def test_a_moved_branch_gives_another_commit_and_the_old_one_stays(hub: Hub, tmp_path: Path) -> None:
    model = hub.create("team/moving", {"config.json": "old"})
    old = model.branches["main"]
    new = model.commit({"config.json": "new"})
    code = (
        "attempt('it', lambda: [snapshot_download('team/moving')[-40:], text('team/moving', 'config.json')])"
    )
    assert child(hub, tmp_path, code)["it"] == [new, "new"]
    model.move("main", old)
    assert child(hub, tmp_path, code)["it"] == [old, "old"]


# Pushing


@pytest.fixture(scope="module")
def pushed(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "sub").mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Tuned\n")
    (folder / "sub" / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "old.txt").write_bytes(b"soon gone")
    code = f"""
    api, folder = HfApi(), Path({str(folder)!r})
    results["user"] = api.whoami()["name"]
    results["url"] = api.create_repo("team/tuned", private=True)
    attempt("again", lambda: api.create_repo("team/tuned"))
    attempt("tolerant", lambda: api.create_repo("team/tuned", exist_ok=True))
    results["commits"] = [api.upload_folder(repo_id="team/tuned", folder_path=folder).oid]
    (folder / "old.txt").unlink()
    (folder / "new.txt").write_text("new")
    for turn in range(2):
        commit = api.upload_folder(repo_id="team/tuned", folder_path=folder, delete_patterns="old.*")
        results["commits"].append(commit.oid)
    results["back"] = Path(hf_hub_download("team/tuned", "sub/model.safetensors")).stat().st_size
    attempt("stale", lambda: api.upload_file(repo_id="team/tuned", path_or_fileobj=b"x", path_in_repo="x",
                                             parent_commit=results["commits"][0]))
    attempt("of another", lambda: api.upload_file(repo_id="team/tuned", path_or_fileobj=b"x",
                                                  path_in_repo="x", token="hf_reader"))
    attempt("elsewhere", lambda: api.create_repo("reader/tuned"))
    attempt("anonymous", lambda: api.create_repo("team/anonymous", token=False))
    results["set"] = api.create_repo("team/rows", repo_type="dataset")
    """
    return child(hub, tmp_path_factory.mktemp("home"), _dedent(code), token="hf_owner")


def test_a_folder_is_pushed_and_comes_back(pushed: Any, hub: Hub) -> None:
    tuned = hub.repositories["models", "team/tuned"]
    assert list(tuned.commits[pushed["commits"][0]].files) == [
        ".gitattributes",
        "README.md",
        "old.txt",
        "sub/model.safetensors",
    ]
    assert pushed["back"] == len(WEIGHTS)


def test_a_second_push_deletes_what_it_was_told_to_and_adds_what_is_new(pushed: Any, hub: Hub) -> None:
    tuned = hub.repositories["models", "team/tuned"]
    assert list(tuned.at("main").files) == [
        ".gitattributes",
        "README.md",
        "new.txt",
        "sub/model.safetensors",
    ]


def test_pushing_what_is_there_makes_no_commit(pushed: Any) -> None:
    assert pushed["commits"][1] == pushed["commits"][2] != pushed["commits"][0]


def test_a_new_repository_has_the_address_of_the_stand_in(pushed: Any, hub: Hub) -> None:
    assert pushed["url"] == pushed["tolerant"] == f"{hub.url}/team/tuned"
    assert pushed["set"] == f"{hub.url}/datasets/team/rows"
    assert hub.repositories["models", "team/tuned"].private


@pytest.mark.parametrize("request_", ["again", "stale", "of another", "elsewhere", "anonymous"])
def test_who_may_not_write_is_refused(pushed: Any, request_: str) -> None:
    assert "HfHubHTTPError" in pushed[request_]


# transformers


@pytest.fixture(scope="module")
def transformed(hub: Hub, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Models and tokenizers, loaded by name; the branch of gpt2 has moved on and carries an adapter."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in ("gpt2", "mistral-7b-v0.3"):
        published.make_checkpoint(name, folder / name, shared / "tokenizers")
        published.publish_model(hub, name, folder / name)
    adapter = {"peft_type": "LORA", "base_model_name_or_path": MISTRAL}
    hub.repositories["models", GPT2].commit({"adapter_config.json": json.dumps(adapter)})
    code = f"""
    from transformers import AutoModelForCausalLM, AutoTokenizer, logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    def load(*args, **kwargs):
        return type(AutoModelForCausalLM.from_pretrained(*args, **kwargs)).__name__
    attempt("carelessly pinned", lambda: load("{GPT2}", revision="{PINNED}"))
    attempt("adapter pinned", lambda: load("{GPT2}", revision="{PINNED}",
                                           adapter_kwargs={{"revision": "{PINNED}"}}))
    attempt("folder", lambda: load(snapshot_download("{GPT2}", revision="{PINNED}",
                                                     allow_patterns=["*.json", "model.safetensors"])))
    attempt("tokenizer", lambda: len(AutoTokenizer.from_pretrained("{GPT2}", revision="{PINNED}")))
    attempt("sharded", lambda: load("{MISTRAL}"))
    attempt("tokens", lambda: AutoTokenizer.from_pretrained("{MISTRAL}")("A tree.").input_ids)
    """
    return child(hub, tmp_path_factory.mktemp("home"), _dedent(code))


def test_a_sharded_checkpoint_is_loaded_shard_by_shard_and_only_once(transformed: Any, hub: Hub) -> None:
    files = hub.downloads(MISTRAL)
    shards = {file: count for file, count in files.items() if file.endswith(".safetensors")}
    assert transformed["sharded"] == "MistralForCausalLM"
    assert len(shards) == 3
    assert set(shards.values()) == {1}


def test_weights_in_another_format_stay_on_the_hub(transformed: Any, hub: Hub) -> None:
    assert "consolidated.safetensors" in hub.repositories["models", MISTRAL].at("main").files
    assert "consolidated.safetensors" not in hub.downloads(MISTRAL)
    assert "pytorch_model.bin" not in hub.downloads(GPT2)


def test_tokenizers_are_the_real_ones(transformed: Any, shared: Path) -> None:
    from transformers import AutoTokenizer

    real = AutoTokenizer.from_pretrained(shared / "tokenizers" / "mistral-7b-v0.3")
    assert transformed["tokens"] == real("A tree.").input_ids
    assert transformed["tokenizer"] == 50_257


@pytest.mark.parametrize("way", ["adapter pinned", "folder"])
def test_a_single_file_is_loaded_at_its_pinned_commit(transformed: Any, hub: Hub, way: str) -> None:
    assert transformed[way] == "GPT2LMHeadModel"
    assert hub.downloads(GPT2, PINNED)["model.safetensors"] == 1


def test_an_adapter_at_main_stops_a_pinned_model_unless_it_is_pinned_too(transformed: Any, hub: Hub) -> None:
    """`revision` leaves one request unpinned; both ways above ask for nothing but the pinned commit."""
    unpinned = {(r.method, r.path) for r in hub.requests if GPT2 in r.path and PINNED not in r.path}
    at_main = f"/{GPT2}/resolve/main/adapter_config.json"
    assert "OSError" in transformed["carelessly pinned"]
    assert unpinned == {("HEAD", at_main), ("GET", at_main)}
    assert hub.count("HEAD", at_main) == 1


# datasets


@pytest.fixture(scope="module")
def rows(hub: Hub, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    for name in published.LAYOUTS:
        published.publish_dataset(hub, name, shared / "data" / "dolly" / "databricks-dolly-15k.jsonl")
    code = """
    from datasets import load_dataset
    first = next(iter(load_dataset("Open-Orca/OpenOrca", split="train", streaming=True)))
    for name in ("databricks/databricks-dolly-15k", "timdettmers/openassistant-guanaco",
                 "Open-Orca/OpenOrca"):
        streamed = list(load_dataset(name, revision="main", split="train", streaming=True))
        stored = list(load_dataset(name, revision="main", split="train"))
        results[name] = [len(stored), stored == streamed, stored[0]]
    """
    return child(hub, tmp_path_factory.mktemp("home"), _dedent(code))


@pytest.mark.parametrize(
    ("name", "count", "columns"),
    [
        ("databricks/databricks-dolly-15k", 160, ["instruction", "context", "response", "category"]),
        ("timdettmers/openassistant-guanaco", 152, ["text"]),
        ("Open-Orca/OpenOrca", 160, ["id", "system_prompt", "question", "response"]),
    ],
)
def test_a_data_set_has_its_published_columns_streamed_or_stored(
    rows: Any, name: str, count: int, columns: list[str]
) -> None:
    length, equal, first = rows[name]
    assert (length, equal, list(first)) == (count, True, columns)


def test_a_conversation_is_one_string_of_turns(rows: Any) -> None:
    text = rows["timdettmers/openassistant-guanaco"][2]["text"]
    assert text.startswith("### Human: ")
    assert "### Assistant: " in text


def test_the_first_streamed_row_needs_only_the_first_file(rows: Any, hub: Hub) -> None:
    sent = [r.path.split("/")[-1] for r in hub.requests if r.range and "OpenOrca" in r.path]
    second = sent.index("3_5M-GPT3_5-Augmented.parquet")
    assert sent[:second].count("1M-GPT4-Augmented.parquet") >= 2


@pytest.mark.parametrize("name", sorted(published.CHECKPOINTS))
def test_every_registered_model_has_a_checkpoint_of_its_class(name: str) -> None:
    assert published.spec("models", name)["architecture"] == published.CHECKPOINTS[name].architecture


def test_a_checkpoint_is_published_at_the_commit_and_behind_the_gate_of_its_spec(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    llama = published.publish_model(Hub(), "llama-3.1-8b", tmp_path, readers=["reader"])
    assert (llama.repo_id, llama.gated, llama.readers) == (LLAMA, "manual", {"reader"})
    assert llama.branches == {"main": published.spec("models", "llama-3.1-8b")["revision"]}
