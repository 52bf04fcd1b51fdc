"""A real browser for tests: Debian's chromium, which may only contact this machine."""

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    """The browser, started once."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium) -> Iterator:
    """A page that fails its test on script errors, console errors or warnings, or requests to other machines.

    `page.troubles` lists them; a test that provokes some on purpose removes them.
    """
    context = chromium.new_context(accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    shown, troubles = context.new_page(), []

    def guard(route) -> None:
        url = urlsplit(route.request.url)
        if url.scheme in ("file", "data", "blob") or url.hostname == "127.0.0.1":
            route.continue_()
        else:
            troubles.append(f"requested {route.request.url}")
            route.abort()

    context.route("**/*", guard)
    shown.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    shown.on(
        "console",
        lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None,
    )
    shown.troubles = troubles
    yield shown
    context.close()
    assert troubles == []
