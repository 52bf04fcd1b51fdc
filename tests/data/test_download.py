"""The real opendatasets and kaggle packages against a local server: files, messages and secrets."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kaggle_site import DOWNLOAD, INTROSPECT, KEY, SIGNATURE, STORAGE, TOKEN, Site, serving, zipped
from made import files
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
    """Runs the command without a terminal; checks for secrets in its output and for incomplete folders."""

    def run(
        *, code: int, to: Path | None = None, name: str = "sartaj", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        to = to or tmp_path / "to" / "images"
        working = tmp_path / "working"
        working.mkdir(exist_ok=True)
        done = subprocess.run(
            [*PROGRAM, "download", name, "--to", str(to)],
            env=site.environment(tmp_path / "home") | variables,
            cwd=working,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        output = done.stdout + done.stderr
        assert done.returncode == code, output
        assert not [secret for secret in (KEY, TOKEN, SIGNATURE) if secret in output]
        assert "Traceback" not in output
        beside = [entry.name for entry in to.parent.iterdir()] if to.parent.exists() else []
        assert beside in ([], [to.name]) if code in (0, 2) else beside == []
        return done

    return run


@pytest.mark.slow
def test_a_data_set_is_downloaded_completely_and_its_counts_are_checked(
    site: Site, download: Download, folder: Path, tmp_path: Path
) -> None:
    done = download(code=0, VERBOSE="true", **PAIR)
    assert files(tmp_path / "to" / "images") == files(folder)
    (path, user, body), (storage, *_) = site.requests
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
def test_an_interrupted_download_leaves_nothing_behind(
    site: Site, tmp_path: Path, end: signal.Signals
) -> None:
    site.free.clear()
    (tmp_path / "aside").mkdir()
    with subprocess.Popen(
        [*PROGRAM, "download", "sartaj", "--to", str(tmp_path / "to" / "images")],
        env=site.environment(tmp_path / "home") | PAIR | {"TMPDIR": str(tmp_path / "aside")},
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        while len(site.requests) < 2:
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(end)
        _, stderr = running.communicate(timeout=30)
    assert (running.returncode, stderr) == (
        130,
        "tune-brain: Interrupted; nothing of the download is kept.\n",
    )
    assert list((tmp_path / "to").iterdir()) == []
    assert list((tmp_path / "aside").iterdir()) == []


@pytest.mark.slow
def test_a_token_is_enough(site: Site, download: Download) -> None:
    download(code=0, name="https://www.kaggle.com/datasets/ada/slices", KAGGLE_API_TOKEN=TOKEN)
    assert (DOWNLOAD, TOKEN) in [(path, user) for path, user, _ in site.requests]
    assert INTROSPECT in [path for path, _, _ in site.requests]


@pytest.mark.slow
def test_without_credentials_no_request_is_sent(site: Site, download: Download) -> None:
    done = download(code=10)
    assert "Kaggle needs credentials; found: none" in done.stderr
    assert "KAGGLE_USERNAME" in done.stderr
    assert site.requests == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [{"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": f"{KEY}-old"}, {"KAGGLE_API_TOKEN": f"{TOKEN}-old"}],
)
def test_wrong_credentials_are_reported(download: Download, variables: dict[str, str]) -> None:
    done = download(code=10, **variables)
    assert "Kaggle rejected the credentials." in done.stderr
    assert "https://www.kaggle.com/settings" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "message"), [(403, "accept its rules"), (404, "Check that https"), (500, "failed; found: 500")]
)
def test_a_refusal_names_a_remedy(site: Site, download: Download, status: int, message: str) -> None:
    site.status = status
    done = download(code=10, **PAIR)
    assert message in done.stderr
    assert "https://www.kaggle.com/datasets/sartajbhuvaji/brain-tumor-classification-mri" in done.stderr


@pytest.mark.slow
def test_a_missing_network_is_reported(download: Download) -> None:
    done = download(code=10, http_proxy="http://127.0.0.1:9", **PAIR)
    assert "Cannot connect to Kaggle." in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("length", [True, False])
def test_a_broken_download_leaves_nothing_behind(site: Site, download: Download, length: bool) -> None:
    site.sent, site.length = 0.5, length
    done = download(code=10, **PAIR)
    assert "interrupted or damaged; nothing of it is kept" in done.stderr
    site.sent = 1.0
    download(code=0, **PAIR)


@pytest.mark.slow
def test_a_full_disk_is_reported(download: Download, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        done = download(code=10, to=small / "images", **PAIR)
        assert f"no space left for the archive and the images together; found: {small}" in done.stderr
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.slow
def test_a_data_set_with_another_layout_is_kept_with_a_warning(
    site: Site, download: Download, folder: Path
) -> None:
    site.archive = zipped(folder / "Training/a")
    done = download(code=0, **PAIR)
    assert "is complete, but not usable as it is" in done.stderr


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("sartaj", "sartajbhuvaji/brain-tumor-classification-mri"),
        ("https://www.kaggle.com/datasets/a-b/c_d", "a-b/c_d"),
        ("kaggle.com/a/b?select=x", "a/b"),
        ("http://www.kaggle.com/datasets/a/b/versions/2", "a/b"),
    ],
)
def test_names_and_addresses_of_data_sets(name: str, dataset: str) -> None:
    assert dataset_of(name) == dataset


@pytest.mark.parametrize(
    "name",
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
def test_other_addresses_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="nickparvar, sartaj or an address"):
        dataset_of(name)


def test_counts_of_known_data_sets_are_compared_with_the_published_ones() -> None:
    whole = {
        "train": {"glioma_tumor": 826, "meningioma_tumor": 822, "no_tumor": 395, "pituitary_tumor": 827},
        "test": {"glioma_tumor": 100, "meningioma_tumor": 115, "no_tumor": 105, "pituitary_tumor": 74},
    }
    assert differences("sartaj", whole) == []
    whole["test"]["no_tumor"] = 104
    assert differences("sartaj", whole) == ["test no_tumor: 104 images instead of 105"]
    assert differences("https://www.kaggle.com/datasets/a/b", whole) == []


@pytest.mark.slow
def test_an_existing_empty_folder_is_filled(
    site: Site, download: Download, folder: Path, tmp_path: Path
) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "linked" / "images"
    elsewhere.mkdir()
    link.parent.mkdir()
    link.symlink_to(elsewhere)
    download(code=0, to=link, **PAIR)
    assert files(elsewhere) == files(folder)
    assert len(site.requests) > 0
