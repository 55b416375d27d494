"""How much faster the scorer is than `rouge_score`, on the same pairs in one run.

`python -m benchmarks.scoring` prints both times and, last, `scoring ratio VALUE` (their time / ours).

The pairs are real answers, as reference and as candidate: half of the candidates are another answer of
about the same length, half are noisy copies of the reference, which is what an untuned and a well tuned
model give. Every round starts with new scorers, so that whatever is remembered was learnt within the round,
and the two take turns in small chunks, so that both meet the same disturbances of the machine.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from statistics import median
from time import perf_counter

from rouge_score.rouge_scorer import RougeScorer

from bench.score.rouge import Rouge

ROOT = Path(__file__).resolve().parent.parent
DOLLY = ROOT.parent / "shared/data/dolly/databricks-dolly-15k.jsonl"
COURSE = ROOT / "datasets/course-qa.jsonl"
CHUNK = 50

Pair = tuple[str, str]


def main() -> None:
    """Print both times of every round and the median of the rounds' ratios."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description=__doc__)
    options.add_argument("--dolly", type=Path, default=DOLLY, metavar="FILE", help="Dolly, as JSON lines")
    options.add_argument("--pairs", type=int, default=2000, metavar="N", help="pairs to score")
    options.add_argument("--rounds", type=int, default=3, metavar="N", help="interleaved rounds")
    options.add_argument("--no-stemmer", action="store_true", help="compare words instead of stems")
    chosen = options.parse_args()

    source = chosen.dolly if chosen.dolly.exists() else COURSE
    pairs = make_pairs(read_answers(source), chosen.pairs)
    print(f"{len(pairs)} pairs from {source.name}, {chosen.rounds} rounds, seconds per round")
    ratios = []
    for _ in range(chosen.rounds):
        theirs, ours = time_round(pairs, stemmer=not chosen.no_stemmer)
        ratios.append(theirs / ours)
        print(f"rouge_score {theirs:8.3f}   bench {ours:8.3f}   ratio {ratios[-1]:6.2f}", flush=True)
    print(f"scoring ratio {median(ratios):.2f}")


def read_answers(file: Path) -> list[str]:
    """Non-empty answers of a file of JSON lines, in file order."""
    answers: list[str] = []
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            answer = row.get("response") or row.get("answer") or ""
            if answer.strip():
                answers.append(answer)
    return answers


def make_pairs(answers: list[str], count: int, seed: int = 0) -> list[Pair]:
    """`count` pairs (reference, candidate): by turns a neighbour in length and a noisy copy."""
    rng = random.Random(seed)
    by_length = sorted(answers, key=len)
    pairs = []
    for turn in range(count):
        at = rng.randrange(len(by_length) - 1)
        candidate = noisy_copy(by_length[at], rng) if turn % 2 else by_length[at + 1]
        pairs.append((by_length[at], candidate))
    return pairs


def noisy_copy(text: str, rng: random.Random) -> str:
    """The text with about a quarter of its words dropped, doubled or swapped; its line breaks stay."""
    lines = []
    for line in text.split("\n"):
        words = line.split(" ")
        noisy: list[str] = []
        for word in words:
            chance = rng.random()
            if chance < 0.1:
                continue
            if chance < 0.15:
                noisy.append(word)
            noisy.append(rng.choice(words) if chance > 0.9 else word)
        lines.append(" ".join(noisy))
    return "\n".join(lines)


def time_round(pairs: list[Pair], *, stemmer: bool) -> tuple[float, float]:
    """Seconds of `rouge_score` and of the scorer over all pairs, each with a new scorer.

    Raises AssertionError when the two disagree: a wrong value has no speed.
    """
    reference_scorer = RougeScorer(list(Rouge.KINDS), use_stemmer=stemmer)
    scorer = Rouge(stemmer=stemmer)
    theirs = ours = 0.0
    for start in range(0, len(pairs), CHUNK):
        chunk = pairs[start : start + CHUNK]
        before = perf_counter()
        expected = [reference_scorer.score(reference, candidate) for reference, candidate in chunk]
        between = perf_counter()
        scores = [scorer.score(reference, candidate) for reference, candidate in chunk]
        after = perf_counter()
        theirs += between - before
        ours += after - between
        for wanted, got in zip(expected, scores, strict=True):
            for kind in Rouge.KINDS:
                if abs(wanted[kind].fmeasure - got[kind].f) > 1e-12:
                    raise AssertionError(f"{kind} differs: {wanted[kind]} expected, {got[kind]} found")
    return theirs, ours


if __name__ == "__main__":
    main()
