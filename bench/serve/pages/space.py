"""The files of a Hugging Face Space that answers with an exported model.

    DIR/README.md          the header that the hub reads, and what the run was
        app.py             a Gradio page; `bench.serve.pages.app` as it stands
        space.json         model, prompt and facts for the page
        requirements.txt   the versions that the run was scored under
        model/             the weights, where they were not pushed to a repository of their own

No test question travels. The app is Gradio's; nothing of this program runs in the Space.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from bench.errors import RequestError
from bench.prompt import TEMPLATES
from bench.render.card import LICENCES
from bench.serve.exported import manifest
from bench.store.ledger import Stored
from bench.store.record import CARD

#: The release of Gradio that the page is written for.
GRADIO = "6.31.0"
WEIGHTS, SETTINGS = "model", "space.json"
APP = Path(__file__).parent / "app.py"
NEEDED = ("torch", "transformers", "tokenizers", "safetensors")


def check(to: Path, stored: Stored, is_merged: bool) -> None:
    """Raise `RequestError` where no Space can be written."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise RequestError(f"--space {to}: exists; name a new folder")
    if stored.record.run.recipe.adapter and not is_merged:
        raise RequestError("--space: needs weights that load by themselves; add --merge")


def write(to: Path, stored: Stored, exported: Path, repository: str | None, verified: str) -> None:
    """Write the files; the weights too, unless `repository` holds them. Raises `RequestError`."""
    try:
        to.mkdir(parents=True, exist_ok=True)
        if repository is None:
            left_out = shutil.ignore_patterns(manifest.RECORDS, CARD)
            shutil.copytree(exported, to / WEIGHTS, ignore=left_out)
        shutil.copyfile(APP, to / "app.py")
        facts = _settings(stored, repository or WEIGHTS, verified)
        text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
        (to / SETTINGS).write_text(text, encoding="utf-8")
        (to / "requirements.txt").write_text(_requirements(stored), encoding="utf-8")
        (to / "README.md").write_text(_header(stored, repository, facts), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"--space {to}: cannot be written ({error.strerror})") from None


def _settings(stored: Stored, model: str, verified: str) -> dict[str, Any]:
    record, run = stored.record, stored.record.run
    tuned, gain = record.scores["tuned"]["rougeL"], record.gain["rougeL"]
    contract = run.contract
    answer = contract.decoding.max_new_tokens if run.model.objective == "causal" else 0
    return {
        "model": model,
        "objective": run.model.objective,
        "template": list(TEMPLATES.get(run.template, ("{context}\n\n{question}", "{question}"))),
        "room": max(contract.max_length - answer, 16),
        "title": f"{run.name}, tuned on {contract.train.name}",
        "facts": (
            f"{run.recipe.method} with {contract.budget}, seed {run.seed}. ROUGE-L {tuned.mean:.3f} "
            f"({tuned.low:.3f} to {tuned.high:.3f}) on {record.written['tuned'].examples} test questions, "
            f"{gain.mean:+.3f} over the untuned model. {verified}"
        ),
    }


def _requirements(stored: Stored) -> str:
    versions = stored.record.provenance.versions
    held = [f"{name}=={versions[name].partition('+')[0]}" for name in NEEDED if name in versions]
    return "\n".join(held) + "\n"


def _header(stored: Stored, repository: str | None, facts: dict[str, Any]) -> str:
    """The Space's README; JSON strings are YAML strings."""
    fields = {
        "title": facts["title"],
        "sdk": "gradio",
        "sdk_version": GRADIO,
        "app_file": "app.py",
        "license": LICENCES.get(stored.record.run.model.licence, "other"),
        "models": [repository] if repository else None,
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items() if value]
    return "\n".join(["---", *lines, "---", "", f"# {facts['title']}", "", facts["facts"]]) + "\n"
