"""What the stand-in hub stores: repositories whose branches and tags name commits of whole file trees.

Nothing here speaks HTTP; `hub` serves these and names the errors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

Kind = Literal["models", "datasets"]
#: What the hub keeps in large storage, known by SHA-256; all other files are git objects.
LARGE = (".safetensors", ".bin", ".pth", ".parquet", ".gguf")
DATE = "2024-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Content:
    """The content of one file, in memory or on disk."""

    source: bytes | Path
    #: A size to claim in headers and listings, for files too large for a test; downloads of it fall short.
    claimed: int | None = None

    @property
    def size(self) -> int:
        if isinstance(self.source, Path):
            return self.claimed or self.source.stat().st_size
        return self.claimed or len(self.source)

    def read(self) -> bytes:
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    def part(self, start: int, end: int) -> bytes:
        """The bytes from `start` on, up to `end`, without reading all of a file."""
        if isinstance(self.source, bytes):
            return self.source[start:end]
        with self.source.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    @cached_property
    def git_oid(self) -> str:
        data = self.read()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.read()).hexdigest()


@dataclass(frozen=True)
class Commit:
    """A whole tree of files under a hash that never means another tree."""

    sha: str
    files: Mapping[str, Content]
    title: str

    def etag(self, path: str) -> str:
        """What tells two contents of a file apart."""
        content = self.files[path]
        return f'"{content.sha256 if path.endswith(LARGE) else content.git_oid}"'

    def entry(self, path: str, *, expand: bool = False) -> dict[str, Any]:
        """One file or folder as a listing shows it; KeyError where there is none."""
        newest = {"lastCommit": {"id": self.sha, "title": self.title, "date": DATE}} if expand else {}
        if content := self.files.get(path):
            file = {"type": "file", "oid": content.git_oid, "size": content.size, "path": path}
            return file | self._large(path) | newest
        if not any(name.startswith(f"{path}/") for name in self.files):
            raise KeyError(path)
        return {
            "type": "directory",
            "oid": hashlib.sha1(path.encode()).hexdigest(),
            "size": 0,
            "path": path,
        } | newest

    def listing(self, folder: str, *, recursive: bool, expand: bool) -> list[dict[str, Any]]:
        """The entries of a folder, or of everything below it; KeyError where there is no such folder."""
        prefix = f"{folder}/" if folder else ""
        names: dict[str, None] = {}
        for path in self.files:
            if path.startswith(prefix):
                steps = path.removeprefix(prefix).split("/")
                deepest = len(steps) if recursive else 1
                names |= dict.fromkeys(prefix + "/".join(steps[:depth]) for depth in range(1, deepest + 1))
        if folder and not names:
            raise KeyError(folder)
        return [self.entry(name, expand=expand) for name in names]

    def siblings(self, *, with_sizes: bool) -> list[dict[str, Any]]:
        """The files as the description of a repository shows them."""
        if not with_sizes:
            return [{"rfilename": path} for path in self.files]
        return [
            {"rfilename": path, "blobId": content.git_oid, "size": content.size} | self._large(path)
            for path, content in self.files.items()
        ]

    def _large(self, path: str) -> dict[str, Any]:
        if not path.endswith(LARGE):
            return {}
        digest, size = self.files[path].sha256, self.files[path].size
        return {"lfs": {"oid": digest, "sha256": digest, "size": size, "pointerSize": 134}}


@dataclass
class Repository:
    """A model or a data set: its commits, the names that point at them, and who may read it."""

    repo_id: str
    kind: Kind = "models"
    #: Description and listing are public, files are for `readers`: a licence that has to be accepted.
    gated: Literal["auto", "manual", False] = False
    #: Whoever is not among `readers` is answered as if the repository did not exist.
    private: bool = False
    #: Users, not tokens. The owner always reads, and alone writes.
    readers: set[str] = field(default_factory=set)
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return self.repo_id.split("/")[0]

    def may_read(self, user: str | None) -> bool:
        """Whether this user gets the files."""
        return not (self.gated or self.private) or user == self.owner or user in self.readers

    def commit(
        self,
        files: Mapping[str, bytes | str | Path | Content],
        *,
        delete: tuple[str, ...] = (),
        branch: str = "main",
        title: str = "Update",
        sha: str | None = None,
    ) -> str:
        """Add, replace and delete files on a branch; the new commit's hash.

        `sha` gives the commit the hash that a spec pins; otherwise it is a digest of parent and tree. A
        name in `delete` that ends in `/` is a folder.
        """
        parent = self.branches.get(branch) or self.branches.get("main")
        tree = dict(self.commits[parent].files) if parent else {}
        for name in delete:
            folder = name if name.endswith("/") else None
            tree = {
                path: content
                for path, content in tree.items()
                if path != name and not (folder and path.startswith(folder))
            }
        for path, data in files.items():
            data = data.encode() if isinstance(data, str) else data
            tree[path] = data if isinstance(data, Content) else Content(data)
        tree = dict(sorted(tree.items()))
        if sha is None:
            described = [str(parent), title, *(f"{path} {content.git_oid}" for path, content in tree.items())]
            sha = hashlib.sha1("\n".join(described).encode()).hexdigest()
        self.commits[sha] = Commit(sha, tree, title)
        self.branches[branch] = sha
        return sha

    def move(self, branch: str, sha: str) -> None:
        """Point a branch at another commit of this repository."""
        self.branches[branch] = self.commits[sha].sha

    def tag(self, name: str, revision: str = "main") -> None:
        """Name the commit of a revision for good."""
        self.tags[name] = self.at(revision).sha

    def at(self, revision: str) -> Commit:
        """The commit of a branch, a tag or a full hash; KeyError where there is none."""
        return self.commits[self.branches.get(revision) or self.tags.get(revision) or revision]

    def description(self, commit: Commit, *, with_sizes: bool) -> dict[str, Any]:
        """What the hub tells of a repository at a commit; file sizes only where they are asked for."""
        return {
            "_id": hashlib.sha1(self.repo_id.encode()).hexdigest()[:24],
            "id": self.repo_id,
            "author": self.owner,
            "sha": commit.sha,
            "private": self.private,
            "gated": self.gated,
            "disabled": False,
            "tags": [],
            "createdAt": DATE,
            "lastModified": DATE,
            "cardData": _front_matter(commit.files.get("README.md")),
            "siblings": commit.siblings(with_sizes=with_sizes),
        }


def _front_matter(card: Content | None) -> dict[str, str]:
    """The plain `key: value` lines of a card's header."""
    text = card.read().decode() if card else ""
    header = text.split("---\n")[1] if text.startswith("---\n") else ""
    pairs = (line.split(":", 1) for line in header.splitlines() if ":" in line and line[0].isalpha())
    return {key: value.strip() for key, value in pairs if value.strip()}
