"""A page that is printed: figures and tables fit on a sheet, and nothing hidden is drawn for it."""

import shutil
from pathlib import Path

import pytest

from tune_brain.report.page import write_page

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
SHEET = 718
"""Width in CSS pixels of A4 between margins of 1 cm."""
RIGHT = """(all) => Math.max(...all.map((element) => {
  const edge = element.closest(".panel").getBoundingClientRect().right;
  const { right } = element.getBoundingClientRect();
  return right > edge ? Infinity : right;
}))"""


@pytest.mark.slow
def test_a_print_has_whole_figures_and_tables_and_draws_nothing_hidden(page, tmp_path):
    run = shutil.copytree(REFERENCE / "sartaj", tmp_path / "sartaj")
    page.set_viewport_size({"width": 1600, "height": 900})
    page.goto(write_page(run).as_uri())
    timeline = page.locator("#machines .plot")
    timeline.scroll_into_view_if_needed()
    timeline.locator(".main-svg").first.wait_for()
    page.get_by_label("cnn", exact=True).check()
    # Without waiting, as browsers print as soon as the event is over.
    drawn, shown = page.evaluate(
        """async () => {
          await ready;
          dispatchEvent(new Event("beforeprint"));
          await null;
          const drawn = document.querySelectorAll(".plot:has(.main-svg)").length;
          return [drawn, [...figures.keys()].filter((place) => place.offsetParent).length];
        }"""
    )
    page.emulate_media(media="print")
    assert drawn == shown > 5
    assert page.locator(".plot .main-svg:visible, main table:visible").evaluate_all(RIGHT) <= SHEET
    cut = (
        "(all) => all.some((one) => one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight)"
    )
    assert not page.locator("main pre:visible").evaluate_all(cut)
    hidden = page.locator("main [data-arch=resnet18] .plot")
    assert hidden.count()
    assert hidden.locator(".main-svg").count() == 0
    page.emulate_media(media="screen")
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    page.wait_for_function("() => document.querySelector('#machines .main-svg').clientWidth > 1000")


@pytest.mark.slow
def test_a_figure_that_changed_while_hidden_is_drawn_in_full_width_once_it_is_shown(page, tmp_path):
    run = shutil.copytree(REFERENCE / "sartaj", tmp_path / "sartaj")
    page.set_viewport_size({"width": 1600, "height": 900})
    page.goto(write_page(run).as_uri())
    plot = page.locator("#ladder [data-arch=resnet18] .plot").first
    plot.scroll_into_view_if_needed()
    plot.locator(".main-svg").first.wait_for()
    page.get_by_label("cnn", exact=True).check()
    page.emulate_media(color_scheme="dark")
    page.evaluate("() => drawAgain()")
    page.get_by_label("resnet18", exact=True).check()
    plot.scroll_into_view_if_needed()
    page.wait_for_function(
        "(plot) => plot.querySelector('.main-svg').clientWidth === plot.clientWidth",
        arg=plot.element_handle(),
    )
    ink = "(plot) => getComputedStyle(plot.querySelector('.main-svg text')).fill === 'rgb(159, 176, 195)'"
    page.wait_for_function(ink, arg=plot.element_handle())


@pytest.mark.slow
def test_a_page_in_dark_colours_is_printed_in_light_ones(page, tmp_path):
    run = shutil.copytree(REFERENCE / "sartaj", tmp_path / "sartaj")
    page.emulate_media(color_scheme="dark")
    page.goto(write_page(run).as_uri())
    plot = page.locator("#ladder .plot").first
    plot.scroll_into_view_if_needed()
    plot.locator(".main-svg").first.wait_for()
    looks = """() => {
      const colour = (selector, key) => getComputedStyle(document.querySelector(selector))[key];
      const figure = colour("#ladder .main-svg text", "fill");
      return [figure, colour("#ladder .key .dot", "backgroundColor"), colour("body", "color")];
    }"""
    dark = page.evaluate(looks)
    assert dark == ["rgb(159, 176, 195)", "rgb(109, 124, 142)", "rgb(230, 235, 241)"]
    page.evaluate("async () => { await ready; dispatchEvent(new Event('beforeprint')); await null; }")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(looks) == ["rgb(91, 107, 127)", "rgb(132, 146, 162)", "rgb(29, 39, 51)"]
    page.emulate_media(media="screen", color_scheme="dark")
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    page.wait_for_function(f"(dark) => ({looks})().join() === dark.join()", arg=dark)
