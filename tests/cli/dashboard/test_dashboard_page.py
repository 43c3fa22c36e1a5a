"""The dashboard's page in a real browser: what it shows, to whom, and what it never does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from tests.cli.conftest import NAMESPACE, manifest
from tests.cli.dashboard.chromium import CHROMIUM, LOADED, NARROW, VIEWS, chromium, go, opened_page
from tests.cli.dashboard.scene import HOSTILE, agent, dashboard, held, lora, scene, workloads
from tests.unit.cli import objects
from tests.unit.cli.objects import condition, with_conditions

from graft_cli.client import FakeGraft
from graft_cli.dashboard.opening import opened
from graft_cli.dashboard.server import DashboardServer
from graft_cli.decisions.stored.references import VersionReference
from graft_cli.errors import Unreachable

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: `make chromium` installs it")

MANY = 2000
ELEMENTS = 1000
"""Of a page, however many adapters there are."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def graft() -> FakeGraft:
    return scene()


@pytest.fixture
def server(graft: FakeGraft) -> Iterator[DashboardServer]:
    with dashboard(graft) as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that complains of nothing: no error, no refused file, nothing on the console."""
    complaints: list[str] = []
    with opened_page(browser) as found:
        found.on("pageerror", lambda error: complaints.append(str(error)))
        found.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        yield found
    assert [words for words in complaints if "status of 404" not in words] == []


@pytest.mark.parametrize(("scheme", "width"), tuple(product(("light", "dark"), (1280, NARROW))))
def test_axe_finds_nothing(browser: Browser, server: DashboardServer, scheme: Any, width: int) -> None:
    with opened_page(browser, color_scheme=scheme, viewport={"width": width, "height": 800}) as page:
        for view in VIEWS:
            go(page, server.url, view)
            found = Axe().run(page).response["violations"]
            told = [(item["id"], [node["html"][:200] for node in item["nodes"]]) for item in found]
            assert told == [], view


def test_nothing_is_wider_than_a_small_phone(browser: Browser, server: DashboardServer) -> None:
    with opened_page(browser, viewport={"width": NARROW, "height": 700}) as page:
        for view in VIEWS:
            go(page, server.url, view)
            assert page.evaluate("document.scrollingElement.scrollWidth") <= NARROW, view
        go(page, server.url, "adapters")
        row = page.get_by_role("row").filter(has_text="team-a/speech")
        assert "BadDataset" in row.inner_text()
        assert page.get_by_role("columnheader").count() == 6, "cards are a table still"


def test_it_is_dark_in_the_dark(browser: Browser, server: DashboardServer) -> None:
    brightness = {}
    for scheme in ("light", "dark"):
        with opened_page(browser, color_scheme=scheme) as page:
            go(page, server.url, "")
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            brightness[scheme] = sum(int(part) for part in colour.removeprefix("rgb(").rstrip(")").split(","))
    assert brightness["dark"] < 150 < 600 < brightness["light"]


def test_nothing_moves_for_those_who_want_no_motion(browser: Browser, server: DashboardServer) -> None:
    moving = """() => [...document.querySelectorAll('*')].filter((one) => {
        const style = getComputedStyle(one);
        return parseFloat(style.transitionDuration) > 0 || style.animationName !== 'none';
    }).length"""
    with opened_page(browser, reduced_motion="reduce") as page:
        go(page, server.url, "adapter/team-a/topic")
        assert page.evaluate(moving) == 0


def focus(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("""() => {
        const one = document.activeElement, style = getComputedStyle(one);
        return {tag: one.localName, id: one.id, text: one.innerText.trim(),
                seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2};
    }""")
    return found


def tab_to(page: Page, text: str) -> None:
    """Press Tab until the focus is on what begins so; it is always to be seen where it is."""
    for _ in range(40):
        page.keyboard.press("Tab")
        found = focus(page)
        assert found["seen"], found
        if found["text"].startswith(text):
            return
    raise AssertionError(f"{text} can't be reached")


def test_all_can_be_done_with_a_keyboard(page: Page, server: DashboardServer) -> None:
    go(page, server.url, "")
    page.keyboard.press("Tab")
    assert focus(page)["text"] == "Skip to the content"
    page.keyboard.press("Enter")
    assert focus(page)["id"] == "main"
    page.goto(server.url)
    page.wait_for_function(LOADED)
    tab_to(page, "Adapters")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Adapters")
    assert focus(page)["id"] == "title"
    page.keyboard.press("Tab")
    assert focus(page)["tag"] == "input"
    page.keyboard.type("baddata")
    expect(page.get_by_role("status").filter(has_text="in all")).to_have_text("1 in all, page 1 of 1")
    assert focus(page)["tag"] == "input"
    tab_to(page, "team-a/speech")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Adapter team-a/speech")
    page.wait_for_selector("text=Compare two versions")
    page.keyboard.press("Tab")
    tab_to(page, "v6")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("table", name="From v4 to v6")).to_be_visible()


def test_news_come_without_a_reload_and_the_focus_stays(page: Page, server: DashboardServer, graft: FakeGraft) -> None:
    go(page, server.url, "adapters")
    page.evaluate("window.marked = true")
    page.get_by_role("searchbox").fill("team-a")
    link = page.get_by_role("link", name="team-a/summary")
    link.focus()
    before = page.evaluate_handle("document.activeElement")
    graft.put(lora("summary", objects.canary().raw))
    graft.put(lora("aaa", objects.adapter().raw))
    expect(page.get_by_role("row").filter(has_text="team-a/summary")).to_contain_text("v6 → v7")
    expect(page.get_by_role("row").filter(has_text="team-a/aaa")).to_contain_text("ready")
    assert page.evaluate("(before) => window.marked && document.activeElement === before", before)
    assert page.get_by_role("searchbox").input_value() == "team-a"
    expect(page.get_by_role("link", name="Canaries 2")).to_be_visible()


def test_a_training_is_drawn_and_goes_on(page: Page, server: DashboardServer, graft: FakeGraft) -> None:
    go(page, server.url, "adapter/team-a/topic")
    drawn = page.get_by_role("img")
    said = drawn.get_attribute("aria-label") or ""
    assert "to 0.412 at step 144." in said
    assert "evaluation loss from" in said
    page.get_by_text("The points as a table").click()
    assert page.get_by_role("row").filter(has_text="0.412").count() == 1
    body = graft.adapter(NAMESPACE, "topic").raw
    status = dict(body["status"]) | {"training": objects.training(step=160, loss="0.31").to_wire()}
    graft.put(dict(body) | {"status": status})
    expect(page.get_by_text("step 160 of 248")).to_be_visible()
    expect(page.locator("svg").first).to_have_attribute("aria-label", re.compile("to 0.31 at step 160"))


def test_versions_are_compared(page: Page, server: DashboardServer) -> None:
    go(page, server.url, "adapter/team-a/support")
    expect(page.get_by_role("table", name="From v6 to v7")).to_be_visible()
    page.get_by_label("From").select_option("v3")
    expect(page.get_by_role("table", name="From v3 to v7")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="loss").filter(has_text="-0.4")).to_be_visible()


def test_pods_show_what_they_hold(page: Page, server: DashboardServer) -> None:
    go(page, server.url, "base/team-a/tiny")
    pods = page.get_by_role("table", name="Pods")
    expect(pods).to_contain_text("3 held, 3 known")
    expect(pods).to_contain_text("does not answer")
    page.get_by_role("link", name="graft-tiny-6f328dfa-abcde").click()
    expect(page.get_by_role("row").filter(has_text="support").filter(has_text="v7")).to_contain_text("10 %")
    page.get_by_role("link", name="support").first.click()
    expect(page.get_by_role("table", name="Pods that hold it")).to_contain_text(
        "v7 Proven, answers 10 %; v6 Proven, answers 90 %"
    )


def test_words_of_others_are_only_ever_words(page: Page, graft: FakeGraft) -> None:
    said = " ".join(HOSTILE[:-1])
    stalled = with_conditions(condition("Stalled", "True", "BadDataset", said))
    versions = (objects.version(6, "Rejected", message=said), objects.version(5))
    graft.put(lora("speech", objects.adapter(status={"conditions": stalled, "versions": versions}).raw))
    base = objects.base(status={"conditions": (condition("Stalled", "True", "SourceInvalid", said),)})
    graft.put(manifest("BaseModel", base.raw))
    pods = workloads()
    telling = agent(*(held(f"a{i}", (7, 100), message=text) for i, text in enumerate(HOSTILE)), message=said)
    pods.states = dict.fromkeys(pods.states, telling)
    with dashboard(graft, pods) as server:
        for view in VIEWS:
            go(page, server.url, view)
            assert page.evaluate("window.hacked") is None
            assert not page.evaluate("/[\\p{Cf}\\p{Cs}\\0]/u.test(document.body.textContent)"), "as they look"
            assert page.evaluate("document.querySelectorAll('main img, main script, main svg[onload]').length") == 0
            assert page.evaluate("[...document.links].every((one) => one.href.startsWith(location.origin))")
        go(page, server.url, "adapter/team-a/speech")
        expect(page.get_by_text(HOSTILE[0]).first).to_be_visible()


def test_a_report_runs_no_script(browser: Browser, graft: FakeGraft) -> None:
    def report(namespace: str, name: str, version: VersionReference) -> bytes:
        return b"<title>report</title><p>v6</p><script>document.title = 'hacked'; fetch('place')</script>"

    with dashboard(graft, reports=report) as server, opened_page(browser) as page:
        go(page, server.url, "adapter/team-a/summary")
        with page.context.expect_page() as waiting:
            page.get_by_role("link", name="report of version 6").click()
        shown = waiting.value
        shown.wait_for_selector("text=v6")
        assert (shown.title(), shown.evaluate("origin"), shown.evaluate("opener")) == ("report", "null", None)


def test_nothing_is_asked_of_anybody_else(page: Page, server: DashboardServer) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for view in VIEWS:
        go(page, server.url, view)
    assert len(asked) > len(VIEWS)
    assert [url for url in asked if not url.startswith((server.url, "data:"))] == []


def test_a_cluster_that_is_away_is_said_and_what_was_seen_stays(page: Page, graft: FakeGraft) -> None:
    class Away(FakeGraft):
        problem: Unreachable | None = None

        def _list(self, plural: str, namespace: str | None) -> Any:
            if self.problem is not None:
                raise self.problem
            return graft._list(plural, namespace)

    away = Away()
    with dashboard(away) as server:
        go(page, server.url, "adapters")
        away.problem = Unreachable("the API server does not answer", fix="see whether `kubectl cluster-info` works")
        expect(page.get_by_role("alert")).to_contain_text("the API server does not answer")
        expect(page.locator("#live")).to_have_text("Not up to date")
        expect(page.get_by_role("link", name="team-a/summary")).to_be_visible()
        away.problem = None
        expect(page.locator("#live")).to_have_text("Live")
        expect(page.get_by_role("alert")).to_have_text("")


def test_a_program_that_has_ended_is_said(browser: Browser, graft: FakeGraft) -> None:
    with opened_page(browser) as page:
        with dashboard(graft) as server:
            go(page, server.url, "adapters")
        expect(page.locator("#live")).to_have_text("Not connected")
        expect(page.get_by_role("link", name="team-a/summary")).to_be_visible()


def test_the_file_that_the_browser_is_given_leads_to_the_page(
    page: Page, server: DashboardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    def note(url: str) -> bool:
        given.append(url)
        return True

    monkeypatch.setattr("webbrowser.open", note)
    with opened(server.url):
        page.goto(given[0])
        page.wait_for_url(f"{server.url}**")
        expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_thousands_of_adapters_freeze_nothing(browser: Browser) -> None:
    bodies = [lora(f"adapter-{number:04}", objects.adapter().raw) for number in range(MANY)]
    graft = FakeGraft([manifest("BaseModel", objects.base().raw), *bodies])
    with dashboard(graft) as server, opened_page(browser) as page:
        go(page, server.url, "adapters")
        expect(page.get_by_role("status").filter(has_text="in all")).to_have_text(f"{MANY} in all, page 1 of 40")
        assert page.get_by_role("row").count() == 51
        assert page.evaluate("document.querySelectorAll('*').length") < ELEMENTS
        page.get_by_role("button", name="Next").click()
        expect(page.get_by_role("link", name="team-a/adapter-0050")).to_be_visible()
        page.get_by_role("searchbox").fill("adapter-1999")
        expect(page.get_by_role("status").filter(has_text="in all")).to_have_text("1 in all, page 1 of 1")
        graft.put(lora("adapter-1999", objects.canary().raw))
        expect(page.get_by_role("row").filter(has_text="adapter-1999")).to_contain_text("v6 → v7")
        assert page.evaluate("document.querySelectorAll('*').length") < ELEMENTS
