"""Uploads whose connection breaks, in a real browser: the page sends them again, or says what is wrong."""

from pathlib import Path
from typing import Any

import pytest
from bundles import write_bundle
from playwright.sync_api import Route, expect
from served import Server, articles

pytestmark = pytest.mark.slow

expect.set_options(timeout=30_000)


def break_uploads(page: Any, count: int) -> list[Route]:
    """Let the connection break during so many uploads, as where a service refuses one before its end."""
    broken = list[Route]()

    def handle(route: Route) -> None:
        if len(broken) == count:
            route.fallback()
        else:
            broken.append(route)
            route.abort("connectionreset")

    page.route("**/predict", handle)
    return broken


def forgive(page: Any) -> None:
    page.troubles[:] = [line for line in page.troubles if "ERR_CONNECTION_RESET" not in line]


def test_a_file_whose_connection_breaks_at_once_is_sent_again(page: Any, url: str, mri: Path) -> None:
    broken = break_uploads(page, 2)
    page.goto(url)
    page.locator("#files").set_input_files(mri)
    expect(articles(page).locator(".headline")).to_contain_text("%")
    expect(page.locator("#status")).to_have_text("1 image done.")
    assert len(broken) == 2
    forgive(page)


def test_a_connection_that_breaks_once_the_service_may_have_waited_enough_is_too_slow(
    page: Any, url: str, mri: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_brain.serve.app.BODY_SECONDS", 0.0)
    broken = break_uploads(page, 1)
    page.goto(url)
    page.locator("#files").set_input_files(mri)
    expect(articles(page)).to_contain_text("It may be too slow for this file.")
    assert len(broken) == 1
    forgive(page)


def test_a_result_says_what_the_networks_see_and_where_they_have_no_heat_map(
    page: Any, phantoms: Path, mri: Path, tmp_path: Path
) -> None:
    server = Server(write_bundle(tmp_path / "bundle", phantoms, ("linear",), size=32))
    page.goto(server.url)
    page.locator("#files").set_input_files(mri)
    answer = articles(page)
    expect(answer.locator(".size")).to_have_text("The networks see the picture at 32 x 32 pixels.")
    expect(answer.locator(".heat-words")).to_contain_text(
        "No heat map: these networks have none, or no region"
    )
    expect(answer.locator(".heat")).to_have_count(0)
    server.end()


@pytest.mark.parametrize("width", [320, 1280])
def test_the_notice_covers_nothing_that_the_keyboard_reaches(
    page: Any, url: str, mri: Path, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 500})
    page.goto(url)
    page.locator("#files").set_input_files([mri] * 2)
    expect(page.locator("#status")).to_have_text("2 images done.")
    slider = page.locator(".opacity").first
    page.locator("summary").first.focus()
    # The slider lies under the notice.
    slider.evaluate("slider => window.scrollBy(0, slider.getBoundingClientRect().top - 5)")
    page.keyboard.press("Shift+Tab")
    expect(slider).to_be_focused()
    top = slider.evaluate("slider => slider.getBoundingClientRect().top")
    assert top >= page.evaluate("document.querySelector('.notice').getBoundingClientRect().bottom")
