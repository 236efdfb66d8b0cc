"""The built site: its links hold, and in Chromium it opens, searches, and fits a phone."""

import functools
import http.server
import os
import re
import shutil
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from playwright.sync_api import sync_playwright

SITE = Path(__file__).parents[2] / "build/site"
PAGES = sorted(
    path for path in SITE.rglob("*.html") if path.relative_to(SITE).parts[0] not in ("_static", "playground")
)
SHOWN = [
    "index.html",
    "docs/metrics.html",
    "docs/glossary.html",
    "reference/maps.html",
    "lessons/assignments/README.html",
]
SHOWN += sorted(str(path.relative_to(SITE)) for path in (SITE / "lessons").glob("[0-9]*.html"))
PHONE = {"width": 375, "height": 700}


class Page(HTMLParser):
    """What a page refers to, loads and names, and its images without an alternative text."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.names, self.silent = [], [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names.update(found[key] for key in ("id", "name") if found.get(key))
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif tag in ("script", "img", "source", "iframe") and found.get("src"):
            self.loaded.append(found["src"])
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(found["href"])
        if tag == "img" and not found.get("alt"):
            self.silent.append(found.get("src"))


@functools.cache
def parsed(path):
    return Page(path)


def test_every_link_inside_holds():
    broken = []
    for path in PAGES:
        for link in [*parsed(path).links, *parsed(path).loaded]:
            if re.match(r"[a-z]+:", link):
                continue
            place, fragment = urldefrag(unquote(link))
            target = (path.parent / place.partition("?")[0]).resolve() if place else path
            if not target.is_file():
                broken.append(f"{path.name}: {link}")
            elif fragment and target.suffix == ".html" and fragment not in parsed(target).names:
                broken.append(f"{path.name}: no {link}")
    assert len(PAGES) > 30 and not broken, broken


def test_nothing_is_loaded_from_elsewhere():
    foreign = [(path.name, link) for path in PAGES for link in parsed(path).loaded if re.match(r"(https?:)?//", link)]
    assert not foreign


def test_every_figure_has_an_alternative_text():
    silent = [(path.name, image) for path in PAGES for image in parsed(path).silent]
    assert not silent


@pytest.fixture(scope="module")
def browser():
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "no browser: install Chromium (Debian: apt install chromium), or name one by the variable CHROMIUM"
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=quiet)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def opened(browser, address, page, **options):
    """A page that is open, and the list in which its errors arrive."""
    shown, errors = browser.new_page(**options), []
    shown.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.on("requestfailed", lambda request: errors.append(request.url))
    shown.goto(f"{address}/{page}")
    return shown, errors


@pytest.mark.parametrize("page", SHOWN)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_open_without_errors_and_fit_a_phone(browser, address, page, scheme):
    shown, errors = opened(browser, address, page, color_scheme=scheme, viewport=PHONE)
    background = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", background)[:3])) > 380
    assert not errors and light == (scheme == "light")
    assert shown.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    shown.close()


def test_the_search_finds_a_word(browser, address):
    shown, errors = opened(browser, address, "search.html?q=deconvnet")
    shown.wait_for_selector("ul.search li a")
    titles = shown.locator("ul.search li a").all_inner_texts()
    assert any("ReLU" in title for title in titles) and not errors
    shown.close()


def test_answers_are_folded_and_unfold(browser, address):
    shown, _ = opened(browser, address, "lessons/03_where_does_vgg16_look.html")
    answer = shown.locator("details", has_text="one weight per channel").last
    assert not answer.locator("p").first.is_visible()
    answer.locator("summary").click()
    assert answer.locator("p").first.is_visible()
    shown.close()


def test_formulas_are_drawn(browser, address):
    shown, _ = opened(browser, address, "lessons/03_where_does_vgg16_look.html")
    box = shown.locator("math[display=block]").first.bounding_box()
    assert box["height"] > 25 and "\\frac" not in shown.locator("main").inner_text()
    shown.close()
