"""The page of an audit in a real browser: drawn, without errors, offline, names shown as text."""

from pathlib import Path

import numpy as np
import pytest

from tune_brain.data.audit import audit
from tune_brain.data.demo import draw
from tune_brain.report.explore import write_audit

pytestmark = pytest.mark.slow

EVIL = "<img src=x onerror=alert(1)>"
SCRIPT = "<script>alert(2)<script>.png"


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a folder with malicious names, a twin across the parts and a broken file."""
    root = tmp_path_factory.mktemp("images") / "<b>images"
    for part, n in (("Training", 4), ("Testing", 2)):
        for place, name in enumerate(("a", EVIL)):
            for i in range(n):
                file = root / part / name / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                draw("glioma", np.random.default_rng([place, n, i])).save(file)
    draw("glioma", np.random.default_rng([1, 4, 0])).save(root / "Testing" / EVIL / SCRIPT)
    (root / "Training/a/<i>empty.png").touch()
    _, html = write_audit(audit(root), tmp_path_factory.mktemp("out"))
    return html


def test_everything_is_drawn_and_every_picture_loads(page, html: Path) -> None:
    page.goto(html.as_uri())
    plots = page.query_selector_all(".plot")
    assert len(plots) == 4 + 2
    for plot in plots:
        plot.scroll_into_view_if_needed()
        page.wait_for_function("(plot) => plot.querySelector('.main-svg')", arg=plot)
    sizes = page.eval_on_selector_all("img", "(all) => all.map((one) => one.naturalWidth)")
    assert len(sizes) > 6
    assert min(sizes) > 1


def test_malicious_names_are_shown_as_text(page, html: Path) -> None:
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(html.as_uri())
    page.wait_for_function("document.querySelectorAll('.plot .main-svg').length > 0")
    text = page.inner_text("body")
    for name in (EVIL, SCRIPT, "<i>empty.png", "<b>images"):
        assert name in text
    assert page.query_selector("img[src='x'], i") is None
    assert dialogs == []


def test_the_page_fits_a_narrow_window(page, html: Path) -> None:
    page.set_viewport_size({"width": 480, "height": 800})
    page.goto(html.as_uri())
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
