"""Where Kaggle credentials are searched, and in which order."""

import json
from pathlib import Path

import pytest

from tune_brain.data.credentials import credentials
from tune_brain.errors import DownloadError


@pytest.fixture(autouse=True)
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USERNAME", "KEY", "API_TOKEN", "CONFIG_DIR"):
        monkeypatch.delenv(f"KAGGLE_{name}", raising=False)
    for name in ("home/.kaggle", "working", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "working")


def write_login(folder: Path, key: str) -> dict[str, str]:
    pair = {"username": "ada", "key": key}
    (folder / "kaggle.json").write_text(json.dumps({**pair, "more": 1}))
    return pair


def test_each_place_takes_precedence_over_the_previous(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadError, match="found: none"):
        credentials()
    (tmp_path / "home/.kaggle/access_token").write_text(" KGAT_0\n")
    assert credentials() == {"token": "KGAT_0"}
    assert write_login(tmp_path / "home/.kaggle", "1") == credentials()
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "elsewhere"))
    assert credentials()["key"] == "1"
    assert write_login(tmp_path / "elsewhere", "2") == credentials()
    assert write_login(tmp_path / "working", "3") == credentials()
    monkeypatch.setenv("KAGGLE_API_TOKEN", " KGAT_4\n")
    assert credentials() == {"token": "KGAT_4"}
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    assert credentials() == {"token": "KGAT_4"}
    monkeypatch.setenv("KAGGLE_KEY", "5")
    assert credentials() == {"username": "ada", "key": "5"}


def test_a_token_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("KGAT_1\n")
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "token"))
    assert credentials() == {"token": "KGAT_1"}


@pytest.mark.parametrize(
    "content", ['{"username": "ada", "key": "s3cret"', '{"key": "s3cret"}', '["s3cret"]', "\xff"]
)
def test_an_error_names_a_damaged_kaggle_json_without_quoting_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "working/kaggle.json").write_text(content, encoding="latin-1")
    with pytest.raises(DownloadError, match=r"Error in kaggle\.json") as error:
        credentials()
    assert "s3cret" not in str(error.value)
    assert error.value.__cause__ is None
