"""The containers' files: every instruction is valid, and names what exists."""

from __future__ import annotations

import http.server
import io
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from dockerfile_parse import DockerfileParser
from records import make_record

from bench import config
from bench.cli import parser_of, run_verb
from bench.serve.http.gate import OPEN

FILES = ["Dockerfile.cpu", "Dockerfile.cuda"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def instructions(name: str) -> list[tuple[str, str]]:
    parser = DockerfileParser(fileobj=io.BytesIO((ROOT / "docker" / name).read_bytes()))
    return [
        (each["instruction"], each["value"]) for each in parser.structure if each["instruction"] != "COMMENT"
    ]


def values(name: str, instruction: str) -> list[str]:
    return [value for kind, value in instructions(name) if kind == instruction]


def environment(name: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for value in values(name, "ENV") for pair in value.split())


@pytest.mark.parametrize("name", FILES)
def test_the_linter_finds_nothing(name: str) -> None:
    linter = Path(sys.executable).parent / "hadolint"
    if not linter.exists():
        pytest.skip("hadolint is not installed")
    done = subprocess.run([linter, ROOT / "docker" / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", FILES)
def test_every_file_that_is_copied_exists_and_is_sent_to_the_builder(name: str) -> None:
    ignored = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("#", "")
    ]
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert ignored[0] == "*"
    sources = [source for value in values(name, "COPY") for source in value.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in kept), source
    for needed in ("bench", "models", "datasets", "docs", "pyproject.toml", PROJECT["readme"], "LICENSE"):
        assert needed in sources


@pytest.mark.parametrize("name", FILES)
def test_what_is_installed_are_extras_and_constraints_that_exist(name: str) -> None:
    (install,) = [value for value in values(name, "RUN") if "'.[" in value]
    extras = re.search(r"'\.\[([\w,]+)\]'", install)
    assert extras is not None
    assert set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"])
    assert "serve" in extras[1]
    assert all("-c constraints.txt" in value for value in values(name, "RUN") if "pip install" in value)


@pytest.mark.parametrize("name", FILES)
def test_it_does_not_run_as_root(name: str) -> None:
    kinds = [kind for kind, _ in instructions(name)]
    (user,) = values(name, "USER")
    assert user.isdigit()
    assert int(user) > 0
    assert kinds.index("USER") > max(place for place, kind in enumerate(kinds) if kind in ("RUN", "COPY"))


@pytest.mark.parametrize("name", FILES)
def test_the_entry_point_is_the_command_and_the_server_it_starts_demands_a_token(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (entry,) = map(json.loads, values(name, "ENTRYPOINT"))
    assert entry == list(PROJECT["scripts"])
    for variable, value in environment(name).items():
        if variable.startswith("BENCH_SERVE_"):
            monkeypatch.setenv(variable, value)
    make_record(tmp_path, "gpt2")
    args = config.parsed(parser_of, "serve", ["serve", "gpt2"])
    assert (args.host, str(args.port)) == ("0.0.0.0", *values(name, "EXPOSE"))
    monkeypatch.delenv("BENCH_TOKEN", raising=False)
    assert run_verb(["serve", "gpt2", "--out", str(tmp_path)]) == 2
    assert "give --token" in capsys.readouterr().err


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server that answers everything with one status, and the paths that it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quietly."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", FILES)
def test_the_health_check_asks_a_route_that_needs_no_token(name: str) -> None:
    (check,) = values(name, "HEALTHCHECK")
    command = json.loads(check.partition("CMD")[2])
    command[0] = sys.executable

    def health(port: int) -> int:
        variables = {**os.environ, **environment(name), "BENCH_SERVE_PORT": str(port)}
        return subprocess.run(command, env=variables, capture_output=True, check=False).returncode

    with answering(200) as (port, asked):
        assert health(port) == 0
        assert asked == ["/healthz"]
    assert "/healthz" in OPEN
    assert health(port) != 0  # nobody listens any more
    with answering(503) as (port, _):
        assert health(port) != 0


def test_compose_builds_what_is_there_and_starts_a_command_that_is_parsed() -> None:
    serve = COMPOSE["services"]["serve"]
    for name in FILES:
        assert (ROOT / "docker" / name).is_file()
    assert serve["build"]["dockerfile"] == "${DOCKERFILE:-docker/Dockerfile.cpu}"
    words = [re.sub(r"\$\{RUN:[^}]*\}", "gpt2", word) for word in serve["command"]]
    assert parser_of("serve").parse_args(words).runs == ["gpt2"]
    assert all(
        port.startswith("127.0.0.1:") for each in COMPOSE["services"].values() for port in each["ports"]
    )
    assert "${BENCH_TOKEN:?" in serve["environment"]["BENCH_TOKEN"]
    mounted = [volume.split(":")[1] for volume in serve["volumes"]]
    folder = values(FILES[0], "WORKDIR")[-1]
    assert f"{folder}/{parser_of('serve').parse_args(words).out}" in mounted


def test_prometheus_scrapes_the_server_with_its_token() -> None:
    prometheus = COMPOSE["services"]["prometheus"]
    source, target, _ = prometheus["volumes"][0].split(":")
    assert target == "/etc/prometheus/prometheus.yml"
    (job,) = yaml.safe_load((ROOT / source).read_text())["scrape_configs"]
    (host, port) = job["static_configs"][0]["targets"][0].split(":")
    assert host in COMPOSE["services"]
    assert values(FILES[0], "EXPOSE") == [port]
    (secret,) = prometheus["secrets"]
    assert COMPOSE["secrets"][secret]["environment"] == "BENCH_TOKEN"
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    assert '"/metrics"' in (ROOT / "bench" / "serve" / "http" / "app.py").read_text()
    assert job["metrics_path"] == "/metrics"
