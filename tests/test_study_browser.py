"""Whole sessions in a real browser: two at once, reloads, a killed server, lost time, a lost assistant, no mouse."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import study_site
from tests.browser import CHROMIUM, needs_browser
from tests.study_site import Served, served
from w2s_jax import cli
from w2s_jax.data import answers as tables

api = pytest.importorskip("playwright.sync_api")
pytestmark = [needs_browser, pytest.mark.slow]

HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror="document.title=1">'
SHOTS = os.environ.get("W2S_SCREENSHOTS")  # a folder to look at what the tests saw
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Tab:
    """A page that must not fail: errors of its scripts fail the test."""

    def __init__(self, browser: Any, link: str, **options: Any) -> None:
        self.context = browser.new_context(viewport=DESK, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self.errors.append(dialog.message))
        self.page.goto(link)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def see(self, text: str | re.Pattern[str]) -> None:
        self.page.get_by_text(text).first.wait_for()

    def heading(self, text: str) -> None:
        self.page.get_by_role("heading", level=1, name=text, exact=True).wait_for()

    def pick(self, choice: str, percent: int) -> None:
        self.page.get_by_role("radio", name=re.compile(rf"^{choice}\.")).check()
        self.page.get_by_role("radio", name=re.compile(rf"^{percent}%")).check()

    def begin(self) -> None:
        self.press("I agree to take part")
        self.press("Go on")
        self.heading("A practice question")
        self.press("Open the question")
        self.pick("C", 100)
        self.press("Give this answer")
        self.heading("Question 1 of 4")

    def ask(self, text: str) -> None:
        box = self.page.get_by_role("textbox", name="Write to the assistant")
        box.fill(text)
        self.press("Send")

    def is_assisted(self) -> bool:
        self.page.get_by_role("group", name="Which is right?").wait_for()
        return bool(self.page.get_by_role("log").count())

    def fits(self) -> None:
        """Nothing is wider than the window."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{wide} pixels too wide"

    def shot(self, name: str) -> None:
        if SHOTS:
            self.page.screenshot(path=Path(SHOTS) / f"{name}.png")

    def close(self) -> None:
        self.context.close()
        assert self.errors == []


def link(site: Served, name: str) -> str:
    return site.links[name]


def test_two_people_at_once_a_reload_and_a_killed_server(
    browser: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(tmp_path, "questions=2, participants=2") as site:
        people = [Tab(browser, link(site, name)) for name in ("p001", "p002")]
        for tab in people:
            tab.begin()
        for position in range(4):
            for tab in people:
                tab.heading(f"Question {position + 1} of 4")
                tab.press("Open the question")
            for number, tab in enumerate(people):
                assisted = tab.is_assisted()
                if assisted:
                    tab.ask(f"I am person {number}. What melts?")
                    tab.see(study_site.REPLY)
                tab.pick("B", 70)
                if position == 0:
                    tab.page.reload()
                    tab.page.get_by_role("radio", name=re.compile(r"^B\.")).wait_for()
                    assert tab.page.get_by_role("radio", name=re.compile(r"^B\.")).is_checked(), "it goes on in place"
                    assert tab.page.get_by_role("radio", name="70%").is_checked()
                    if assisted:
                        tab.see(f"I am person {number}. What melts?")
                        tab.see(study_site.REPLY)
            if position == 1:
                site.kill()
                for tab in people:
                    tab.see("The connection to the study is interrupted.")
                    tab.press("Give this answer")
                    assert tab.page.get_by_role("heading", level=1, name="Question 2", exact=True).count()
                site.start()
                for tab in people:
                    tab.page.get_by_text("The connection to the study is interrupted.").wait_for(state="hidden")
            else:
                for tab in people:
                    tab.press("Give this answer")
        for tab in people:
            tab.heading("The end")
            tab.page.reload()
            tab.heading("The end")
            tab.close()
        with study_site.httpx.Client(base_url=f"http://127.0.0.1:{site.port}") as client:
            office = site.link("researcher")
            client.get(office)
            found = client.get(f"{office}/overview").json()
        assert [each["stage"] for each in found["people"]] == ["end", "end"]
        assert [(each["choice"], each["confidence"]) for each in found["latest"]] == [(1, 0.7)] * 8
        assert sorted(each["turns"] for each in found["latest"]) == [0] * 4 + [1] * 4
        site.interrupt()
    folder = tmp_path / "out" / "tiny"
    right = sum(label == 1 for label in tables.read_key(folder).values())
    assert cli.main(["study", "report", str(folder)]) == cli.OK
    told = capsys.readouterr().out
    for condition in ("alone", "chat"):
        assert re.search(rf"\b{condition}\b", told), told
    assert sum(answer.choice == tables.read_key(folder)[answer.question] for answer in tables.read_answers(folder)) == (
        2 * right
    ), "both answered B to all four questions"


def test_without_a_mouse(browser: Any, tmp_path: Path) -> None:
    """Consent to the end with the keyboard alone, and what is focused has a name."""
    with served(tmp_path, "questions=1, participants=1, practice=None") as site:
        tab = Tab(browser, link(site, "p001"))
        keys = tab.page.keyboard

        def focused() -> str:
            found: str = tab.page.evaluate(
                "(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()"
            )
            return found

        def tab_to(text: str) -> None:
            for _ in range(40):
                if focused().startswith(text):
                    return
                keys.press("Tab")
            raise AssertionError(f"{text!r} cannot be reached; {focused()!r} is focused")

        tab.heading("Taking part")
        assert focused() == "Taking part", "a screen reader begins at the heading of what is new"
        tab_to("I agree to take part")
        keys.press("Enter")
        tab.heading("How it works")
        tab_to("Go on")
        keys.press("Space")
        for position in range(2):
            tab.heading(f"Question {position + 1} of 2")
            tab_to("Open the question")
            keys.press("Enter")
            if tab.is_assisted():
                tab_to("Write to the assistant")
                keys.type("What melts?")
                keys.press("Enter")
                tab.see(study_site.REPLY)
            tab_to("A.")
            keys.press("Space")
            keys.press("ArrowDown")
            assert focused().startswith("B."), "arrows go through the options"
            tab_to("25%")
            keys.press("Space")
            keys.press("ArrowRight")
            keys.press("ArrowRight")
            assert focused().startswith("40%")
            tab_to("Give this answer")
            keys.press("Enter")
        tab.heading("The end")
        tab.close()


def test_time_runs_out(browser: Any, tmp_path: Path) -> None:
    with served(tmp_path, "questions=1, participants=1, practice=None, seconds=4") as site:
        tab = Tab(browser, link(site, "p001"))
        tab.press("I agree to take part")
        tab.press("Go on")
        tab.see("You have 4 seconds")
        tab.press("Open the question")
        tab.see(re.compile(r"0:0[1-4] left"))
        tab.heading("Question 2 of 2")
        tab.see("Time ran out on the last question before you had chosen")
        tab.press("Open the question")
        tab.pick("D", 50)
        tab.heading("The end")
        tab.close()


def test_what_was_not_sent_stays_with_its_question(browser: Any, tmp_path: Path) -> None:
    changes = 'questions=2, participants=1, practice=None, conditions={"chat": Chat()}'
    with served(tmp_path, changes) as site:
        tab = Tab(browser, link(site, "p001"))
        tab.press("I agree to take part")
        tab.press("Go on")
        tab.press("Open the question")
        box = tab.page.get_by_role("textbox", name="Write to the assistant")
        box.fill("Half a thought")
        tab.page.reload()
        api.expect(box).to_have_value("Half a thought")
        tab.pick("B", 70)
        tab.press("Give this answer")
        tab.heading("Question 2 of 2")
        tab.press("Open the question")
        api.expect(box).to_have_value("")
        tab.close()


def test_the_assistant_fails_and_comes_back(browser: Any, tmp_path: Path) -> None:
    changes = 'questions=1, participants=1, practice=None, conditions={"chat": Chat()}, '
    with served(tmp_path, changes + "assistant=study_site.Recording([], fails=2)") as site:
        tab = Tab(browser, link(site, "p001"))
        tab.press("I agree to take part")
        tab.press("Go on")
        tab.press("Open the question")
        tab.ask("What melts?")
        alert = tab.page.get_by_role("alert").filter(has_text="The assistant does not answer at the moment.")
        alert.wait_for()
        tab.shot("gone")
        tab.press("Ask it again")
        alert.wait_for()
        tab.press("Ask it again")
        tab.see(study_site.REPLY)
        alert.wait_for(state="detached")
        tab.pick("B", 90)
        tab.press("Give this answer")
        tab.heading("The end")
        tab.close()


def test_texts_are_never_markup(browser: Any, tmp_path: Path) -> None:
    study_site.write_questions(tmp_path / "questions.jsonl", more=HOSTILE)
    changes = f'questions=1, participants=1, practice=None, title={HOSTILE!r}, conditions={{"chat": Chat()}}, '
    with served(tmp_path, changes + f"assistant=Scripted(({HOSTILE!r},)), consent={HOSTILE!r}") as site:
        tab, office = Tab(browser, link(site, "p001")), Tab(browser, link(site, "researcher"))
        tab.press("I agree to take part")
        tab.press("Go on")
        tab.press("Open the question")
        tab.ask(HOSTILE)
        tab.page.get_by_role("log").get_by_text(HOSTILE).nth(1).wait_for()
        for place in (tab.page.get_by_role("region", name="Passage"), tab.page.get_by_role("heading", level=2)):
            assert HOSTILE in place.first.inner_text()
        assert tab.page.get_by_role("group", name="Which is right?").locator("label", has_text=HOSTILE).count() == 4
        tab.pick("A", 25)
        tab.press("Give this answer")
        tab.heading("The end")
        office.see("1 of 1 answers")
        for each in (tab, office):
            assert HOSTILE in each.page.locator("#title").inner_text()
            assert each.page.title() not in ("owned", "1")
            assert each.page.locator("img").count() == 0
            each.close()


def test_the_researcher_watches_stops_and_exports(browser: Any, tmp_path: Path) -> None:
    with served(tmp_path, "questions=1, participants=2, practice=None") as site:
        tab, office = Tab(browser, link(site, "p001")), Tab(browser, link(site, "researcher"))
        office.see("has not come yet")
        tab.press("I agree to take part")
        tab.press("Go on")
        tab.press("Open the question")
        office.see("on question 1 of 2")
        office.press("Stop the study")
        tab.heading("Stopped")
        office.press("Let the study go on")
        tab.page.get_by_role("radio").first.wait_for()
        tab.pick("B", 60)
        tab.press("Give this answer")
        tab.heading("Question 2 of 2")
        office.see("1 of 4 answers")
        office.page.route("**/act", lambda route: route.fulfill(status=503, json={"error": "The disk is full"}))
        office.press("Export the tables")
        office.page.get_by_role("alert").filter(has_text="The disk is full").wait_for()
        office.see("1 of 4 answers")
        office.page.unroute("**/act")
        office.press("Export the tables")
        office.page.get_by_role("alert").wait_for(state="hidden")
        with office.page.expect_download() as download:
            office.page.get_by_role("link", name="answers.parquet").click()
        import pyarrow.parquet as pq

        (row,) = pq.read_table(download.value.path()).to_pylist()
        assert (row["participant"], row["choice"], row["confidence"]) == ("p001", 1, 0.6)
        office.shot("researcher")
        tab.close()
        office.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_and_on_a_desk(browser: Any, tmp_path: Path, scheme: Any) -> None:
    changes = 'questions=1, participants=1, practice=None, conditions={"chat": Chat()}, '
    with served(tmp_path, changes) as site:
        tab = Tab(browser, link(site, "p001"), color_scheme=scheme)

        def look(name: str) -> None:
            for width, size in (("390", PHONE), ("1440", DESK)):
                tab.page.set_viewport_size(size)
                tab.fits()
                tab.shot(f"{name}-{width}-{scheme}")

        tab.heading("Taking part")
        look("consent")
        tab.press("I agree to take part")
        tab.heading("How it works")
        look("instructions")
        tab.press("Go on")
        tab.heading("Question 1 of 1")
        look("ready")
        tab.press("Open the question")
        tab.ask("Which of these melts first, and why? I would have thought that it is wax.")
        tab.see(study_site.REPLY)
        tab.pick("B", 70)
        look("question")
        background = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 24, 27)")
        tab.press("Give this answer")
        tab.heading("The end")
        look("end")
        tab.page.goto(link(site, "researcher"))
        tab.see("1 of 1 answers")
        look("researcher")
        tab.close()
