"""The live dashboard: new rows appear, the keyboard focus stays, foreign hosts and file paths are refused."""

import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from growing import REFERENCE, dashboard
from predicted import predictions
from starlette.testclient import TestClient

from tune_brain import lock
from tune_brain.errors import ConfigError
from tune_brain.evaluate.predictions import write_predictions
from tune_brain.records import EpochRow, read
from tune_brain.report.live import application, image_file, listen
from tune_brain.report.run_reader import Reader, read_contents
from tune_brain.report.run_view import RunView


@pytest.fixture
def served(growing, scored_run) -> Iterator[str]:
    """The address of a dashboard of a growing run, and another to compare it with."""
    with dashboard(growing.folder, scored_run) as url:
        yield url


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_new_rows_appear_on_an_open_page(page, growing, served):
    page.goto(served)
    begun = len(growing.trials())
    page.get_by_text(f"{begun} of {begun} trials").wait_for()
    page.wait_for_function(
        "() => [...document.querySelectorAll('section')].every((one) => one.dataset.version)"
    )
    page.locator("#filter").fill("cnn")
    page.locator("#ladder").scroll_into_view_if_needed()
    climb = page.get_by_role("img", name="climb of cnn")
    climb.locator(".main-svg").first.wait_for()
    before = climb.element_handle()
    # The search goes on, and is killed in the middle of a row.
    growing.grow(trials=1000, epochs=1000, torn=b'{"trial":56,"ar')
    trials = growing.trials()
    own = [trial for trial in trials if trial.arch == "cnn"]
    page.get_by_text(f"{len(own)} of {len(trials)} trials").wait_for()
    page.wait_for_function(
        "() => document.querySelector('#ladder .plot').data.some((trace) => trace.name === 'winner')"
    )
    assert before.evaluate("(plot) => plot.isConnected"), "a figure in sight is kept, and its zoom with it"
    assert page.locator("#filter").input_value() == "cnn"
    page.locator("#overview").scroll_into_view_if_needed()
    best = max(trial.score or 0 for trial in own)
    page.get_by_text(f"cnn leads with macro-F1 {best:.3f}").wait_for()
    # The test was opened meanwhile.
    for name in ("scores.json", "comparisons.json"):
        shutil.move(growing.folder.parent / name, growing.folder / name)
    page.get_by_text("resnet18 is the best winner on the unseen test").first.wait_for()
    page.locator("#compare").scroll_into_view_if_needed()
    page.locator("#compare .main-svg").first.wait_for()
    assert page.locator("#live").inner_text() == "not running"
    with lock.hold(growing.folder):
        page.get_by_text("live", exact=True).wait_for()
    page.get_by_role("link", name="scored").click()
    page.get_by_role("heading", name="scored", exact=True).wait_for()


@pytest.mark.slow
def test_an_open_page_reloads_when_a_dashboard_of_another_run_takes_over_its_port(page, new_run):
    first, second = (new_run(name, archs=("cnn",), configs=2) for name in ("first", "second"))
    with dashboard(first) as url:
        page.goto(url)
        page.get_by_role("heading", name="first", exact=True).wait_for()
        with page.expect_response("**/views"):
            pass
    with dashboard(second, port=url.rpartition(":")[2]):
        page.get_by_role("heading", name="second", exact=True).wait_for()
    # Between the two servers nobody answered.
    page.troubles[:] = [line for line in page.troubles if "ERR_CONNECTION_REFUSED" not in line]


@pytest.mark.slow
def test_an_open_page_of_a_run_that_is_no_longer_shown_goes_to_the_first(page, new_run):
    first, second = (new_run(name, archs=("cnn",), configs=2) for name in ("first", "second"))
    with dashboard(first, second) as url:
        page.goto(f"{url.removesuffix('/')}/run/1")
        page.get_by_role("heading", name="second", exact=True).wait_for()
        with page.expect_response("**/views"):
            pass
    with dashboard(first, port=url.rpartition(":")[2].rstrip("/")):
        page.get_by_role("heading", name="first", exact=True).wait_for()
    page.troubles[:] = [line for line in page.troubles if "REFUSED" not in line and "404" not in line]


def test_a_dashboard_can_be_told_from_that_of_another_run_and_from_its_successor(new_run):
    first, second = (new_run(name, archs=("cnn",), configs=2) for name in ("first", "second"))
    identities = []
    for folders in ([first, second], [first]):
        client = TestClient(application(folders), base_url="http://127.0.0.1")
        for run in range(len(folders)):
            identity = client.get(f"/run/{run}/views").headers["X-Run"]
            assert client.get(f"/run/{run}/views/ladder").headers["X-Run"] == identity
            assert f'<main data-run="{identity}">' in client.get(f"/run/{run}").text
            identities.append(identity)
    assert len(set(identities)) == 3


def test_new_epochs_of_a_compared_run_change_the_comparison(new_run):
    first, second = (new_run(name, archs=("cnn",), configs=2) for name in ("first", "second"))
    client = TestClient(application([first, second]), base_url="http://127.0.0.1")
    before = client.get("/run/0/views").json()
    file = second / "epochs.jsonl"
    with file.open("a") as rows:
        rows.write(file.read_text().splitlines(keepends=True)[-1])
    after = client.get("/run/0/views").json()
    assert {view for view in after if after[view] != before[view]} == {"compare"}


@pytest.mark.slow
def test_updates_leave_the_keyboard_focus_where_it_is(page, growing, served):
    def trials_shown() -> None:
        count = len(growing.trials())
        page.get_by_text(f"{count} of {count} trials").wait_for()

    page.goto(served)
    trials_shown()
    focused = "() => document.activeElement.textContent"
    page.locator("#trials").get_by_role("button", name="seconds").click()
    growing.grow(trials=40, epochs=60)
    trials_shown()
    assert page.evaluate(focused) == "seconds"
    # Elements that an update replaces hand the focus over.
    page.locator("#ladder summary").first.focus()
    page.locator("#ladder").evaluate("(section) => (section.dataset.then = section.dataset.version)")
    growing.grow(trials=1000, epochs=1000)
    page.wait_for_function(
        "() => ((of) => of.version !== of.then)(document.querySelector('#ladder').dataset)"
    )
    assert page.evaluate(focused) == "rung by rung"


@pytest.mark.slow
def test_updates_rewrite_no_status_or_list_that_has_not_changed(page, growing, served):
    of_trial = [row.trial for row in read(REFERENCE / "sartaj" / "epochs.jsonl", EpochRow)]
    second_epoch = next(place for place in range(10, 40) if of_trial[place] in of_trial[:place])
    growing.grow(trials=20, epochs=second_epoch)
    page.goto(served)
    page.wait_for_function(
        "() => [...document.querySelectorAll('section.view')].every((one) => one.dataset.version)"
    )
    page.locator("#steps .plot").scroll_into_view_if_needed()
    page.locator("#steps .main-svg").first.wait_for()
    page.evaluate(
        """() => {
          window.writes = [];
          const watch = new MutationObserver((all) => writes.push(...all.map((one) => one.target.id)));
          for (const status of document.querySelectorAll('[role=status], #chosen, #trials thead')) {
            watch.observe(status, { childList: true, characterData: true, subtree: true });
          }
        }"""
    )
    # A further epoch of a known trial changes the figure, but no list and no status.
    before = page.locator("#steps").get_attribute("data-version")
    growing.grow(trials=20, epochs=second_epoch + 1)
    page.wait_for_function("(then) => document.querySelector('#steps').dataset.version !== then", arg=before)
    # The first of these polls may belong to that update; the second follows a poll without any change.
    for _ in range(2):
        with page.expect_response("**/views"):
            pass
    assert page.evaluate("() => writes") == []


@pytest.mark.slow
def test_foreign_hosts_and_file_paths_are_refused(served):
    assert status(f"{served}/run/0") == 200
    assert status(f"{served}/run/0/views/ladder") == 200
    assert status(f"{served}/run/0", Host="evil.example") == 400
    assert status(f"{served}/run/0/views", Host="evil.example:8050") == 400
    for path in (
        "/run/2",
        "/run/-1",
        "/run/0/views/..%2f..%2frun.toml",
        "/run/0/views/../../run.toml",
        "/run/..%2f..%2fetc%2fpasswd",
        "/run.toml",
        "/etc/passwd",
        "/run/0/trials.jsonl",
    ):
        assert status(served + path) == 404, path


def test_a_reader_parses_only_rows_that_were_appended(growing):
    reader = Reader(growing.folder)
    first, stamps = reader.read(), reader.stamps()
    growing.grow(trials=30, epochs=30, torn=b'{"trial":')
    second = reader.read()
    assert [row.trial for row in second.rows[:20]] == [row.trial for row in first.rows]
    assert all(new is old for new, old in zip(second.rows, first.rows, strict=False))
    assert len(second.rows) == 30
    assert second.epochs is first.epochs or second.epochs == first.epochs
    assert {name for name, stamp in reader.stamps().items() if stamp != stamps[name]} >= {"trials"}


def test_a_reader_starts_over_when_a_file_got_shorter(growing):
    reader = Reader(growing.folder)
    reader.read()
    growing.grow(trials=6, epochs=2)
    contents = reader.read()
    assert (len(contents.rows), len(contents.epochs)) == (6, 2)


def test_the_error_about_a_taken_port_names_the_remedy():
    with listen("127.0.0.1", 0) as taken, pytest.raises(ConfigError, match="--port"):
        listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_a_wildcard_address_is_refused(host):
    with pytest.raises(ConfigError, match="--host must be one address"):
        listen(host, 0)


def test_only_test_images_of_the_run_are_served(tmp_path, new_run):
    root = tmp_path / "images"
    for name in ("Testing/a.jpg", "Testing/notes.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"-")
    (tmp_path / "secret.jpg").write_bytes(b"-")
    run = new_run(archs=("cnn",), configs=2, images=24)
    names = ["Testing/a.jpg", "../secret.jpg", "Testing/notes.txt", "Testing/gone.jpg"]
    write_predictions(run / "predictions.npz", predictions(np.zeros(4, int), names=np.array(names)))
    contents = read_contents(run)
    config = contents.config.model_copy(update={"data": root})
    shown = RunView(replace(contents, config=config))
    found = [image_file(shown, number) for number in range(5)]
    assert found == [(root / "Testing/a.jpg").resolve(), None, None, None, None]
    nowhere = RunView(replace(contents, config=config.model_copy(update={"data": None})))
    assert image_file(nowhere, 0) is None
