"""The genuine opendatasets and kaggle against a server on loopback: what is left where, what is said."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kaggle_site import DOWNLOAD, INTROSPECT, KEY, SIGNATURE, STORAGE, TOKEN, Site, serving, zipped
from program import PROGRAM

from tune_brain.data.download import dataset_of, differences
from tune_brain.errors import ConfigError

Download = Callable[..., subprocess.CompletedProcess[str]]
PAIR = {"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": KEY}


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    with serving(Site(archive=zipped(folder))) as site:
        site.free.set()
        yield site


@pytest.fixture
def download(site: Site, tmp_path: Path) -> Download:
    """Runs the command without a terminal; its output holds no secret, and nothing half is left behind."""

    def run(
        *, code: int, to: Path | None = None, asked: str = "sartaj", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        to = to or tmp_path / "to" / "images"
        working = tmp_path / "working"
        working.mkdir(exist_ok=True)
        done = subprocess.run(
            [*PROGRAM, "download", asked, "--to", str(to)],
            env=site.environment(tmp_path / "home") | variables,
            cwd=working,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert not [secret for secret in (KEY, TOKEN, SIGNATURE) if secret in said]
        assert "Traceback" not in said
        beside = [one.name for one in to.parent.iterdir()] if to.parent.exists() else []
        assert beside in ([], [to.name]) if code in (0, 2) else beside == []
        return done

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_data_set_comes_whole_and_its_counts_are_checked(
    site: Site, download: Download, folder: Path, tmp_path: Path
) -> None:
    done = download(code=0, VERBOSE="true", **PAIR)
    assert contents(tmp_path / "to" / "images") == contents(folder)
    (path, user, body), (storage, *_) = site.asked
    assert storage == STORAGE
    assert (path, user) == (DOWNLOAD, f"ada:{KEY}")
    assert json.loads(body) == {
        "ownerSlug": "sartajbhuvaji",
        "datasetSlug": "brain-tumor-classification-mri",
    }
    assert "not as published, train a: 3 images instead of 0" in done.stderr
    assert "not as published, test glioma_tumor: 0 images instead of 100" in done.stderr
    assert done.stdout == f"{tmp_path / 'to' / 'images'}\n"
    again = download(code=2, **PAIR)
    assert "needs a new or empty folder" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_download_leaves_nothing(site: Site, tmp_path: Path, end: signal.Signals) -> None:
    site.free.clear()
    (tmp_path / "aside").mkdir()
    with subprocess.Popen(
        [*PROGRAM, "download", "sartaj", "--to", str(tmp_path / "to" / "images")],
        env=site.environment(tmp_path / "home") | PAIR | {"TMPDIR": str(tmp_path / "aside")},
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        while len(site.asked) < 2:
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(end)
        _, said = running.communicate(timeout=30)
    assert (running.returncode, said) == (130, "tune-brain: Interrupted; nothing of the download is kept.\n")
    assert list((tmp_path / "to").iterdir()) == []
    assert list((tmp_path / "aside").iterdir()) == []


@pytest.mark.slow
def test_a_token_will_do(site: Site, download: Download) -> None:
    download(code=0, asked="https://www.kaggle.com/datasets/ada/slices", KAGGLE_API_TOKEN=TOKEN)
    assert (DOWNLOAD, TOKEN) in [(path, user) for path, user, _ in site.asked]
    assert INTROSPECT in [path for path, _, _ in site.asked]


@pytest.mark.slow
def test_without_credentials_nobody_is_asked(site: Site, download: Download) -> None:
    done = download(code=10)
    assert "Kaggle asks for credentials; found: none" in done.stderr
    assert "KAGGLE_USERNAME" in done.stderr
    assert site.asked == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [{"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": f"{KEY}-old"}, {"KAGGLE_API_TOKEN": f"{TOKEN}-old"}],
)
def test_wrong_credentials(download: Download, variables: dict[str, str]) -> None:
    done = download(code=10, **variables)
    assert "Kaggle must know the credentials; found: it does not" in done.stderr
    assert "https://www.kaggle.com/settings" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "said"), [(403, "accept its rules"), (404, "Look whether there is"), (500, "failure 500")]
)
def test_a_refusal_names_its_remedy(site: Site, download: Download, status: int, said: str) -> None:
    site.status = status
    done = download(code=10, **PAIR)
    assert said in done.stderr
    assert "https://www.kaggle.com/datasets/sartajbhuvaji/brain-tumor-classification-mri" in done.stderr


@pytest.mark.slow
def test_no_network(download: Download) -> None:
    done = download(code=10, http_proxy="http://127.0.0.1:9", **PAIR)
    assert "Kaggle must be within reach; found: no connection" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("length", [True, False])
def test_a_download_that_breaks_off_leaves_nothing(site: Site, download: Download, length: bool) -> None:
    site.sent, site.length = 0.5, length
    done = download(code=10, **PAIR)
    assert "broken off or damaged; nothing of it is kept" in done.stderr
    site.sent = 1.0
    download(code=0, **PAIR)


@pytest.mark.slow
def test_a_full_disk(download: Download, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        done = download(code=10, to=small / "images", **PAIR)
        assert f"no space left at {small}" in done.stderr
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.slow
def test_a_data_set_of_another_layout_is_kept_and_said(site: Site, download: Download, folder: Path) -> None:
    site.archive = zipped(folder / "Training/a")
    done = download(code=0, **PAIR)
    assert "no folder to search as it stands" in done.stderr


@pytest.mark.parametrize(
    ("asked", "dataset"),
    [
        ("sartaj", "sartajbhuvaji/brain-tumor-classification-mri"),
        ("https://www.kaggle.com/datasets/a-b/c_d", "a-b/c_d"),
        ("kaggle.com/a/b?select=x", "a/b"),
        ("http://www.kaggle.com/datasets/a/b/versions/2", "a/b"),
    ],
)
def test_names_and_addresses(asked: str, dataset: str) -> None:
    assert dataset_of(asked) == dataset


@pytest.mark.parametrize(
    "asked",
    [
        "brats",
        "",
        "https://kaggle.com.example.org/a/b",
        "https://example.org/a/b.zip",
        "https://www.kaggle.com/datasets/a",
        "https://www.kaggle.com/c/a",
        "https://www.kaggle.com/datasets/../b",
    ],
)
def test_other_addresses_are_refused(asked: str) -> None:
    with pytest.raises(ConfigError, match="nickparvar, sartaj or an address"):
        dataset_of(asked)


def test_known_data_sets_are_held_against_what_was_published() -> None:
    whole = {
        "train": {"glioma_tumor": 826, "meningioma_tumor": 822, "no_tumor": 395, "pituitary_tumor": 827},
        "test": {"glioma_tumor": 100, "meningioma_tumor": 115, "no_tumor": 105, "pituitary_tumor": 74},
    }
    assert differences("sartaj", whole) == []
    whole["test"]["no_tumor"] = 104
    assert differences("sartaj", whole) == ["test no_tumor: 104 images instead of 105"]
    assert differences("https://www.kaggle.com/datasets/a/b", whole) == []


@pytest.mark.slow
def test_an_empty_folder_that_is_there_is_filled(
    site: Site, download: Download, folder: Path, tmp_path: Path
) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "linked" / "images"
    elsewhere.mkdir()
    link.parent.mkdir()
    link.symlink_to(elsewhere)
    download(code=0, to=link, **PAIR)
    assert contents(elsewhere) == contents(folder)
    assert len(site.asked) > 0
