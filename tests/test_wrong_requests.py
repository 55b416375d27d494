"""Wrong requests: one line that says what is wrong, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest
from conftest import ROOT
from records import make_record

from bench.cli import VERBS, run_verb

RUN = "run --models gpt2 --budget smoke"
#: What is asked for -> a part of the line that answers; one request a line.
REQUESTS = """
frobnicate                                  | unknown verb 'frobnicate'
rnu --models all                            | did you mean 'run'?
run --nope                                  | unrecognized arguments: --nope
run extra                                   | unrecognized arguments: extra
RUN --config none.toml                      | none.toml: is not there
RUN --config .                              | .: is a folder, not a file
RUN --config                                | expected one argument
chat                                        | arguments are required: RUN
env extra                                   | unrecognized arguments: extra
help contrat                                | unknown topic 'contrat'
completion tcsh                             | invalid choice: 'tcsh'
completion                                  | name a shell
compare --samples a.jsonl b.jsonl           | a.jsonl: is not there
compare --samples a.txt b.txt               | holds no samples that are known
RUN --eval-limit -1                         | at least 0, not '-1'
RUN --eval-limit x                          | whole number, at least 0, not 'x'
RUN --eval-limit 1.5                        | not '1.5'
RUN --eval-limit 1e3                        | not '1e3'
RUN --eval-limit 99999999999999999999999    | whole number
RUN --eval-limit 5                          | only 5 test examples
RUN --max-length 0                          | at least 32
RUN --max-length 5                          | at least 32
RUN --max-length 16                         | at least 32
RUN --max-length -512                       | at least 32
RUN --max-length 999999                     | at most 131,072
RUN --max-length 600                        | has 512 positions, --max-length is 600
RUN --max-length 100                        | leaves 4 of --max-length 100
RUN --max-new-tokens 0                      | not '0'
RUN --max-new-tokens -3                     | not '-3'
RUN --max-new-tokens 600                    | leaves 0 of --max-length 512 tokens for the prompt
RUN --max-new-tokens 500                    | leaves 12 of --max-length 512
RUN --max-new-tokens many                   | whole number
RUN --jobs 0                                | at least 1
RUN --jobs -1                               | at least 1
RUN --jobs two                              | whole number
RUN --jobs 100000                           | at most 1,024
RUN --checkpoint-every 0                    | at least 1
RUN --checkpoint-every -5                   | at least 1
RUN --time-limit 0                          | seconds, above 0
RUN --time-limit -5                         | seconds, above 0
RUN --time-limit nan                        | seconds, above 0
RUN --time-limit inf                        | seconds, above 0
RUN --time-limit soon                       | seconds, above 0
RUN --seeds a                               | expected whole numbers
RUN --seeds 1,,2                            | expected whole numbers
RUN --seeds 0.5                             | expected whole numbers
RUN --seeds -1                              | --seeds
RUN --seeds 0,0                             | each seed once
RUN --seeds 12345678901234567890            | from 0 to 4,294,967,295
RUN --seeds 4294967296                      | from 0 to 4,294,967,295
RUN --budget 0.x8                           | expected STEPSxBATCH
tune --models gpt2 --budget 0               | without training no recipe differs
new model                                   | required: NAME
new data gpt2                               | invalid choice: 'data'
new model gtp2                              | did you mean 'gpt2'?
new model ./nope                            | there is no such checkpoint
new model gpt2 --force                      | is a registered model already
list datasets --gpu T4                      | --gpu is for models
RUN --budget 10x0                           | must be at least 1
RUN --budget 60                             | expected STEPSxBATCH
RUN --budget 60x                            | expected STEPSxBATCH
RUN --budget x8                             | expected STEPSxBATCH
RUN --budget 6.5x8                          | expected STEPSxBATCH
RUN --budget examples=                      | expected STEPSxBATCH
RUN --budget examples=-8                    | expected STEPSxBATCH
RUN --budget examples=30                    | use examples=24
RUN --budget shrot                          | expected STEPSxBATCH
RUN --budget 99999999999x8                  | more than 10,000,000 examples
RUN --budget 10x6                           | does not divide the effective batch 6
RUN --scale huge                            | invalid choice: 'huge'
RUN --backend cuda                          | invalid choice: 'cuda'
RUN --backend unsloth                       | no 4-bit causal model among gpt2 at scale mini
RUN --eval-split train                      | invalid choice: 'train'
RUN --template q                            | unknown prompt template 'q'
RUN --template INSTRUCT                     | unknown prompt template
RUN --train doly                            | did you mean 'dolly'?
RUN --train ../course-qa                    | no registered data set
RUN --eval cource-qa                        | did you mean 'course-qa'?
RUN --data dolly                            | expected NAME=FILE
RUN --data =file                            | expected NAME=FILE
RUN --data ../x=file                        | expected NAME=FILE
RUN --data course-qa=nowhere.csv            | nowhere.csv is no file
RUN --data other=empty.csv                  | is not used; the request names
RUN --data course-qa=folder                 | folder is no file
RUN --data x=empty.csv --train x            | empty.csv
RUN --data x=zeros.csv --train x            | zeros.csv
RUN --data x=head.csv --train x             | head.csv
RUN --data x=broken.jsonl --train x         | broken.jsonl
RUN --data x=list.jsonl --train x           | list.jsonl
RUN --data x=binary.parquet --train x       | binary.parquet
RUN --data x=wrong.txt --train x            | wrong.txt
RUN --data x=columns.csv --train x          | columns.csv
RUN --report-to foo                         | 'foo' is none of tensorboard
RUN --report-to wandb,foo                   | --report-to
RUN --out file                              | is no folder
RUN --out file/deeper                       | is no folder
RUN --with trl=1                            | trl=1
RUN --with trl==                            | trl==
RUN --with ==1                              | ==1
RUN --metrics ./nowhere                     | ./nowhere
run --models gtp2                           | did you mean 'gpt2'?
run --models GPT2                           | did you mean 'gpt2'?
run --models ,                              | names no model
run --models gpt2,nope                      | unknown model 'nope'
run --models ./nope                         | there is no such checkpoint
run --models ../../etc                      | there is no such checkpoint
run --models folder/                        | the folder has no config.json
run --models ./a.gguf                       | there is no such checkpoint
run --models ./not.gguf                     | not.gguf
run --models gpt2=./nope                    | there is no such checkpoint
run --models nope=./folder                  | unknown model 'nope'
run --models ./pickled                      | pickled weights can run code
run --models ./coded                        | 'auto_map'
run --models ./cut                          | is no whole safetensors file
run --models ./gpt2                         | is a registered model
run --models ./a/m,./b/m                    | are both called 'm'
run --models ./short                        | 64 positions
run --models ./list                         | config.json
run --models ./unparsable                   | config.json
run --models ./deep                         | config.json
run --models ./classless                    | 'architectures' names no class
run --models ./halved                       | is no whole safetensors file
run --models ./mute                         | holds no tokenizer
run --models ./muddled                      | tokenizer.json: is not JSON
run --models ./shardless                    | names weights that are not there: model-00002
plan --models ./mute                        | holds no tokenizer
plan --models bad-optimizer                 | 'adamw_tirch'; did you mean 'adamw_torch'?
plan --models bad-mini-optimizer            | 'recipe.mini.optimizer' is no optimizer that is run here: 'lomo'
plan --models bad-target                    | names 'q_porj', no module of it; did you mean 'q_proj'?
plan --models no-target                     | 'targets' names no module
plan --models gpt2 --train pages.parquet    | pages.parquet: is damaged after row 0
plan --models gpt2 --train broken.jsonl --encoding punycode | unknown encoding 'punycode'
run --models llama-3.1-8b --scale full      | no CUDA GPU
run --models smollm2-135m --scale mini      | has no twin
run                --budget                 | expected one argument
plan --models nope                          | unknown model
plan --max-length 3                         | at least 32
plan --models gpt2 --seeds x                          | expected whole numbers
plan --models gpt2 --budget 0x0                           | must be at least 1
matrix                                      | needs an axis
matrix --with trl                           | expected NAME==VERSION
matrix --with trl== --with trl==1           | expected NAME==VERSION
matrix --with trl==1.14.2 --with trl==1.0   | names one package twice
bisect                                      | required: PACKAGE, GOOD, BAD
bisect trl                                  | required: GOOD, BAD
compare                                     | required: A, B
compare main                                | required: B
compare nope current                        | unknown set of records 'nope'
compare current trl==99                     | unknown environment
compare current empty                       | empty
compare current current --metric nope       | unknown metric 'nope'
compare current current --threshold 2       | from 0 to 1
compare current current --threshold nan     | from 0 to 1
compare current current --drift -1          | from 0 to 1
compare current current --markdown file/x   | cannot be written
gate                                        | required: --baseline
gate --baseline nope                        | unknown baseline 'nope'
gate --baseline ../x                        | unknown baseline
gate --baseline broken                      | is not a baseline
gate --baseline main --current nope         | unknown
baseline                                    | required: action, NAME
baseline load x                             | invalid choice: 'load'
baseline save                               | required: NAME
baseline save a/b                           | a name is made of
baseline save x --from nope                 | unknown set of records
history                                     | required: MODEL
history nope                                | unknown model with records 'nope'
history gpt2 --metric nope                  | nope
explain                                     | required: A, B
explain nope current                        | unknown set of records 'nope'
explain current nope                        | unknown set of records 'nope'
explain current current --metric nope       | nope
score                                       | required: RUN, --metrics
score gpt2                                  | required: --metrics
score nope --metrics em                     | unknown run 'nope'
score gpt2 --metrics f2                     | did you mean 'f1'?
score gpt2 --metrics judge                  | needs --endpoint URL and --model M
score gpt2 --metrics em --model m           | belong together
score gpt2 --metrics similarity             | needs --embedding FOLDER
score gpt2 --metrics em --embedding nope    | is no folder of a model
compare reports reports --arm all           | invalid choice: 'all'
compare reports reports --metric chrf       | bench score RUN --metrics chrf
RUN --arms retrieve                         | did you mean 'retrieved'?
RUN --arms both --rows 0                    | at least 1
RUN --arms both --retriever dense --embedding no  | is no folder of a model
RUN --retriever dense                       | add --arms retrieved
show                                        | required: RUN
show nope                                   | unknown run 'nope'
list                                        | required: what
list rnus                                   | invalid choice: 'rnus'
report --out file                           | cannot be written
report --readme nope.md                     | --readme nope.md: is no file
report --readme plain.md                    | add the two lines
merge                                       | required: DIR, --out
merge reports                               | required: --out
merge nope --out new                        | nope: is no folder
merge empty --out new                       | holds no records
merge reports --out reports                 | is where the records go
merge reports --out file                    | is no folder
ask                                         | required: RUN
ask nope what                               | nope
verify                                      | required: RUN
verify nope                                 | nope
verify gpt2 --sample 0                      | at least 1
export nope --to new                        | nope
export gpt2                                 | required: --to
serve                                       | required: RUN
serve nope                                  | nope
serve gpt2 --port 99999                     | at most
tune --models nope                          | unknown model 'nope'
tune --models gpt2 --trials 0               | at least 1
tune --models gpt2 --eval dolly             | leave out --eval
tune --models gpt2 --trials 40              | the grid of 'gpt2' has 28 recipes
run --models gpt2 --recipes nope            | make it by: bench tune
run --models gpt2 --recipes file            | is no file of 'bench tune'
run --models gpt2 --recipes list.jsonl      | is no file of 'bench tune'
run --models gpt2 --methods nope            | unknown method 'nope'
run --models gpt2 --budget 4x8,4x8          | each budget once
run --models gpt2 --on nope                 | expected ray, auto, or ray://HOST:10001
run --models gpt2 --on ray://x:y            | expected ray, auto, or ray://HOST:10001
run --models gpt2 --tries 0 --on ray        | at least 1
data                                        | required: ACTION
data nope                                   | unknown data set 'nope'
data x --data x=nowhere                     | nowhere
check --nope                                | unrecognized arguments
twins                                       | required: what, FAMILY
twins dance                                 | invalid choice: 'dance'
twins build nope                            | nope
twins build gpt2 --tokens 0                 | at least 1
twins build gpt2 --seed -1                  | --seed
"""
CASES = [tuple(part.strip() for part in line.split("|")) for line in REQUESTS.strip().splitlines()]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one record, a baseline, and whatever the requests name that is wrong in itself."""
    make_record(tmp_path / "reports")
    assert run_verb(["baseline", "save", "main", "--out", str(tmp_path / "reports")]) == 0
    (tmp_path / "reports" / "baselines" / "broken.json").write_text("[1]")
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for name in ("folder", "empty"):
        (tmp_path / name).mkdir()
    for name, part in SPECS.items():
        (tmp_path / "models").mkdir(exist_ok=True)
        (tmp_path / "models" / f"{name}.toml").write_text(SPEC + part)
    damaged_pages(tmp_path / "pages.parquet")
    for name, spoil in CHECKPOINTS.items():
        shutil.copytree(ROOT / "models" / "twins" / "gpt2", tmp_path / name)
        spoil(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


SPEC = """
checkpoint = "someone/model"
licence = "mit"
family = "gpt-neo"
architecture = "GPTNeoForCausalLM"
objective = "causal"
parameters = 125_000_000
twin = "gpt-neo"
"""
SPECS = {
    "bad-optimizer": '[recipe]\noptimizer = "adamw_tirch"\n',
    "bad-mini-optimizer": '[recipe.mini]\noptimizer = "lomo"\n',
    "bad-target": '[recipe]\ntargets = ["v_proj", "q_porj"]\n',
    "no-target": "[recipe]\ntargets = []\n",
}


def damaged_pages(file: Path) -> None:
    """A Parquet file whose footer is whole and whose first page is not."""
    rows = {"question": [f"What is {n}?" for n in range(500)], "answer": [f"It is {n}." for n in range(500)]}
    parquet.write_table(pyarrow.table(rows), file, write_page_checksum=True)
    content = bytearray(file.read_bytes())
    content[60] ^= 0xFF
    file.write_bytes(content)


FILES = {
    "file": b"x",
    "plain.md": b"# no markers\n",
    "empty.csv": b"",
    "zeros.csv": b"\0" * 100,
    "head.csv": b"question,answer\n",
    "broken.jsonl": b'{"question": "a", "answer": "b"}\n{"question": \n',
    "list.jsonl": b"[1, 2]\n",
    "binary.parquet": b"PAR1 nothing",
    "wrong.txt": b"a text",
    "columns.csv": b"foo,bar\n1,2\n",
    "not.gguf": b"GGUF nothing",
}


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def config(**changes: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return spoil


CHECKPOINTS: dict[str, Callable[[Path], object]] = {
    "pickled": without_weights,
    "coded": config(auto_map={"AutoModel": "evil.Model"}),
    "cut": lambda folder: (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{"),
    "gpt2": lambda folder: None,
    "a/m": lambda folder: None,
    "b/m": lambda folder: None,
    "short": config(n_positions=64),
    "list": lambda folder: (folder / "config.json").write_text("[]"),
    "unparsable": lambda folder: (folder / "config.json").write_text("{"),
    "deep": lambda folder: (folder / "config.json").write_text("[" * 100_000),
    "classless": config(architectures=5),
    "halved": lambda folder: os.truncate(folder / "model.safetensors", 1_000_000),
    "mute": lambda folder: [file.unlink() for file in folder.glob("*token*")],
    "muddled": lambda folder: (folder / "tokenizer.json").write_text("{"),
    "shardless": lambda folder: (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}})
    ),
}


def tree(folder: Path) -> set[str]:
    """What lies in a folder; the cache is elsewhere."""
    return {str(file.relative_to(folder)) for file in folder.rglob("*")}


def test_wrong_requests_are_one_line_each(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line of the table: its answer, its exit code, and a folder as it was before."""
    wrong = []
    before = tree(here)
    for words, expected in CASES:
        capsys.readouterr()
        try:
            code = run_verb(words.replace("RUN", RUN).split())
        except BaseException as error:
            wrong.append(f"{words}: {type(error).__name__}: {error}")
            continue
        shown = capsys.readouterr()
        lines = (shown.err + shown.out).splitlines()
        if code != 2 or len(lines) != 1 or expected not in lines[0]:
            wrong.append(f"{words}: exit {code}, {len(lines)} lines: {(lines or [''])[0][:200]}")
        if new := tree(here) - before:
            wrong.append(f"{words}: wrote {sorted(new)[:3]}")
            before |= new
    assert not wrong, "\n" + "\n".join(wrong)
    assert len(CASES) >= 150
    assert {words.replace("RUN", RUN).split()[0] for words, _ in CASES} >= set(VERBS)
