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
#: Pixels below which a column stands under its neighbour.
NARROWEST = 280
#: White on the theme's own button has a contrast of 3.6; WCAG 2.2 asks for 4.5.
BUTTON = {
    f"button_primary_background_fill{state}{dark}": f"*primary_{700 if not state else 800}"
    for state in ("", "_hover")
    for dark in ("", "_dark")
}
#: Sentences of different lengths are read from their beginning, and on a small screen to their end.
STYLE = """
table th, table td, table td div { text-align: start !important; }
@media (max-width: 640px) {
  table { table-layout: fixed; width: 100% !important; min-width: 0 !important; }
  table th, table td, table td div { min-width: 0 !important; white-space: normal !important; }
  table td div { overflow-wrap: anywhere; }
}
"""


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
        gradio.Markdown("# Tuned and untuned, side by side")
        with gradio.Row():
            with gradio.Column(scale=3, min_width=NARROWEST):
                question = gradio.Textbox(label="Question", lines=2, max_length=LONGEST, autofocus=True)
                context = gradio.Textbox(label="Context (may be empty)", lines=2, max_length=LONGEST)
                side = gradio.Radio(["both", "tuned", "base"], value="both", label="Who answers")
                button = gradio.Button("Ask", variant="primary")
                with gradio.Row():
                    answer = {"lines": 6, "interactive": False, "min_width": NARROWEST}
                    tuned = gradio.Textbox(label="Tuned", **answer)
                    base = gradio.Textbox(label="Untuned", **answer)
                reference = gradio.Textbox(label="Reference of the test question", lines=2, interactive=False)
            with gradio.Column(scale=1, min_width=NARROWEST):
                gradio.Textbox(facts(stored), label="This run", lines=8, interactive=False)
        rows = examples(stored)
        filled, inputs = [question, context, reference], [0, 1, 2]
        if not any(row[1] for row in rows):  # an empty column leaves the others no room on a small screen
            inputs = [0, 2]
        gradio.Examples(
            [[row[place] for place in inputs] for row in rows],
            [filled[place] for place in inputs],
            label="Test questions",
        )
        reply = replies(engine, stops)
        for event in (button.click, question.submit):
            event(
                reply, [question, context, side], [tuned, base], concurrency_id="engine", concurrency_limit=1
            )
    return blocks.queue(max_size=WAITING)


def launch(blocks: Any, port: int) -> str:
    """Serve the page to this machine alone, without waiting; its address."""
    theme = _gradio().themes.Default(font=FONTS, font_mono=["monospace"]).set(**BUTTON)
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
        css=STYLE,
    )
    return str(address)


def _gradio() -> Any:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ModuleNotFoundError:
        raise RequestError("bench chat: gradio is not installed; pip install 'bench-sft[chat]'") from None
    return gradio
