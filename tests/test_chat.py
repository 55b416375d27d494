"""`bench chat`: answers as the run gave them, in a page that shows text as text and calls nobody."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from served import LORA, finished, folder

from bench.cli import run_verb
from bench.serve.engine import Engine
from bench.serve.pages import chat
from bench.verbs.chat import free_port

HOSTILE = "<img src=x onerror=\"document.title='broken'\"><script>alert(1)</script> **bold** {{7*7}}"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(finished(LORA))


def missing(name: str) -> str:
    raise PackageNotFoundError(name)


def test_both_answers_grow_and_end_as_they_were_scored(engine: Engine) -> None:
    row = engine.stored.completions[0]
    steps = list(chat.replies(engine, ())(row["question"], "", "both"))
    assert [text.strip() for text in steps[-1]] == [row["tuned"], row["base"]]
    assert len(steps) > 3
    assert all(len(later[0]) >= len(earlier[0]) for earlier, later in pairwise(steps))
    (*_, alone) = chat.replies(engine, ())(row["question"], "", "tuned")
    assert (alone[0].strip(), alone[1]) == (row["tuned"], "")
    assert list(chat.replies(engine, ())("  ", "", "both")) == [("Ask a question first.", "")]


def test_facts_and_examples_are_those_of_the_run(engine: Engine) -> None:
    text = chat.facts(engine.stored)
    assert engine.id in text
    assert f"{engine.stored.record.scores['tuned']['rougeL'].mean:.3f}" in text
    first, row = chat.examples(engine.stored)[0], engine.stored.completions[0]
    assert first == [row["question"], row["context"], row["references"][0]]


def test_without_gradio_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.verbs.chat.version", missing)
    assert run_verb(["chat", "gpt2"]) == 2
    assert (
        capsys.readouterr().err
        == "bench: bench chat: gradio is not installed; pip install 'bench-sft[chat]'\n"
    )


def test_a_port_in_use_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.verbs.chat.version", lambda name: "6")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ["chat", finished(LORA).record.id, "--out", str(folder())]
        assert run_verb([*words, "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_the_page_is_there_until_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gradio", reason="gradio is not installed (bench-sft[chat])")
    stored, pages = finished(LORA), []

    def interrupted() -> None:
        address = capsys.readouterr().err.split(" at ")[1].split()[0]
        pages.append((address, urlopen(address, timeout=20).read().decode()))
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.verbs.chat.wait", interrupted)
    words = ["chat", stored.record.id, "--out", str(folder()), "--port", "0", "--json"]
    assert run_verb(words) == 0
    ((address, page),) = pages
    assert json.loads(capsys.readouterr().out) == {"run": stored.record.id, "address": address}
    assert address.startswith("http://127.0.0.1:")
    assert f"bench chat {stored.record.id}" in page
    with pytest.raises(URLError):
        urlopen(address, timeout=5)


class Hostile(Engine):
    """A model that answers with what a browser would carry out if it took it for HTML."""

    def stream(
        self, question: str, context: str = "", side: Any = "tuned", stops: Sequence[str] = ()
    ) -> Iterator[str]:
        yield f"{side}: "
        yield from (HOSTILE[place : place + 20] for place in range(0, len(HOSTILE), 20))


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary, service = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not service:
        pytest.skip("chromium and chromedriver are not installed (Debian: apt-get install chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    words = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-background-networking"
    for word in [*words.split(), "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    yield driver
    driver.quit()


def asked_of(driver: Any) -> set[str]:
    """The addresses that the page asked for."""
    events = [json.loads(line["message"])["message"] for line in driver.get_log("performance")]
    sent = [
        each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"
    ]
    return {url for url in sent if not url.startswith(("data:", "blob:", "chrome"))}


def test_the_page_shows_hostile_answers_as_text_and_calls_nobody(engine: Engine, browser: Any) -> None:
    pytest.importorskip("gradio", reason="gradio is not installed (bench-sft[chat])")
    hostile = Hostile.__new__(Hostile)
    hostile.__dict__.update(engine.__dict__)
    page = chat.page(hostile, ())
    address = chat.launch(page, free_port(0))
    try:
        browser.get(address)
        texts = until(lambda: fields(browser))
        texts["Question"].send_keys(HOSTILE)
        next(each for each in browser.find_elements("tag name", "button") if each.text == "Ask").click()
        shown = until(lambda: answers(browser))
        assert shown == {"Tuned": f"tuned: {HOSTILE}", "Untuned": f"base: {HOSTILE}"}
        assert browser.title == f"bench chat {engine.id}"
        assert {url.split("/")[2] for url in asked_of(browser)} == {address.split("/")[2]}
        assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
    finally:
        page.close(verbose=False)


def fields(driver: Any) -> dict[str, Any]:
    """Label -> text field, once all are there."""
    held = {
        label.text.split("\n")[0]: label.find_element("css selector", "textarea")
        for label in driver.find_elements("css selector", "label")
        if label.find_elements("css selector", "textarea")
    }
    return held if {"Question", "Tuned", "Untuned"} <= held.keys() else {}


def answers(driver: Any) -> dict[str, str]:
    """The answers, once both have ended."""
    held = {name: fields(driver)[name].get_attribute("value") for name in ("Tuned", "Untuned")}
    return held if all(text.endswith("{{7*7}}") for text in held.values()) else {}


def until(look: Any, seconds: float = 30) -> Any:
    """What a look gives once it gives anything."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := look():
            return value
        time.sleep(0.1)
    raise AssertionError("nothing came")
