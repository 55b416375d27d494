"""The page of `bench chat`: tuned and untuned answers to a question, side by side, as they are written.

The only module that imports Gradio. Answers are made as the run's were, by its template and decoding. Every
text is shown as text: answers, questions and what a record says of itself never become HTML or markdown. The
page loads nothing from elsewhere and reports nothing to anyone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Literal

from bench.errors import RequestError
from bench.render.clean import printable
from bench.serve.engine import SIDES, Engine
from bench.store.ledger import Stored

Shown = Literal["both", "tuned", "base"]
#: Test questions offered as examples.
EXAMPLES = 50
#: Characters of a question or context; more than any prompt has room for.
LONGEST = 100_000
#: Questions that wait for their turn: one is answered at a time.
WAITING = 32
FONTS = ["system-ui", "sans-serif"]


def replies(engine: Engine, stops: tuple[str, ...]) -> Callable[[str, str, Shown], Iterator[tuple[str, str]]]:
    """The function behind the button: texts of tuned and untuned model, ever longer."""

    def reply(question: str, context: str, side: Shown) -> Iterator[tuple[str, str]]:
        if not question or not question.strip():
            yield "Ask a question first.", ""
            return
        texts = {"tuned": "", "base": ""}
        for each in SIDES:
            if side in ("both", each):
                for piece in engine.stream(question[:LONGEST], (context or "")[:LONGEST], each, stops):
                    texts[each] += piece
                    yield texts["tuned"], texts["base"]
        shown = {
            each: text or ("(nothing)" if side in ("both", each) else "") for each, text in texts.items()
        }
        yield shown["tuned"], shown["base"]

    return reply


def facts(stored: Stored) -> str:
    """What a reader should know of the run, one fact a line."""
    record, run = stored.record, stored.record.run
    tuned, gain = record.scores["tuned"]["rougeL"], record.gain["rougeL"]
    rate = f"learning rate {run.recipe.learning_rate:g}"
    lines = [
        record.id,
        f"{run.checkpoint.source} ({run.scale}), {run.recipe.method}, {rate}",
        f"ROUGE-L {tuned.mean:.3f} ({tuned.low:.3f} to {tuned.high:.3f}), "
        f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) over the untuned model",
        run.contract.in_words(),
    ]
    return printable("\n".join(lines))


def examples(stored: Stored) -> list[list[str]]:
    """Question, context and first reference of test questions."""
    rows = stored.completions[:EXAMPLES]
    texts = [[row["question"], row.get("context", ""), row["references"][0]] for row in rows]
    return [list(map(printable, row)) for row in texts]


def page(engine: Engine, stops: tuple[str, ...]) -> Any:
    """The page. Raises `RequestError` where Gradio is missing."""
    gradio = _gradio()
    stored = engine.stored
    with gradio.Blocks(title=f"bench chat {stored.record.id}", analytics_enabled=False) as blocks:
        with gradio.Row():
            with gradio.Column(scale=3):
                question = gradio.Textbox(label="Question", lines=2, max_length=LONGEST, autofocus=True)
                context = gradio.Textbox(label="Context (may be empty)", lines=2, max_length=LONGEST)
                side = gradio.Radio(["both", "tuned", "base"], value="both", label="Who answers")
                button = gradio.Button("Ask", variant="primary")
            with gradio.Column(scale=2):
                gradio.Textbox(facts(stored), label="This run", lines=8, interactive=False)
        with gradio.Row():
            tuned = gradio.Textbox(label="Tuned", lines=6, interactive=False)
            base = gradio.Textbox(label="Untuned", lines=6, interactive=False)
        reference = gradio.Textbox(label="Reference of the chosen test question", lines=2, interactive=False)
        gradio.Examples(examples(stored), [question, context, reference], label="Test questions")
        reply = replies(engine, stops)
        for event in (button.click, question.submit):
            event(
                reply, [question, context, side], [tuned, base], concurrency_id="engine", concurrency_limit=1
            )
    return blocks.queue(max_size=WAITING)


def launch(blocks: Any, port: int) -> str:
    """Serve the page to this machine alone, without waiting; its address."""
    theme = _gradio().themes.Default(font=FONTS, font_mono=["monospace"])
    _, address, _ = blocks.launch(
        server_name="127.0.0.1",
        server_port=port,
        share=False,
        quiet=True,
        show_error=False,
        prevent_thread_lock=True,
        footer_links=[],
        strict_cors=True,
        ssr_mode=False,
        theme=theme,
    )
    return str(address)


def _gradio() -> Any:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ModuleNotFoundError:
        raise RequestError("bench chat: gradio is not installed; pip install 'bench-sft[chat]'") from None
    return gradio
