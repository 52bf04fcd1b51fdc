"""Copies of a run to a bucket and back, with fsspec's file system in memory as the bucket."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from typer.testing import CliRunner

from tune_brain import copies, lock
from tune_brain.cli import app
from tune_brain.copies import copy
from tune_brain.errors import ConfigError, RunFolderError

BUCKET = "memory://bucket/run"
KEPT = {"run.toml", "record.json", "trials.jsonl", "epochs.jsonl", "winners/cnn.toml"}


@pytest.fixture
def bucket() -> Iterator[dict[str, object]]:
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield MemoryFileSystem.store
    MemoryFileSystem.store.clear()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The files of a run, as far as `copy` reads them."""
    return made(tmp_path / "run", "2026-11-26T12:00:00")


def made(folder: Path, started: str) -> Path:
    files = {
        "run.toml": "configs = 4\n",
        "record.json": json.dumps({"started": started, "machine": {"cores": 2}, "data": {"digest": "1"}}),
        "trials.jsonl": '{"trial": 0}\n',
        "epochs.jsonl": '{"trial": 0, "epoch": 1}\n',
        "winners/cnn.toml": "configuration = 0\n",
        "checkpoints/0.safetensors": "large",
        ".lock": "{}",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "gone").symlink_to("nowhere")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.usefixtures("bucket")
def test_a_run_goes_to_a_bucket_and_comes_back_without_its_checkpoints(run: Path, tmp_path: Path) -> None:
    copy(str(run), BUCKET)
    copy(BUCKET, str(tmp_path / "back"))
    wanted = contents(run)
    del wanted["checkpoints/0.safetensors"], wanted[".lock"]
    assert contents(tmp_path / "back") == wanted


@pytest.mark.usefixtures("bucket")
def test_a_copy_replaces_only_an_earlier_copy_of_the_same_run(run: Path, tmp_path: Path) -> None:
    copy(str(run), BUCKET)
    (run / "run.toml").write_text("configs = 8\n")
    copy(str(run), BUCKET)
    copy(BUCKET, str(tmp_path / "back"))
    assert (tmp_path / "back/run.toml").read_text() == "configs = 8\n"
    other = made(tmp_path / "other", "2026-11-26T13:00:00")
    with pytest.raises(RunFolderError, match="5 files of something else"):
        copy(str(other), BUCKET)
    with pytest.raises(RunFolderError, match="something else"):
        copy(BUCKET, str(other))
    assert "configs = 4" in (other / "run.toml").read_text()


@pytest.mark.usefixtures("bucket")
def test_without_a_run_nothing_is_copied(tmp_path: Path) -> None:
    for source in (str(tmp_path), str(tmp_path / "missing"), "memory://nothing"):
        with pytest.raises(RunFolderError, match=r"no run\.toml"):
            copy(source, BUCKET)
    assert copies.Place.of(BUCKET).files() == {}


def test_the_end_of_a_trial_is_never_copied_without_its_epochs(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search continues between the reads of two files, so the file read last is the newest."""
    read = copies.Place.read

    def slow(place: copies.Place, name: str) -> bytes:
        content = read(place, name)
        with (run / "epochs.jsonl").open("a") as epochs, (run / "trials.jsonl").open("a") as trials:
            epochs.write(f'{{"after": "{name}"}}\n')
            trials.write(f'{{"after": "{name}"}}\n')
        return content

    monkeypatch.setattr(copies.Place, "read", slow)
    copy(str(run), str(tmp_path / "copy"))
    ends, epochs = ((tmp_path / "copy" / name).read_text() for name in ("trials.jsonl", "epochs.jsonl"))
    assert set(ends.splitlines()[1:]) <= set(epochs.splitlines())
    assert len(epochs.splitlines()) > len(ends.splitlines())


@pytest.mark.parametrize("fails", range(5))
def test_an_interrupted_copy_lacks_no_epochs_and_can_be_completed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    write, written = copies.Place.write, []

    def breaks_off(place: copies.Place, name: str, content: bytes) -> None:
        if len(written) == fails:
            raise ConnectionError("gone")
        written.append(name)
        write(place, name, content)

    target = tmp_path / "copy"
    with monkeypatch.context() as broken:
        broken.setattr(copies.Place, "write", breaks_off)
        with pytest.raises(RunFolderError, match="Repeat the command"):
            copy(str(run), str(target))
    assert (target / "epochs.jsonl").exists() or not (target / "trials.jsonl").exists()
    copy(str(run), str(target))
    assert contents(target) == {name: text for name, text in contents(run).items() if name in KEPT}


def test_a_place_that_is_unreachable_for_a_while_does_not_end_a_followed_copy(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, reports = copies.Place.write, list[str]()

    def fails_once(place: copies.Place, name: str, content: bytes) -> None:
        if not reports:
            raise ConnectionError("no route")
        write(place, name, content)

    monkeypatch.setattr(copies.Place, "write", fails_once)
    monkeypatch.setattr(copies, "_rounds", lambda *_: iter([False, True]))
    copy(str(run), str(tmp_path / "copy"), follow=True, report=reports.append)
    assert "no route" in reports[0]
    assert reports[1].startswith("5 files copied")


def test_rows_that_only_the_target_has_are_not_overwritten(run: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    copy(str(run), str(target))
    # An incomplete last line does not count as a row.
    (target / "trials.jsonl").write_text('{"trial": 0}\n{"tri')
    copy(str(run), str(target))
    (target / "trials.jsonl").write_text('{"trial": 0}\n{"trial": 1}\n')
    with pytest.raises(RunFolderError, match="would lose rows"):
        copy(str(run), str(target))
    copy(str(target), str(run))
    assert '{"trial": 1}' in (run / "trials.jsonl").read_text()


def test_a_seal_may_only_be_replaced_by_one_with_more_openings(run: Path, tmp_path: Path) -> None:
    target, seal = tmp_path / "copy", {"opened": "1", "for": {"a": {"max_lr": 0.1}}}
    (run / "sealed.json").write_text(json.dumps(seal, indent=2) + "\n")
    copy(str(run), str(target))
    again = {**seal, "again": [{"opened": "2"}]}
    (run / "sealed.json").write_text(json.dumps(again, indent=2) + "\n")
    copy(str(run), str(target))
    assert json.loads((target / "sealed.json").read_text()) == again
    for other in (seal, {**again, "opened": "3"}):
        (run / "sealed.json").write_text(json.dumps(other))
        with pytest.raises(RunFolderError, match=r"sealed\.json"):
            copy(str(run), str(target))


def test_the_seal_is_copied_before_results_of_the_test(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sealed.json", "predictions.npz", "calibration.json"):
        (run / name).write_text("{}\n")
    written, write = list[str](), copies.Place.write
    monkeypatch.setattr(
        copies.Place,
        "write",
        lambda place, name, content: (written.append(name), write(place, name, content)),
    )
    copy(str(run), str(tmp_path / "copy"))
    assert written[:3] == ["run.toml", "record.json", "sealed.json"]


def test_both_files_of_rows_are_copied_if_one_has_changed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = (copies.Place.of(str(folder)) for folder in (run, tmp_path / "copy"))
    copied = copies._copy(here, there, {}, print)
    (run / "trials.jsonl").write_text('{"trial": 0}\n{"trial": 1}\n')
    listed = here.files()
    # Epochs that were written after the files were listed.
    (run / "epochs.jsonl").write_text('{"trial": 0, "epoch": 1}\n{"trial": 1, "epoch": 1}\n')
    monkeypatch.setattr(copies.Place, "files", lambda _: listed)
    copies._copy(here, there, copied, print)
    assert '"trial": 1' in (tmp_path / "copy" / "epochs.jsonl").read_text()


def test_the_target_must_not_be_inside_the_run_or_a_run_that_is_being_written(
    run: Path, tmp_path: Path
) -> None:
    before = contents(run)
    for place in (run, run / "a/backup"):
        with pytest.raises(ConfigError, match="must not be inside the run"):
            copy(str(run), str(place))
    assert contents(run) == before
    # File systems with other options are different places, since options can name the host.
    elsewhere = copies.Place(LocalFileSystem(auto_mkdir=True), str(run / "a"), "")
    assert not elsewhere.is_within(copies.Place.of(str(run)))
    copy(str(run), str(tmp_path / "run-copy"))
    with lock.hold(run), pytest.raises(RunFolderError, match="writing to the target"):
        copy(str(tmp_path / "run-copy"), str(run))


def test_a_copy_follows_a_run_until_its_command_has_ended(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "EVERY", 0.01)
    lines: list[str] = []
    following = threading.Thread(
        target=copy, args=(str(run), str(tmp_path / "copy")), kwargs={"follow": True, "report": lines.append}
    )
    copied = tmp_path / "copy/trials.jsonl"

    def has(text: str) -> bool:
        return copied.exists() and text in copied.read_text()

    with lock.hold(run):
        following.start()
        for row in ('{"trial": 1}\n', '{"trial": 2}\n'):
            with (run / "trials.jsonl").open("a") as file:
                file.write(row)
            while not has(row):
                assert following.is_alive()
                time.sleep(0.01)
        (run / "scores.json").write_text("{}")
    following.join(60)
    assert not following.is_alive()
    assert (tmp_path / "copy/scores.json").exists()
    # Only files that have changed are copied again.
    assert any(line.startswith("1 files copied") for line in lines)


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("key", ["../evil", "winners/../../evil", ".hidden/evil", "", "winners/"])
def test_keys_that_are_no_files_of_the_folder_are_not_copied(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    copy(str(run), BUCKET)
    whole = MemoryFileSystem.find

    def with_key(system: MemoryFileSystem, root: str, **options: object) -> dict[str, dict[str, object]]:
        return {**whole(system, root, **options), f"{root}/{key}": {"size": 1, "created": 0, "type": "file"}}

    monkeypatch.setattr(MemoryFileSystem, "find", with_key)
    read = MemoryFileSystem.cat_file
    monkeypatch.setattr(
        MemoryFileSystem, "cat_file", lambda fs, path: read(fs, path) if path in fs.store else b"x"
    )
    copy(BUCKET, str(tmp_path / "a/b/back"))
    assert not list(tmp_path.rglob("evil"))
    assert {file.name for file in (tmp_path / "a/b/back").iterdir()} == {Path(name).parts[0] for name in KEPT}


def test_an_unusable_place_is_an_error_that_shows_no_password(run: Path) -> None:
    with pytest.raises(ConfigError, match="a URL that fsspec supports"):
        copy(str(run), "nowhere://bucket")
    with pytest.raises(RunFolderError, match=r"ftp://127\.0\.0\.1:1/x") as failed:
        copy(str(run), "ftp://user:secret@127.0.0.1:1/x")
    assert "secret" not in str(failed.value)
    assert "user" not in str(failed.value)
    with pytest.raises(RunFolderError) as failed:
        copy(str(run), "ftp://user:sec@ret@127.0.0.1:1/x?sig=secret")
    assert "ret" not in str(failed.value)
    with pytest.raises(RunFolderError, match=r"missing\?folder"):
        copy(str(run.parent / "missing?folder"), BUCKET)
    (run.parent / "file").touch()
    with pytest.raises(RunFolderError, match=r"NotADirectoryError|FileExistsError"):
        copy(str(run), str(run.parent / "file/copy"))


def test_the_command_reports_the_number_of_files(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["copy", str(run), str(tmp_path / "copy")])
    assert (done.exit_code, done.output) == (0, f"5 files copied to {tmp_path / 'copy'}\n")


def test_a_followed_copy_continues_over_the_moment_between_two_stages(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders = iter(["search", None, "evaluate", None, None])
    monkeypatch.setattr(copies, "EVERY", 0.0)
    monkeypatch.setattr(lock, "holder", lambda folder: next(holders) if folder == run else None)
    copy(str(run), str(tmp_path / "copy"), follow=True)
    assert list(holders) == []
