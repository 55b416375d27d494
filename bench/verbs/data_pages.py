"""`bench data pages URL... --to NAME`: the text of a site, read politely, as passages with their pages."""

from __future__ import annotations

import argparse
import sys
from importlib import metadata
from pathlib import Path

from bench.cache import cache_root
from bench.digest import digest
from bench.errors import RequestError
from bench.spec import NAME
from bench.verbs import Output
from bench.verbs.options import seconds, whole

NEEDED = ("protego", "trafilatura", "lxml")
#: Problems that are shown; the card lists more.
SHOWN = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Add where to begin and how far to go."""
    parser.add_argument(
        "urls", nargs="+", metavar="URL", help="pages to begin with; only their hosts are asked"
    )
    parser.add_argument("--to", required=True, metavar="NAME", help="the passages to write, in passages/")
    parser.add_argument(
        "--pages", type=whole(1, 100_000), default=200, metavar="N", help="at most (default: 200)"
    )
    parser.add_argument(
        "--depth", type=whole(0, 50), default=3, metavar="N", help="links to follow (default: 3)"
    )
    parser.add_argument(
        "--delay", type=seconds, default=1.0, metavar="S", help="seconds between two requests (default: 1)"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=10.0,
        metavar="S",
        help="seconds to wait for an answer (default: 10)",
    )
    parser.add_argument(
        "--allow-private", action="store_true", help="also ask addresses of this machine and its networks"
    )


def execute(args: argparse.Namespace) -> Output:
    """Crawl, or go on with the crawl that was interrupted; then write what was found."""
    _check_installed()
    from bench.curate.pages import addresses, crawl, fetch, kept, passages, writing

    if not NAME.fullmatch(args.to):
        raise RequestError(f"--to {args.to}: a name is of letters, digits, '.', '_' and '-'")
    urls = list(dict.fromkeys(addresses.start(url) for url in args.urls))
    fetcher = fetch.Fetcher(addresses.hosts_of(urls), args.delay, args.timeout, args.allow_private)
    bounds = crawl.Bounds(args.pages, args.depth)
    folder = cache_root() / "pages" / f"{args.to}-{digest([urls, args.pages, args.depth])[:16]}"
    result = crawl.crawl(urls, fetcher, kept.Kept(folder), bounds, _note)
    chosen, counts = passages.passages(result.pages)
    lines = [f"{len(result.pages):>8}  pages read, {result.asked} requests, {result.unchanged} unchanged"]
    lines += [f"{count:>8}  {reason}" for reason, count in counts.items()]
    lines += [f"{len(chosen):>8}  passages"]
    lines += [f"{count:>8}  links not followed: {reason}" for reason, count in sorted(result.left.items())]
    lines += [f"  {problem.url} {problem.reason}" for problem in result.problems[:SHOWN]]
    if len(result.problems) > SHOWN:
        lines.append(
            f"  and {len(result.problems) - SHOWN} more pages that could not be read, listed in the card"
        )
    if not chosen:
        raise RequestError(
            f"{', '.join(args.urls)}: no passage in {len(result.pages)} pages"
            + "".join(f"; {problem.url} {problem.reason}" for problem in result.problems[:1])
        )
    files = writing.write(args.to, urls, result, chosen, counts, Path.cwd())
    lines += ["", f"wrote {', '.join(str(file.relative_to(Path.cwd())) for file in files)}"]
    data = {
        "pages": [page.url for page in result.pages],
        "passages": len(chosen),
        "dropped": counts,
        "left": result.left,
        "problems": [{"url": problem.url, "reason": problem.reason} for problem in result.problems],
        "requests": result.asked,
        "unchanged": result.unchanged,
        "files": [str(file) for file in files],
    }
    return Output("\n".join(lines), data)


def _check_installed() -> None:
    for package in NEEDED:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            raise RequestError(
                f"bench data pages: '{package}' is missing; install it by: pip install 'bench-sft[pages]'"
            ) from None


def _note(number: int, url: str) -> None:
    print(f"page {number}: {url}", file=sys.stderr, flush=True)
