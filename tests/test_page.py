"""The pages in a real browser: Debian's Chromium through Selenium.

Where Chromium or Selenium is absent these tests skip. axe-core is fetched into a temporary
folder with `npm pack`; it is no part of the project.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from records import ALL_MODELS, make_board, make_failure, make_record

from bench.judge.board import MAIN, board
from bench.judge.compare import compare, with_texts
from bench.judge.history import history
from bench.render.page import comparison_page, page
from bench.render.page.answers import LONGEST, embedded
from bench.render.page.plots import front
from bench.store.ledger import Stored
from bench.store.sides import Side

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

AXE = "axe-core@4.10.3"
HOSTILE = [
    "<script>document.title = 'broken'</script>",
    "</script><img src=x onerror=\"document.title='broken'\">",
    "quotes \" ' ` and &amp; &lt; \\u003c {{ 7 * 7 }}",
    "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET} \N{RIGHT-TO-LEFT OVERRIDE}reversed",
    "control \x00\x01\x1b[31m characters",
    "emoji \N{ROCKET}\N{FAMILY}\N{ZERO WIDTH JOINER}",
    "long " + "x" * 100_000,
    "line\u2028separator",
    "<!-- <script> -->",
    "   ",
]
QUESTION = "Which <b>question</b> is \N{SNOWMAN} searched & found?"


class Page:
    """A page that is open in the browser."""

    def __init__(self, driver: Any, file: Path) -> None:
        self.driver = driver
        driver.get_log("performance")
        driver.get_log("browser")
        driver.get(file.as_uri())

    def one(self, css: str) -> Any:
        """The first element that a selector finds."""
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def every(self, css: str) -> list[Any]:
        """All elements that a selector finds."""
        return list(self.driver.find_elements(By.CSS_SELECTOR, css))

    def texts(self, css: str) -> list[str]:
        """The text content of every element found, hidden or not."""
        found: list[str] = self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", css
        )
        return found

    def until(self, true: Callable[[], object]) -> Any:
        """Wait up to ten seconds; packs are opened asynchronously."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if found := true():
                return found
            time.sleep(0.03)
        raise AssertionError("waited ten seconds in vain")

    def click(self, css: str) -> None:
        """Bring an element into the middle of the window and click it."""
        found = self.one(css)
        self.driver.execute_script(
            "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", found
        )
        found.click()

    def answers(self) -> list[str]:
        """Go to the answers; the questions that are listed."""
        self.driver.execute_script("document.querySelector('.answers').scrollIntoView({behavior: 'instant'})")
        found: list[str] = self.until(lambda: self.texts(".question .q"))
        return found

    def of_model(self, model: str, css: str) -> list[str]:
        """Texts inside one model's card."""
        found: list[str] = self.driver.execute_script(
            "const card = [...document.querySelectorAll('.card')]"
            ".find((one) => one.querySelector('h5').textContent.startsWith(arguments[0]));"
            "return [...card.querySelectorAll(arguments[1])].map((one) => one.textContent)",
            model,
            css,
        )
        return found

    def type(self, css: str, words: str) -> None:
        """Replace what a field holds."""
        field = self.one(css)
        field.clear()
        field.send_keys(words)

    def choose(self, css: str, value: str) -> None:
        """Select an option by its value."""
        self.driver.execute_script(
            "arguments[0].value = arguments[1];"
            "arguments[0].dispatchEvent(new Event('input', {bubbles: true}))",
            self.one(css),
            value,
        )

    def models(self) -> list[str]:
        """The rows of the board, from top to bottom."""
        return self.texts("tbody.rows th.name .model")

    def requests(self) -> list[str]:
        """Addresses that were asked for since the page was opened, but for its own file."""
        sent = [json.loads(one["message"])["message"] for one in self.driver.get_log("performance")]
        asked = [one["params"] for one in sent if one["method"] == "Network.requestWillBeSent"]
        addresses = [one["request"]["url"] for one in asked if one["documentURL"].startswith("file:")]
        return [one for one in addresses if not one.startswith("data:") and not one.endswith(".html")]

    def complaints(self) -> list[str]:
        """Errors and warnings of the browser's console."""
        return [one["message"] for one in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser with a fresh profile that asks nobody for anything."""
    binary = shutil.which("chromium")
    service = shutil.which("chromedriver")
    if not binary or not service:
        pytest.skip("chromium and chromedriver are not installed (Debian: apt-get install chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--window-size=1400,900",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    browser.set_script_timeout(30)
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Stored]:
    """Three models of two families and methods, two seeds, two of the models with hostile answers."""
    out = tmp_path_factory.mktemp("reports")
    questions = [QUESTION] + [f"question {number}" for number in range(1, len(HOSTILE))]
    texts = {"question": questions, "tuned": HOSTILE, "base": HOSTILE[::-1]}
    stored = make_board(out, ["gpt2"], seeds=(0, 1), n=30, texts=texts, fallbacks=["<b>no</b> Unsloth"])
    stored += make_board(out, ["llama-2-7b"], seeds=(0, 1), n=30, texts=texts)
    stored += [make_record(out, "bart-large-xsum", n=30, gain=0.2, texts={"question": questions})]
    return stored


@pytest.fixture(scope="module")
def file(records: list[Stored], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The leaderboard page of these records."""
    out = tmp_path_factory.mktemp("page")
    found = board(records, [make_failure(out, "phi-1.5", reason="</script><script>document.title='broken'")])
    made = out / "leaderboard.html"
    made.write_text(page(found), encoding="utf-8")
    return made


@pytest.fixture
def opened(driver: Any, file: Path) -> Iterator[Page]:
    """The leaderboard page, freshly opened; whatever a test does, nothing leaves it and no script fails."""
    shown = Page(driver, file)
    yield shown
    assert shown.requests() == []
    assert shown.complaints() == []
    assert driver.title == "Leaderboard · bench"


def open_question(opened: Page, words: str) -> None:
    """Search for a question and open it."""
    opened.answers()
    opened.type(".find", words)
    opened.until(lambda: opened.texts(".found") == ["1 question"])
    opened.click(".question")
    opened.until(lambda: opened.texts(".card"))


def test_headers_sort_the_board(opened: Page) -> None:
    """A numeric column opens with the highest, then turns; the sort is announced."""
    opened.click("th.name .sort")
    assert opened.models() == ["bart-large-xsum twin", "gpt2 twin", "llama-2-7b twin"]
    opened.click("th.name .sort")
    assert opened.models() == ["llama-2-7b twin", "gpt2 twin", "bart-large-xsum twin"]
    assert opened.one("thead th.name").get_attribute("aria-sort") == "descending"
    opened.click("thead th:nth-child(9) .sort")
    assert opened.one("thead th.name").get_attribute("aria-sort") == "none"


def test_the_score_sorts_by_number(opened: Page) -> None:
    """Descending first: higher is better."""
    opened.click("thead th:nth-child(3) .sort")
    values = [float(text) for text in opened.texts("tbody.rows td strong")]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 3


def test_reference_rows_stay_below(opened: Page) -> None:
    """Sorting never mixes rows that need no training with models."""
    opened.click("thead th:nth-child(3) .sort")
    last = opened.texts("table.board tbody:last-child th")
    assert sorted(last) == ["answer of the nearest training question", "copy of the question"]


def test_filters_leave_what_fits(opened: Page) -> None:
    """By family, by method, by name, and back."""
    opened.choose("#by-family", "llama-2")
    assert opened.models() == ["llama-2-7b twin"]
    assert opened.texts("#matches") == ["1 of 3 rows"]
    opened.choose("#by-family", "")
    opened.choose("#by-method", "full")
    assert opened.models() == ["bart-large-xsum twin"]
    opened.one("#filters [type=reset]").click()
    opened.until(lambda: len(opened.models()) == 3)
    opened.type("#by-model", "GPT")
    assert opened.models() == ["gpt2 twin"]


def test_a_question_is_searched_and_opened(opened: Page) -> None:
    """Reference, and each model's answer, with its score and the untuned one beside it."""
    open_question(opened, "searched & found")
    assert opened.texts(".question .q") == [QUESTION]
    assert len(opened.every(".card")) == 4
    assert opened.texts(".card.ref h5") == ["Reference"]
    titles = opened.texts(".card h5 .score")
    assert all(re.fullmatch(r"0\.\d{3} → 0\.\d{3}", one) for one in titles)


def test_whatever_a_model_answers_is_text(opened: Page) -> None:
    """Scripts, tags, quotes, right-to-left, control characters, emoji, 100 kB: all appear, none acts."""
    for place, answer in enumerate(HOSTILE):
        open_question(opened, f"question {place}" if place else QUESTION)
        wanted = re.sub(r"[\x00-\x08\x0b-\x1f]", lambda found: chr(0x2400 + ord(found[0])), answer)
        shown = opened.of_model("gpt2", ".answer")[0]
        assert shown == (wanted[:LONGEST] if wanted.strip() else "(empty)"), answer[:60]
        assert opened.every(".card script, .card img, .card b b") == []
        cut = "100,005 characters" in " ".join(opened.texts(".cutnote"))
        assert cut or len(answer) <= LONGEST


def test_words_that_differ_from_the_reference_are_marked(opened: Page) -> None:
    """A word that the reference lacks is marked, one that it has in that order is not."""
    open_question(opened, "question 2")
    assert "quotes" in opened.of_model("gpt2", "mark")
    assert opened.of_model("bart", "mark") == []


@pytest.mark.parametrize("order", ["gain", "loss", "spread"])
def test_questions_sort_by_what_the_models_did(opened: Page, records: list[Stored], order: str) -> None:
    """Largest gain, largest loss, widest disagreement: the first is the one that the scores say."""
    before = opened.answers()
    opened.choose(".order", order)
    first = [one for one in records if one.record.run.seed == 0]
    gains, values = [], []
    ids = sorted(first[0].scores["ids"])
    for one in first:
        place = {id: number for number, id in enumerate(one.scores["ids"])}
        tuned, base = (one.scores["rows"][row][MAIN]["f"] for row in ("tuned", "base"))
        values.append([round(1000 * tuned[place[id]]) for id in ids])
        gains.append([round(1000 * tuned[place[id]]) - round(1000 * base[place[id]]) for id in ids])
    keys = {
        "gain": [-max(one) for one in zip(*gains, strict=True)],
        "loss": [min(one) for one in zip(*gains, strict=True)],
        "spread": [min(one) - max(one) for one in zip(*values, strict=True)],
    }[order]
    best = ids[min(range(len(ids)), key=keys.__getitem__)]
    questions = {one["id"]: one["question"] for one in first[0].completions}
    opened.until(lambda: opened.texts(".question .q") != before)
    assert opened.texts(".question .q")[0] == questions[best]


def test_the_answers_open_on_the_largest_gain_and_loss(opened: Page, records: list[Stored]) -> None:
    """The mean over the models shown: the best first, the worst second, nothing to choose before."""
    first = [one for one in records if one.record.run.seed == 0]
    ids = sorted(first[0].scores["ids"])
    totals = dict.fromkeys(ids, 0)
    for one in first:
        for place, id in enumerate(one.scores["ids"]):
            tuned, base = (one.scores["rows"][row][MAIN]["f"][place] for row in ("tuned", "base"))
            totals[id] += round(1000 * tuned) - round(1000 * base)
    order = sorted(ids, key=lambda id: (-totals[id], id))
    questions = {one["id"]: one["question"] for one in first[0].completions}
    opened.answers()
    shown = opened.until(lambda: opened.texts(".question .q"))
    assert shown[:2] == [questions[order[0]], questions[order[-1]]]


def test_another_seed_shows_its_own_answers(opened: Page, records: list[Stored]) -> None:
    """The seed that is chosen is the one that is shown."""
    opened.answers()
    opened.choose(".seed", "1")
    run = next(one for one in records if (one.record.run.name, one.record.run.seed) == ("gpt2", 1))
    example = sorted(run.completions, key=lambda one: one["id"])[20]
    opened.type(".find", example["question"])
    opened.until(lambda: opened.texts(".found") != ["30 questions"])
    opened.click(".question")
    shown = opened.until(lambda: opened.texts(".card .answer"))
    assert example["tuned"] in shown


def test_tooltips_tell_the_reason_of_a_badge(opened: Page) -> None:
    """On focus, for the keyboard; Escape closes it; it is text."""
    opened.driver.execute_script(
        "[...document.querySelectorAll('.badge')].find((one) => one.textContent === 'fallback').focus()"
    )
    assert "<b>no</b> Unsloth" in opened.one("#tip").text
    opened.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not opened.one("#tip").is_displayed()


def test_the_theme_turns(opened: Page) -> None:
    """System, light, dark; the background follows."""
    colour = "return getComputedStyle(document.body).backgroundColor"
    opened.one("#theme").click()
    light = opened.driver.execute_script(colour)
    opened.one("#theme").click()
    assert opened.driver.execute_script(colour) != light
    opened.one("#theme").click()
    assert opened.texts("#theme") == ["Theme: system"]


def test_the_keyboard_reaches_everything(opened: Page) -> None:
    """Tab visits every control that can be seen; Enter opens a question."""
    open_question(opened, "searched & found")
    opened.driver.execute_script("scrollTo(0, 0); document.activeElement.blur()")
    wanted = opened.driver.execute_script(
        "return [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex]')]"
        ".filter((one) => one.checkVisibility() && one.tabIndex >= 0).length"
    )
    opened.driver.execute_script(
        "window.visited = new Set(); addEventListener('focusin', (event) => visited.add(event.target))"
    )
    ActionChains(opened.driver).send_keys(Keys.TAB * (wanted + 2)).perform()
    visited = opened.driver.execute_script("return window.visited.size")
    assert visited >= wanted
    question = opened.one(".question")
    opened.driver.execute_script("arguments[0].focus()", question)
    question.send_keys(Keys.ENTER)
    assert question.get_attribute("aria-expanded") == "false"


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core."""
    folder = tmp_path_factory.mktemp("axe")
    if not shutil.which("npm"):
        pytest.skip("npm is not installed, so axe-core cannot be fetched")
    done = subprocess.run(
        ["npm", "pack", AXE, "--silent"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    packed = next(folder.glob("*.tgz"), None)
    if packed is None:
        pytest.skip(f"npm could not fetch {AXE}: {done.stderr.strip()[:200]}")
    with tarfile.open(packed) as archive:
        source = archive.extractfile("package/axe.min.js")
        assert source is not None
        return source.read().decode()


def findings(shown: Page, axe: str) -> list[str]:
    """Serious and critical findings of axe-core, each with the elements it is about."""
    shown.driver.execute_script(axe)
    result = shown.driver.execute_async_script(
        "const done = arguments[0];"
        "axe.run(document, {resultTypes: ['violations']}).then((found) => done(found.violations.map("
        "(one) => [one.impact, one.id, one.nodes.slice(0, 3).map((node) => node.html)])))"
    )
    return [f"{name}: {nodes}" for impact, name, nodes in result if impact in ("serious", "critical")]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened: Page, axe: str, theme: str) -> None:
    """With a question open and a tooltip's target in focus, in both themes."""
    open_question(opened, "searched & found")
    opened.driver.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    assert findings(opened, axe) == []


def test_verdict_and_table_stand_on_the_first_screen_of_a_phone(opened: Page) -> None:
    """At 390 by 800 px: the whole verdict and the first row of the table."""
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    opened.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        opened.driver.execute_script("window.scrollTo(0, 0)")
        below = "return document.querySelector(arguments[0]).getBoundingClientRect().bottom"
        assert opened.driver.execute_script(below, ".lead") < 450
        assert opened.driver.execute_script(below, "tbody.rows tr") < 640
    finally:
        opened.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_phone_needs_no_sideways_scrolling(opened: Page) -> None:
    """At 390 px only the tables scroll in their own box."""
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    opened.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        open_question(opened, "searched & found")
        assert opened.driver.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        opened.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison: one model dropped, one rose, one failed; all answers of B are hostile."""
    out = tmp_path_factory.mktemp("compared")
    models = ("gpt2", "phi-1.5", "llama-2-7b")
    old = {"trl": "1.12.0"}
    texts = {"tuned": HOSTILE * 4, "question": [f"<i>question {place}</i>" for place in range(40)]}
    before = [
        make_record(out, model, seed, n=40, versions=old, texts=texts)
        for model in models
        for seed in range(3)
    ]
    shifts = {"gpt2": -0.12, "phi-1.5": 0.12, "llama-2-7b": 0.0}
    after = [
        make_record(out, model, seed, n=40, shift=shifts[model], changed=0.2, texts=texts)
        for model in models
        for seed in range(3)
    ]
    a = Side("main </script>", tuple(before))
    b = Side("trl==1.14.2", tuple(after), (make_failure(out, "gpt-neo-125m", reason="<b>killed</b>"),))
    made = with_texts(compare(a, b), a, b)
    told = [history([*before, *after], model) for model in models]
    file = out / "comparison.html"
    file.write_text(comparison_page(made, told), encoding="utf-8")
    return file


@pytest.fixture
def comparison(driver: Any, compared: Path) -> Iterator[Page]:
    """The comparison page, freshly opened; nothing leaves it and no script fails."""
    shown = Page(driver, compared)
    yield shown
    assert shown.requests() == []
    assert shown.complaints() == []
    assert "compared" in driver.title


def test_a_comparison_tells_its_verdicts(comparison: Page) -> None:
    """In the table and in the plot, by word and mark; the table sorts."""
    verdicts = dict(
        zip(comparison.texts("tbody.rows th"), comparison.texts("tbody.rows td .verdict"), strict=True)
    )
    assert verdicts["gpt2 twin"] == "\N{BLACK DOWN-POINTING TRIANGLE} regressed"
    assert verdicts["phi-1.5 twin"] == "\N{BLACK UP-POINTING TRIANGLE} improved"
    assert comparison.texts(".forest .point .label")[0] == "gpt2 twin"
    comparison.click("thead th:nth-child(5) .sort")
    assert comparison.texts("tbody.rows th")[0] == "phi-1.5 twin"
    comparison.click("thead th:nth-child(5) .sort")
    assert comparison.texts("tbody.rows th")[0] == "gpt2 twin"


def test_a_comparison_shows_what_differs(comparison: Page) -> None:
    """Package by package, and one timeline a model."""
    assert comparison.texts("#environment tbody tr:first-child *")[:3] == ["trl", "1.12.0", "1.14.2"]
    assert len(comparison.every("#history svg")) == 3


def test_examples_that_moved_open_as_text(comparison: Page) -> None:
    """Reference, A and B, whatever they hold."""
    second = comparison.one("#moved-model option:nth-child(2)").get_attribute("value")
    comparison.choose("#moved-model", second)
    buttons = len(comparison.every("#moved .question"))
    assert buttons > 0
    for place in range(1, buttons + 1):
        comparison.click(f"#moved li:nth-child({place}) .question")
    comparison.until(lambda: len(comparison.every("#moved .card")) == 3 * buttons)
    assert comparison.every("#moved script, #moved img, #moved i, #moved b b") == []
    assert all("<i>question" in one for one in comparison.texts("#moved .q"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_a_comparison(comparison: Page, axe: str, theme: str) -> None:
    """With an example open, in both themes."""
    comparison.click("#moved .question")
    comparison.driver.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    assert findings(comparison, axe) == []


def test_embedded_data_cannot_end_its_element() -> None:
    """No `<`, no line separator; and it is still the same JSON."""
    value = {"text": "</script><!-- & \u2028 \u2029 \N{ROCKET}"}
    text = embedded(value)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == value


def test_the_page_forbids_everything_from_elsewhere(file: Path) -> None:
    """The policy is there, and no address that a browser would fetch."""
    text = file.read_text(encoding="utf-8")
    assert "default-src &#39;none&#39;" in text
    assert re.findall(r'(?:src|href)="(?!#|data:)', text) == []
    assert "unsafe-eval" not in text
    assert "script-src &#39;sha256-" in text


def test_every_model_has_a_training_and_a_validation_curve(records: list[Stored], file: Path) -> None:
    """Each over the examples seen; the validation loss has its own axis and its own points."""
    text = file.read_text(encoding="utf-8")
    for name in ("Training loss", "Validation loss"):
        [figure] = re.findall(rf"<figure>(?:(?!</figure>).)*>{name}<.*?</figure>", text, re.DOTALL)
        drawn = re.findall(r'data-model="([^"]+)"', figure)
        assert set(drawn) == {f"{stored.record.run.name} twin" for stored in records}
        assert "Training examples seen" in figure


def test_a_full_board_stays_under_two_megabytes(tmp_path: Path) -> None:
    """8 models x 3 seeds x 250 questions, answers of 70 words."""
    long = [f"{number} " + " ".join(f"w{number * k % 997}" for k in range(70)) for number in range(250)]
    stored = make_board(tmp_path, ALL_MODELS, n=250, texts={"tuned": long, "base": long})
    made = page(board(stored))
    assert len(made.encode()) < 2_000_000


def test_the_pareto_front_is_what_nothing_beats() -> None:
    """Cheapest first; a tie in cost keeps the better."""
    assert front([(1, 0.2), (2, 0.1), (2, 0.3), (3, 0.3), (0.5, 0.1)]) == [4, 0, 2]
