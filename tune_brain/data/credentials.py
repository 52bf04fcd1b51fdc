"""What a user left for Kaggle to know them by."""

import json
import os
from pathlib import Path

from tune_brain.errors import DownloadError

WAYS = (
    "Make an API key at https://www.kaggle.com/settings and set KAGGLE_USERNAME and KAGGLE_KEY, or "
    "KAGGLE_API_TOKEN, or save it as ~/.kaggle/kaggle.json."
)


def credentials() -> dict[str, str]:
    """`username` and `key`, or `token`.

    Looked for in this order: KAGGLE_USERNAME with KAGGLE_KEY, KAGGLE_API_TOKEN (a token or a file with one),
    `kaggle.json` in the working directory, in KAGGLE_CONFIG_DIR and in ~/.kaggle, ~/.kaggle/access_token.

    Raises:
        DownloadError: there is nothing, or a kaggle.json without both.
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
    raise DownloadError("Kaggle asks for credentials", found="none", remedy=WAYS)


def _token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _pair(file: Path) -> dict[str, str]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {name: str(found[name]) for name in ("username", "key")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        # The text of the error might hold a part of the file.
        raise DownloadError(
            "kaggle.json holds a username and a key",
            found=f"{type(error).__name__} in {file}",
            remedy=WAYS,
        ) from None
