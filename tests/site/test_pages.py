"""The built site: its links hold, and in real browsers it opens, searches, and fits a phone."""

import functools
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

SITE = Path(__file__).parents[2] / "build/site"
PAGES = sorted(path for path in SITE.rglob("*.html") if path.relative_to(SITE).parts[0] != "_static")
SHOWN = [str(path.relative_to(SITE)) for path in PAGES if "playground" not in path.parts]
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
def address(serve):
    return serve(SITE)


@pytest.mark.parametrize("page", SHOWN)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("browser", ["chromium"], indirect=True)
def test_pages_open_without_errors_and_fit_a_phone(open_page, address, page, scheme):
    shown = open_page(f"{address}/{page}", color_scheme=scheme, viewport=PHONE)
    background = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", background)[:3])) > 380
    assert light == (scheme == "light")
    assert shown.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("browser", ["firefox"], indirect=True)
def test_pages_open_without_errors_in_firefox(open_page, address):
    shown = open_page(address)
    for page in SHOWN:
        shown.goto(f"{address}/{page}")
        shown.locator("h1:visible").first.wait_for()


def test_the_search_finds_a_word(open_page, address):
    shown = open_page(f"{address}/search.html?q=deconvnet")
    shown.wait_for_selector("ul.search li a")
    titles = shown.locator("ul.search li a").all_inner_texts()
    assert any("ReLU" in title for title in titles)


def test_answers_are_folded_and_unfold(open_page, address):
    shown = open_page(f"{address}/lessons/03_where_does_vgg16_look.html")
    answer = shown.locator("details", has_text="one weight per channel").last
    assert not answer.locator("p").first.is_visible()
    answer.locator("summary").click()
    assert answer.locator("p").first.is_visible()


def test_formulas_are_drawn(open_page, address):
    shown = open_page(f"{address}/lessons/03_where_does_vgg16_look.html")
    box = shown.locator("math[display=block]").first.bounding_box()
    assert box["height"] > 25 and "\\frac" not in shown.locator("main").inner_text()


def test_the_home_page_leads_to_the_playground_and_back(open_page, address):
    shown = open_page(f"{address}/index.html")
    if not (SITE / "playground").is_dir():
        assert not shown.locator("a[href*=playground]").count()
        pytest.skip("the site was built without the playground")
    shown.locator(".sd-card", has_text="Play").click()
    shown.wait_for_selector("#story a")
    for situation in shown.locator("#situations a").all():
        situation.click()
        lesson = shown.locator("#story a")
        assert (SITE / lesson.get_attribute("href").removeprefix(f"{address}/")).is_file()
    shown.wait_for_selector("#status:empty", state="attached")  # else the browser breaks off what it loads
    shown.get_by_text("Back to the course").click()
    assert shown.url == f"{address}/index.html"
