"""A page's main text and links: the only module that imports trafilatura and lxml.

Where extraction is in doubt, text is kept: what stands on many pages goes later, and what is lost
never comes back.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.curate.pages import addresses
from bench.curate.pages.fetch import Page
from bench.data import shape

_CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([\w-]+)""", re.IGNORECASE)
_HEAD = 4096
#: Elements of the main text that are one block each.
_BLOCKS = ("p", "quote", "code", "row", "item")


@dataclass(frozen=True)
class Block:
    """A paragraph, an item of a list, or a row of a table, under the heading that it stands under."""

    heading: str
    text: str


@dataclass(frozen=True)
class PageText:
    """The blocks of a page in order, and its links."""

    url: str
    blocks: list[Block] = field(default_factory=list)
    links: list[str] = field(default_factory=list)


def document(page: Page) -> PageText:
    """What a page says, without its navigation, and where it leads."""
    from lxml import etree
    from lxml import html as parser

    source = decoded(page)
    try:
        tree = parser.document_fromstring(source.encode(), parser=parser.HTMLParser(encoding="utf-8"))
    except (etree.ParserError, ValueError, AssertionError):
        return PageText(page.url)  # an empty page
    base = next(iter(tree.xpath("//base/@href")), "")
    base = addresses.normalised(str(base), page.url) or page.url
    found = (addresses.normalised(str(link), base) for link in tree.xpath("//a/@href"))
    links = list(dict.fromkeys(link for link in found if link))
    if "nofollow" in " ".join(map(str, tree.xpath("//meta[@name='robots']/@content"))).lower():
        links = []
    return PageText(page.url, list(_blocks(source)), links)


def decoded(page: Page) -> str:
    """The text of a page, in the charset of its header, else the declared one, else UTF-8, else cp1252."""
    kind = page.headers.get("content-type", "")
    named = re.search(r"charset\s*=\s*[\"']?([\w-]+)", kind, re.IGNORECASE)
    declared = _CHARSET.search(page.body[:_HEAD])
    names = [named[1] if named else "", declared[1].decode() if declared else "", "utf-8", "cp1252"]
    for name in filter(None, names):
        try:
            return page.body.decode("cp1252" if codecs.lookup(name).name == "iso8859-1" else name)
        except (LookupError, UnicodeDecodeError):
            continue
    return page.body.decode("cp1252", errors="replace")


def _blocks(source: str) -> Iterator[Block]:
    import trafilatura
    from lxml import etree

    written = trafilatura.extract(
        source, output_format="xml", include_comments=False, include_tables=True, favor_recall=True
    )
    if not written:
        return
    heading = ""
    for element in etree.fromstring(written.encode()).iter("head", *_BLOCKS):
        words = shape.clean(" ".join(" ".join(element.itertext()).split()))
        if element.tag == "head":
            heading = words
        elif words and not any(parent.tag in _BLOCKS for parent in element.iterancestors()):
            yield Block(heading, words)
