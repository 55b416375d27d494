"""Doubts in words: a short name that stands on a row, the sentence behind it, and how much of it there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.judge.doubts import Code, Doubt
from bench.render import words
from bench.store.record import BASE, BASE_CHAT

REFERENCES = {
    BASE: "the untuned model",
    BASE_CHAT: "the untuned model in its own chat template",
    "copy": "a copy of the question",
    "nearest": "the nearest training answer",
}


@dataclass(frozen=True)
class Badge:
    """A doubt for a reader; rows with equal `name` and `reason` share one note."""

    name: str
    reason: str
    amount: str = ""


def badge(doubt: Doubt) -> Badge:
    """The words of a doubt."""
    name, reason, amount = WORDS[doubt.code]
    return Badge(name, reason(doubt), amount(doubt))


def sentence(doubt: Doubt) -> str:
    """The whole of a doubt in one line, without the model's name."""
    words_of = badge(doubt)
    text = f"{words_of.reason}: {words_of.amount}" if words_of.amount else words_of.reason
    if doubt.difference:
        shift = doubt.difference
        text += f" ({words.change(shift.mean)}, 95% {words.change_interval(shift)})"
    return text


def _nothing(doubt: Doubt) -> str:
    return ""


def _share(doubt: Doubt) -> str:
    return f"{doubt.count} of {doubt.total}"


def _scores(doubt: Doubt) -> str:
    tuned, reference = doubt.values
    return f"{words.score(tuned)} against {words.score(reference)}"


def _epochs(doubt: Doubt) -> str:
    epochs = doubt.count / doubt.total
    return f"{doubt.count} examples seen of {doubt.total} available: {epochs:.1f} epochs"


def _overlap(doubt: Doubt) -> str:
    parts = ", ".join(f"{rows} {reason}" for reason, rows in doubt.parts)
    return (
        f"{doubt.names[0]}: {doubt.count} training rows overlapped the test part and were removed ({parts})"
    )


def _leak(doubt: Doubt) -> str:
    mean, level = doubt.values
    return (
        f"leak: {doubt.count} of {doubt.total} test questions are answered by a training row of "
        f"{doubt.names[0]}: the answer to the most similar training question scores {level:.1f} "
        f"{doubt.metric} or more there, {words.score(mean)} on average over all; "
        "such scores can be learnt by heart"
    )


def _few_examples(doubt: Doubt) -> str:
    gap, smallest = doubt.values
    return (
        f"{doubt.count} of {doubt.total} neighbouring pairs differ by less than {doubt.parts[0][1]} test "
        f"examples can show: median gap {gap:.3f} {doubt.metric}; a gap is found 8 times in 10 "
        f"from {smallest:.3f}"
    )


def _effort(doubt: Doubt) -> str:
    trials = ", ".join(f"{model} in {count or 'none'}" for model, count in doubt.parts)
    return f"recipes were tuned in unequally many trials ({trials}): part of a lead may be the search's"


Words = Callable[[Doubt], str]
#: code -> name on the row, reason, amount
WORDS: dict[Code, tuple[str, Words, Words]] = {
    Code.FALLBACK: ("fallback", lambda doubt: "; ".join(doubt.names), _nothing),
    Code.ONE_SEED: (
        "one seed",
        lambda _: "trained once: how much training luck moves this score was not measured",
        _nothing,
    ),
    Code.MINI: (
        "mini",
        lambda _: "a miniature twin: says whether the harness learns, not how good the checkpoint is",
        _nothing,
    ),
    Code.DEQUANTISED: (
        "dequantised",
        lambda doubt: f"weights dequantised from {doubt.names[0]}, not the published ones",
        _nothing,
    ),
    Code.ADAPTER: (
        "adapter",
        lambda doubt: (
            f"starts from the adapter {doubt.names[0]}, merged (digests {' and '.join(doubt.names[1:])}); "
            "'untuned' is that start"
        ),
        _nothing,
    ),
    Code.END_TOKEN: ("end token", lambda doubt: "; ".join(doubt.names), _nothing),
    Code.OWN_TEMPLATE: (
        "own template",
        lambda doubt: f"prompted with '{doubt.names[0]}', as its published recipe needs it",
        _nothing,
    ),
    Code.CHAT_BASE: (
        "two bases",
        lambda doubt: (
            f"untuned it was asked in template '{doubt.names[0]}' and in its own chat template; "
            "'over base' is over the better of both"
        ),
        lambda doubt: (
            f"base {words.score(doubt.values[0])}, in its own chat template {words.score(doubt.values[1])}"
        ),
    ),
    Code.TUNED: (
        "tuned",
        lambda doubt: f"recipe tuned in {doubt.count} trial{'s' * (doubt.count > 1)} on validation questions",
        _nothing,
    ),
    Code.UNEQUAL_EFFORT: ("unequal effort", _effort, _nothing),
    Code.MIXED_HARDWARE: (
        "mixed hardware",
        lambda doubt: f"rows ran on different machines: {'; '.join(doubt.names)}; last digits may differ",
        _nothing,
    ),
    Code.REPEATED_EPOCHS: ("repeated epochs", _epochs, _nothing),
    Code.TRUNCATED_TRAINING: (
        "truncated",
        lambda doubt: f"training examples were cut to {doubt.values[0]:.0f} tokens",
        lambda doubt: str(doubt.count),
    ),
    Code.CUT_PROMPTS: (
        "cut prompts",
        lambda doubt: (
            f"test prompts whose context was cut, to leave room for the answer ({doubt.values[0]:.0f} tokens)"
        ),
        _share,
    ),
    Code.CUT_ANSWERS: (
        "cut answers",
        lambda doubt: f"answers that reached the limit of {doubt.values[0]:.0f} new tokens",
        _share,
    ),
    Code.EMPTY_ANSWERS: ("empty answers", lambda _: "answers without a word", _share),
    Code.ECHOED_ANSWERS: ("echoed answers", lambda _: "answers that repeat the prompt", _share),
    Code.ALIKE_ANSWERS: (
        "alike answers",
        lambda _: "few different answers for all questions",
        _share,
    ),
    Code.SMALLER_BATCH: (
        "smaller batch",
        lambda _: "answered in smaller batches than the contract's, as memory allows",
        _share,
    ),
    Code.DIRTY_TREE: (
        "dirty tree",
        lambda _: "the program's source had changes that no commit holds",
        _nothing,
    ),
    Code.OVERLAP: ("warning", _overlap, _nothing),
    Code.LEAK: ("warning", _leak, _nothing),
    Code.EQUALS_REFERENCE: (
        "warning",
        lambda doubt: f"not distinguishable from {REFERENCES[doubt.names[0]]}",
        _scores,
    ),
    Code.BELOW_REFERENCE: (
        "warning",
        lambda doubt: (
            ("worse than " if doubt.names[0] in (BASE, BASE_CHAT) else "below ") + REFERENCES[doubt.names[0]]
        ),
        _scores,
    ),
    Code.FEW_EXAMPLES: ("warning", _few_examples, _nothing),
}
