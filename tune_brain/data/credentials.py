"""Find the user's Kaggle credentials."""

import json
import os
from pathlib import Path

from tune_brain.errors import DownloadError

WAYS = (
    "Create an API key at https://www.kaggle.com/settings and set KAGGLE_USERNAME and KAGGLE_KEY, or "
    "KAGGLE_API_TOKEN, or save it as ~/.kaggle/kaggle.json."
)


def credentials() -> dict[str, str]:
    """Find `username` and `key`, or `token`.

    Tried in this order: KAGGLE_USERNAME with KAGGLE_KEY; KAGGLE_API_TOKEN (a token or a file with one);
    `kaggle.json` in the working directory, in KAGGLE_CONFIG_DIR and in ~/.kaggle; ~/.kaggle/access_token.

    Raises:
        DownloadError: there are no credentials, or a kaggle.json lacks one of the two.
    """
    name, key, token = (os.environ.get(f"KAGGLE_{it}", "").strip() for it in ("USERNAME", "KEY", "API_TOKEN"))
    if name and key:
        return {"username": name, "key": key}
    if token:
        return {"token": _token(Path(token)) or token}
    home = Path("~/.kaggle").expanduser()
    for folder in (Path(), Path(os.environ.get("KAGGLE_CONFIG_DIR") or home), home):
        if (file := folder / "kaggle.json").is_file():
            return _pair(file)
    if token := _token(home / "access_token"):
        return {"token": token}
    raise DownloadError("Kaggle needs credentials", found="none", remedy=WAYS)


def _token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _pair(file: Path) -> dict[str, str]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return {name: str(values[name]) for name in ("username", "key")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        # The error's text is not shown, since it might quote the file.
        raise DownloadError(
            "kaggle.json must hold a username and a key",
            found=f"{type(error).__name__} in {file}",
            remedy=WAYS,
        ) from None
