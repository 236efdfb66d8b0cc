"""Browsers, and a server for what was built. The browsers are the distribution's: Playwright's own need its host."""

import functools
import http.server
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

PROGRAMS = {"chromium": ("chromium", "google-chrome"), "firefox": ("firefox-esr", "firefox")}
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
OPTIONS = {"chromium": {"args": QUIET}, "firefox": {"channel": "moz-firefox"}}  # that channel is any Firefox as it is


def program(name):
    """The path of a browser, or None."""
    return os.environ.get(name.upper()) or next(filter(None, map(shutil.which, PROGRAMS[name])), None)


@pytest.fixture(scope="session")
def serve():
    """A function from a folder to the address at which it is served."""
    servers = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    def serve_folder(folder):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve_folder
    for server in servers:
        server.shutdown()


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session", params=list(PROGRAMS))
def browser(request, playwright, tmp_path_factory):
    if not any(map(program, PROGRAMS)):
        pytest.fail("no browser: install one (Debian: apt install chromium firefox-esr)")
    name, path = request.param, program(request.param)
    if path is None:
        pytest.skip(f"no {name}: install it (Debian: apt install {PROGRAMS[name][0]}), or name it by {name.upper()}")
    if name == "firefox":
        between, script = Path(__file__).with_name("old_firefox.py"), tmp_path_factory.mktemp("firefox") / "firefox"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{between}" "{path}" "$@"\n')
        script.chmod(0o755)
        path = script
    started = getattr(playwright, name).launch(executable_path=path, **OPTIONS[name])
    yield started
    started.close()


@pytest.fixture
def open_page(browser):
    """A function that opens an address. In its `said` the pages' complaints arrive, of which none may be left."""
    pages, said = [], []

    def complain(text):
        if "blocked a JavaScript eval" not in text:  # which is Playwright's own, in Firefox
            said.append(text)

    def open_at(address, **options):
        page = browser.new_page(**options)
        pages.append(page)
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: complain(str(error)))
        page.on("console", lambda message: complain(message.text) if message.type in ("error", "warning") else None)
        page.on("requestfailed", lambda request: said.append(request.url))
        page.goto(address)
        return page

    open_at.said = said
    yield open_at
    for page in pages:
        page.context.close()
    assert said == []
