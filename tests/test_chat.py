"""`bench chat`: answers as the run gave them, in a page that shows text as text and calls nobody."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import resources
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


def test_the_page_is_there_until_an_interrupt() -> None:
    """In a process of its own: the page's server sets up logging anew, for the whole of a process."""
    pytest.importorskip("gradio", reason="gradio is not installed (bench-sft[chat])")
    stored = finished(LORA)
    heeding = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    words = ["chat", stored.record.id, "--out", str(folder()), "--port", "0", "--json"]
    started = subprocess.Popen(
        [sys.executable, "-c", f"{heeding}from bench.cli import main; sys.exit(main())", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stderr
    with started:
        told = next(line for line in started.stderr if " at http" in line)
        address = told.split(" at ")[1].split()[0]
        page = urlopen(address, timeout=60).read().decode()
        started.send_signal(signal.SIGINT)
        out, _ = started.communicate(timeout=60)
    assert started.returncode == 0
    assert json.loads(out) == {"run": stored.record.id, "address": address}
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


@pytest.fixture(scope="module")
def address(engine: Engine) -> Iterator[str]:
    """The page of a model that answers with HTML."""
    pytest.importorskip("gradio", reason="gradio is not installed (bench-sft[chat])")
    hostile = Hostile.__new__(Hostile)
    hostile.__dict__.update(engine.__dict__)
    page = chat.page(hostile, ())
    yield chat.launch(page, free_port(0))
    page.close(verbose=False)


def asked(driver: Any, address: str) -> dict[str, str]:
    """The answers to a hostile question."""
    driver.get(address)
    until(lambda: fields(driver))["Question"].send_keys(HOSTILE)
    next(each for each in driver.find_elements("tag name", "button") if each.text == "Ask").click()
    return dict(until(lambda: answers(driver)))


def test_the_page_shows_hostile_answers_as_text_and_calls_nobody(
    engine: Engine, browser: Any, address: str
) -> None:
    shown = asked(browser, address)
    assert shown == {"Tuned": f"tuned: {HOSTILE}", "Untuned": f"base: {HOSTILE}"}
    assert browser.title == f"bench chat {engine.id}"
    assert {url.split("/")[2] for url in asked_of(browser)} == {address.split("/")[2]}
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_accessible_and_fits_the_screen(
    width: int, scheme: str, browser: Any, address: str
) -> None:
    """By axe-core, with both answers there; a picture without a text shows that it looks."""
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    emulate = browser.execute_cdp_cmd
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    emulate("Emulation.setDeviceMetricsOverride", screen)
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    emulate("Emulation.setEmulatedMedia", features)
    asked(browser, address)
    browser.execute_script((resources.files("axe_playwright_python") / "axe.min.js").read_text())
    assert findings(browser) == []
    edges = "return [...document.querySelectorAll('table')].map(each => each.getBoundingClientRect().right)"
    assert 0 < max(browser.execute_script(edges)) <= width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_script("document.body.append(new Image())")
    assert ["image-alt", "critical"] in [each[:2] for each in findings(browser)]


def findings(driver: Any) -> list[list[str]]:
    """Rule, impact and elements of what axe finds on the page."""
    script = """axe.run({resultTypes: ["violations"]}).then(found => arguments[0](found.violations.map(
        rule => [rule.id, rule.impact, rule.nodes.map(node => node.html).join("; ").slice(0, 500)])))"""
    return list(driver.execute_async_script(script))


def test_a_test_question_is_taken_with_its_reference(engine: Engine, browser: Any, address: str) -> None:
    browser.get(address)
    until(lambda: fields(browser))
    row = engine.stored.completions[1]
    cells = browser.find_elements("css selector", "table td")
    next(each for each in cells if each.text.startswith(row["question"][:30])).click()
    until(lambda: fields(browser)["Question"].get_attribute("value"))
    held = {name: field.get_attribute("value") for name, field in fields(browser).items()}
    assert held["Question"] == row["question"]
    assert held["Reference of the test question"] == row["references"][0]


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
