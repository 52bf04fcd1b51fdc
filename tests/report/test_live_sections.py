"""Which sections of a live page are replaced, when, and what happens if one of them cannot be."""

import shutil

import pytest
from growing import dashboard

pytestmark = pytest.mark.slow
SECTIONS = "document.querySelectorAll('section.view')"


def test_a_section_out_of_sight_is_replaced_within_a_minute_but_not_at_once(page, growing):
    page.clock.install()
    with dashboard(growing.folder) as url:
        page.goto(url)
        page.wait_for_function(f"() => [...{SECTIONS}].every((one) => one.dataset.version)")
        machines = page.locator("#machines")
        before = machines.get_attribute("data-version")
        growing.grow(trials=1000, epochs=1000)
        count = len(growing.trials())
        page.get_by_text(f"{count} of {count} trials").wait_for()
        # The sections of that poll have been asked for when the next one begins.
        for _ in range(2):
            with page.expect_response("**/views"):
                pass
        assert machines.get_attribute("data-version") == before
        page.clock.fast_forward("01:01")
        page.wait_for_function(
            "(then) => document.querySelector('#machines').dataset.version !== then", arg=before
        )


def test_a_view_that_fails_stops_no_other_and_is_named(page, growing, scored_run):
    for name in ("scores.json", "comparisons.json"):
        shutil.move(growing.folder.parent / name, growing.folder / name)
    (growing.folder / "predictions.npz").write_bytes(b"damaged")
    with dashboard(growing.folder, scored_run) as url:
        page.goto(url)
        page.wait_for_function(
            f"() => [...{SECTIONS}].filter((one) => !one.dataset.version).map((one) => one.id) == 'winners'"
        )
        assert page.locator("#compare table").count()
        page.locator("#live.lost", has_text="not up to date: winners: ").wait_for()
    page.troubles[:] = [line for line in page.troubles if "409" not in line and "REFUSED" not in line]
