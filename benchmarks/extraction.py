"""What `bench data pages` keeps of real pages, beside other extractors.  `python -m benchmarks.extraction`.

Twenty pages of documentation are taken out of packages of PyPI and Debian and handed to each extractor.
`pages.toml` marks, of each page, sentences that belong to its text and strings of its navigation, header and
footer; the words themselves stay where they are. Recall is the share of the sentences that are kept;
precision the share of sentences among all marked strings that are kept. Letters and digits alone are
compared, so an extractor's blanks and signs do not count. "All text" keeps everything. The others need:
pip install justext readability-lxml
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

ANNOTATED = Path(__file__).parent / "pages.toml"
#: Letters of a sentence that its mark shows.
FIRST = 6
NEEDED = ("justext", "readability-lxml")


@dataclass(frozen=True)
class Annotated:
    """A page by package, version and path, and what is and is not its text."""

    source: Literal["pypi", "debian"]
    package: str
    version: str
    path: str
    #: Of the page's bytes, so that no other page is scored by these annotations.
    digest: str
    #: As `mark` gives them.
    facts: Sequence[str]
    navigation: Sequence[str]

    @property
    def name(self) -> str:
        """As in "mako caching.html"."""
        return f"{self.package} {Path(self.path).name}"


@dataclass
class Kept:
    """Sentences and strings of navigation that one extractor kept, of how many."""

    facts: int = 0
    of_facts: int = 0
    navigation: int = 0
    of_navigation: int = 0

    def add(self, other: Kept) -> None:
        """Count another page in."""
        self.facts += other.facts
        self.of_facts += other.of_facts
        self.navigation += other.navigation
        self.of_navigation += other.of_navigation

    @property
    def recall(self) -> float:
        """The share of the sentences that are kept."""
        return self.facts / max(self.of_facts, 1)

    @property
    def precision(self) -> float:
        """The share of sentences among what is kept."""
        return self.facts / max(self.facts + self.navigation, 1)


def by_bench(content: bytes) -> str:
    """The text that `bench data pages` makes passages of, headings included."""
    from bench.curate.pages import text
    from bench.curate.pages.fetch import Page

    page = Page("http://localhost/", 200, content, {"content-type": "text/html"})
    return " ".join(f"{block.heading} {block.text}" for block in text.document(page).blocks)


def by_justext(content: bytes) -> str:
    """The paragraphs that jusText takes for text, by its English stop words."""
    import justext

    paragraphs = justext.justext(content, justext.get_stoplist("English"))
    return " ".join(paragraph.text for paragraph in paragraphs if not paragraph.is_boilerplate)


def by_readability(content: bytes) -> str:
    """The main element as readability finds it."""
    from lxml import html
    from readability import Document

    return str(html.fromstring(Document(content.decode("utf-8", "replace")).summary()).text_content())


def all_text(content: bytes) -> str:
    """Everything but scripts and styles."""
    from lxml import html

    tree = html.fromstring(content)
    for element in tree.xpath("//script|//style"):
        element.drop_tree()
    return str(tree.text_content())


EXTRACTORS: dict[str, Callable[[bytes], str]] = {
    "bench": by_bench,
    "jusText": by_justext,
    "readability": by_readability,
    "all text": all_text,
}


def annotated() -> list[Annotated]:
    """Every page of the table."""
    return [Annotated(**page) for page in tomllib.loads(ANNOTATED.read_text(encoding="utf-8"))["page"]]


def kept(text: str, page: Annotated) -> Kept:
    """What of a page's annotations is in an extractor's text."""
    plain = folded(text)
    facts, navigation = (
        sum(stands(marked, plain) for marked in marks) for marks in (page.facts, page.navigation)
    )
    return Kept(facts, len(page.facts), navigation, len(page.navigation))


def mark(sentence: str) -> str:
    """The first letters of a sentence, how many it has, and their digest: found by it, not read in it."""
    letters = folded(sentence)
    return f"{letters[:FIRST]} {len(letters)} {_digest(letters)}"


def stands(marked: str, plain: str) -> bool:
    """Whether a folded text holds the sentence of a mark."""
    first, length, digest = marked.split()
    places = (found.start() for found in re.finditer(f"(?={re.escape(first)})", plain))
    return any(_digest(plain[place : place + int(length)]) == digest for place in places)


def _digest(letters: str) -> str:
    return hashlib.sha256(letters.encode()).hexdigest()[:16]


def folded(text: str) -> str:
    """Letters and digits alone, in lower case."""
    return re.sub(r"[\W_]+", "", text.lower())


def content_of(page: Annotated, folder: Path) -> bytes | str:
    """The bytes of a page out of its package, or in words why it cannot be had."""
    try:
        archive = _archive(page, folder)
        with archive:
            for member in archive:
                if member.name.partition("/")[2] == page.path:  # below "./", or below name and version
                    file = archive.extractfile(member)
                    content = file.read() if file else b""
                    same = hashlib.sha256(content).hexdigest().startswith(page.digest)
                    return content if same else "is another page than the one that was annotated"
    except (OSError, subprocess.CalledProcessError, tarfile.TarError) as error:
        return f"cannot be had: {error}"
    return "is not in its package"


def _archive(page: Annotated, folder: Path) -> tarfile.TarFile:
    """The files of a page's package, fetched by pip or apt unless the folder holds it."""
    place = folder / f"{page.source}-{page.package}"
    place.mkdir(exist_ok=True)
    if not (files := list(place.iterdir())):
        if page.source == "pypi":
            wanted = [f"{page.package}=={page.version}", "--no-deps", "--no-binary", ":all:"]
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-build-isolation", *wanted]
        else:
            command = ["apt-get", "download", "-q", f"{page.package}={page.version}"]
        subprocess.run(command, cwd=place, check=True, capture_output=True)
        files = list(place.iterdir())
    if page.source == "pypi":
        return tarfile.open(files[0])
    unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", files[0]], check=True, capture_output=True)
    return tarfile.open(fileobj=io.BytesIO(unpacked.stdout))


def main() -> None:
    """Fetch, extract, print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.extraction", description=__doc__)
    options.add_argument("--packages", type=Path, metavar="DIR", help="folder in which packages are kept")
    asked = options.parse_args()
    for name in NEEDED:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            raise SystemExit(f"the other extractors need: pip install {' '.join(NEEDED)}") from None
    with tempfile.TemporaryDirectory() as place:
        folder = asked.packages or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        report(annotated(), folder)


def report(pages: Sequence[Annotated], folder: Path) -> None:
    """A line for each page, with sentences and navigation that each extractor kept; then all together."""
    totals = {name: Kept() for name in EXTRACTORS}
    print(f"{'sentences kept + navigation kept':<36}" + "".join(f"{name:>16}" for name in EXTRACTORS))
    missing = 0
    for page in pages:
        content = content_of(page, folder)
        if isinstance(content, str):
            missing += 1
            print(f"{page.name:<36}  {content}")
            continue
        if kept(all_text(content), page).facts < len(page.facts):
            raise SystemExit(f"{page.name}: an annotated sentence is not in the page")
        cells = []
        for name, extract in EXTRACTORS.items():
            result = kept(extract(content), page)
            totals[name].add(result)
            cells.append(f"{result.facts}/{result.of_facts} + {result.navigation}/{result.of_navigation}")
        print(f"{page.name:<36}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
    print(f"{len(pages) - missing} of {len(pages)} pages")
    for measure in ("recall", "precision"):
        values = [getattr(total, measure) for total in totals.values()]
        print(f"{measure:<36}" + "".join(f"{value:>16.1%}" for value in values))


if __name__ == "__main__":
    main()
