"""The paths of the stand-in hub: what each answers, and with which status and error code.

A gated repository shows its description and its listing to everybody and its files to its readers; a
private one does not exist for anybody else. Without a token that is 401 and not 404, as on the real hub.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_repositories import Commit, Kind, Repository

Repositories = dict[tuple[Kind, str], Repository]
JSON = {"Content-Type": "application/json; charset=utf-8"}


@dataclass
class Answer:
    """A status, a body, and the headers beside the usual ones."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    #: The length that the header announces, where it is not the body's.
    announced: int | None = None

    @property
    def length(self) -> int:
        return len(self.body) if self.announced is None else self.announced

    @classmethod
    def of(cls, data: Any, status: int = 200) -> Answer:
        """An answer in JSON."""
        return cls(status, json.dumps(data).encode(), dict(JSON))


class Refused(Exception):
    """An error that the clients tell apart by its code."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.answer = Answer.of({"error": message}, status)
        self.answer.headers |= {"X-Error-Message": message, **headers}
        if code:
            self.answer.headers["X-Error-Code"] = code


class Exchange:
    """One request, with the repositories that it may touch."""

    def __init__(
        self,
        repositories: Repositories,
        url: str,
        user: str | None,
        method: str,
        target: str,
        headers: Message,
        body: bytes,
    ) -> None:
        self.repositories, self.url, self.user = repositories, url, user
        self.method, self.headers, self.body = method, headers, body
        parsed = urlsplit(target)
        # A slash inside a revision or a path arrives quoted: split first, decode then.
        self.parts = [unquote(part) for part in parsed.path.strip("/").split("/")]
        self.query = parse_qs(parsed.query)

    def answer(self) -> Answer:
        """The answer; raises Refused."""
        match self.method, self.parts:
            case "GET", ["api", "whoami-v2"]:
                return Answer.of(
                    {"type": "user", "name": self.username(), "orgs": [], "auth": {"type": "access_token"}}
                )
            case "POST", ["api", "repos", "create"]:
                return self.create()
            case "POST", ["api", "validate-yaml"]:
                return Answer.of({"errors": [], "warnings": []})
            case _, ["api", ("models" | "datasets") as kind, owner, name, *rest]:
                return self.about(self.repository(kind, f"{owner}/{name}"), rest)
            case (("GET" | "HEAD"), ["datasets", owner, name, "resolve", revision, *steps]):
                return self.file(self.repository("datasets", f"{owner}/{name}"), revision, "/".join(steps))
            case (("GET" | "HEAD"), [owner, name, "resolve", revision, *steps]):
                return self.file(self.repository("models", f"{owner}/{name}"), revision, "/".join(steps))
        raise Refused(404, f"Cannot {self.method} /{'/'.join(self.parts)}")

    def about(self, repository: Repository, rest: list[str]) -> Answer:
        """What `/api/models/ID/...` answers."""
        match self.method, rest:
            case "GET", []:
                return self.description(repository, "main")
            case "GET", ["revision", revision]:
                return self.description(repository, revision)
            case "GET", ["tree", revision, *steps]:
                commit = self.commit(repository, revision)
                try:
                    listing = commit.listing(
                        "/".join(steps), recursive=self.flag("recursive"), expand=self.flag("expand")
                    )
                except KeyError:
                    raise Refused(404, f"{'/'.join(steps)} does not exist", "EntryNotFound") from None
                return Answer.of(listing)
            case "POST", ["paths-info", revision]:
                return self.paths_info(self.commit(repository, revision))
            case "GET", ["refs"]:
                return Answer.of(_refs(repository))
            case "GET", ["auth-check"]:
                self.must_read(repository)
                return Answer.of({})
            case "GET", ["auth-check", "write"]:
                self.must_write(repository)
                return Answer.of({})
            case "POST", ["preupload", revision]:
                self.must_write(repository)
                return self.preupload(self.commit(repository, revision))
            case "POST", ["commit", branch]:
                self.must_write(repository)
                return self.push(repository, branch)
        raise Refused(404, f"Cannot {self.method} /{'/'.join(self.parts)}")

    # Reading

    def file(self, repository: Repository, revision: str, path: str) -> Answer:
        """A file's content or a range of it; for HEAD the headers alone."""
        self.must_read(repository)
        commit = self.commit(repository, revision)
        content = commit.files.get(path)
        if content is None:
            raise Refused(404, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": commit.sha})
        headers = {
            "Content-Type": "application/octet-stream",
            "ETag": commit.etag(path),
            "X-Repo-Commit": commit.sha,
            "Accept-Ranges": "bytes",
        }
        if self.method == "HEAD":
            return Answer(200, b"", headers, content.size)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not wanted:
            return Answer(200, content.read(), headers, content.size)
        start, end = int(wanted[1]), min(int(wanted[2] or content.size), content.size - 1)
        if start >= content.size:
            return Answer(416, b"", headers | {"Content-Range": f"bytes */{content.size}"})
        headers["Content-Range"] = f"bytes {start}-{end}/{content.size}"
        return Answer(206, content.part(start, end + 1), headers, end + 1 - start)

    def description(self, repository: Repository, revision: str) -> Answer:
        """The description, or of it what `expand` names."""
        commit = self.commit(repository, revision)
        data = repository.description(commit, with_sizes=self.flag("blobs"))
        if names := self.query.get("expand"):
            data = {name: data[name] for name in ("_id", "id", *names) if name in data}
        return Answer.of(data)

    def paths_info(self, commit: Commit) -> Answer:
        """The entries of the paths named in a form or in JSON; those that do not exist are left out."""
        if self.headers.get("Content-Type", "").startswith("application/json"):
            names = json.loads(self.body)["paths"]
        else:
            names = parse_qs(self.body.decode())["paths"]
        known = [
            name
            for name in names
            if name in commit.files or any(p.startswith(f"{name}/") for p in commit.files)
        ]
        return Answer.of([commit.entry(name) for name in known])

    # Writing

    def create(self) -> Answer:
        """A new repository of the user's; 409 where it exists."""
        wanted = json.loads(self.body)
        kind: Kind = "datasets" if wanted.get("type") == "dataset" else "models"
        owner, user = wanted.get("organization"), self.username()
        repo_id = f"{owner or user}/{wanted['name']}"
        if owner not in (None, user):
            raise Refused(403, f"You don't have the rights to create a repository under {owner}")
        place = {"url": f"{self.url}/{'datasets/' if kind == 'datasets' else ''}{repo_id}", "name": repo_id}
        if (kind, repo_id) in self.repositories:
            return Answer.of({"error": "You already created this repo", **place}, 409)
        repository = Repository(repo_id, kind, private=wanted.get("visibility") == "private")
        repository.commit({".gitattributes": b""}, title="initial commit")
        self.repositories[kind, repo_id] = repository
        return Answer.of(place)

    def preupload(self, commit: Commit) -> Answer:
        """How each file is to be sent: all of them inside the commit, none by large storage."""
        modes = []
        for file in json.loads(self.body)["files"]:
            current = commit.files.get(file["path"])
            oid = current.git_oid if current else None
            modes.append({"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": oid})
        return Answer.of({"files": modes})

    def push(self, repository: Repository, branch: str) -> Answer:
        """A commit from lines of JSON; 412 where the branch has left the parent that the client names."""
        head = self.commit(repository, branch).sha
        title, files, deleted = "Update", {}, []
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "header":
                    title = value["summary"]
                    if not head.startswith(value.get("parentCommit", "")):
                        raise Refused(412, "A commit has happened since. Please refresh and try again.")
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "deletedFile":
                    deleted.append(value["path"])
                case "deletedFolder":
                    deleted.append(value["path"].rstrip("/") + "/")
                case unknown:
                    raise Refused(400, f"{unknown} is not taken")
        sha = repository.commit(files, delete=tuple(deleted), branch=branch, title=title)
        prefix = "datasets/" if repository.kind == "datasets" else ""
        url = f"{self.url}/{prefix}{repository.repo_id}/commit/{sha}"
        return Answer.of({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})

    # Who may

    def username(self) -> str:
        if self.user is None:
            raise Refused(401, "Invalid username or password.")
        return self.user

    def repository(self, kind: Kind, repo_id: str) -> Repository:
        repository = self.repositories.get((kind, repo_id))
        if repository is None or (repository.private and not repository.may_read(self.user)):
            if self.user is None:
                raise Refused(401, "Invalid username or password.", "RepoNotFound")
            raise Refused(404, "Repository not found", "RepoNotFound")
        return repository

    def must_read(self, repository: Repository) -> None:
        if repository.may_read(self.user):
            return
        refusal = f"Access to {repository.kind[:-1]} {repository.repo_id} is restricted"
        if self.user is None:
            remedy = "You must have access to it and be authenticated to access it. Please log in."
            raise Refused(401, f"{refusal}. {remedy}", "GatedRepo")
        remedy = f"Visit {self.url}/{repository.repo_id} to ask for access."
        raise Refused(403, f"{refusal} and you are not in the authorized list. {remedy}", "GatedRepo")

    def must_write(self, repository: Repository) -> None:
        if self.username() != repository.owner:
            raise Refused(403, f"You don't have write access to {repository.repo_id}")

    def commit(self, repository: Repository, revision: str) -> Commit:
        try:
            return repository.at(revision)
        except KeyError:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound") from None

    def flag(self, name: str) -> bool:
        return self.query.get(name, ["false"])[0].lower() in ("true", "1")


def _refs(repository: Repository) -> dict[str, Any]:
    def listed(kind: str, names: Mapping[str, str]) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha} for name, sha in names.items()
        ]

    return {
        "branches": listed("heads", repository.branches),
        "tags": listed("tags", repository.tags),
        "converts": [],
    }
