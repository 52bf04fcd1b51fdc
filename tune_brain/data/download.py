"""Download a data set from Kaggle through opendatasets: completely or not at all, and without prompting.

opendatasets looks for credentials only in the working directory and otherwise prompts for them, passes them
on in the environment, prints, and mistakes any non-empty folder for a finished download. So it runs in its
own process, in an empty folder with a `kaggle.json`, and its result is renamed into place once complete. None
of its or Kaggle's output is passed on, since addresses and headers may contain secrets.
"""

import contextlib
import errno
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tune_brain.data.credentials import WAYS, credentials
from tune_brain.errors import ConfigError, DownloadError
from tune_brain.files import making, require_new, writing
from tune_brain.interrupts import interruptible

SITE = "https://www.kaggle.com"


@dataclass(frozen=True, kw_only=True)
class Known:
    """A data set with a short name, whose number of images is known."""

    dataset: str
    """Owner and name on Kaggle."""
    counts: dict[str, dict[str, int]]
    """Number of published images by part and class."""


KNOWN = {
    "nickparvar": Known(
        dataset="masoudnickparvar/brain-tumor-mri-dataset",
        counts={
            "train": {"glioma": 1321, "meningioma": 1339, "notumor": 1595, "pituitary": 1457},
            "test": {"glioma": 300, "meningioma": 306, "notumor": 405, "pituitary": 300},
        },
    ),
    "sartaj": Known(
        dataset="sartajbhuvaji/brain-tumor-classification-mri",
        counts={
            "train": {"glioma_tumor": 826, "meningioma_tumor": 822, "no_tumor": 395, "pituitary_tumor": 827},
            "test": {"glioma_tumor": 100, "meningioma_tumor": 115, "no_tumor": 105, "pituitary_tumor": 74},
        },
    ),
}

ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?kaggle\.com/(?:datasets/)?([\w-]+/[\w-]+)(?:[/?#].*)?")


def dataset_of(name: str) -> str:
    """Owner and name on Kaggle of a known data set, or of an address of a data set.

    Raises:
        ConfigError: `name` is neither.
    """
    if name in KNOWN:
        return KNOWN[name].dataset
    match = ADDRESS.fullmatch(name.strip())
    if match is None or match[1].split("/")[0] in ("c", "competitions", "datasets"):
        raise ConfigError(
            f"The data set must be {', '.join(KNOWN)} or an address such as {SITE}/datasets/OWNER/NAME",
            found=name,
        )
    return match[1]


def download(name: str, to: Path) -> None:
    """Download a data set and unpack it.

    Args:
        name: a name in `KNOWN`, or the address of a data set on Kaggle.
        to: new or empty folder; the images appear in it only once the download is complete.

    Raises:
        ConfigError: `name` is no data set, or the folder is not empty.
        DownloadError: missing or wrong credentials, rules not accepted, no network, no disk space, or an
            incomplete download.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP.
    """
    dataset = dataset_of(name)
    require_new(to, "download")
    login = credentials()
    with (
        writing(to.parent, DownloadError),
        interruptible("Interrupted; nothing of the download is kept"),
        making(to) as made,
        tempfile.TemporaryDirectory() as private,
    ):
        aside = made.parent.resolve()
        # opendatasets names the folder after the data set.
        downloaded = aside / dataset.split("/")[1]
        _write_credentials(Path(private), login)
        failure = _fetch_in_process(dataset, aside, private, login.get("token"))
        if failure is None and not (downloaded.is_dir() and any(downloaded.iterdir())):
            failure = "empty"
        if failure is not None:
            raise _explained(failure, dataset, to)
        downloaded.rename(made)


def _write_credentials(folder: Path, login: dict[str, str]) -> None:
    """Write a `kaggle.json`, without which opendatasets prompts; with placeholders if a token is used."""
    pair = {name: login.get(name, "unused") for name in ("username", "key")}
    file = folder / "kaggle.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(pair), encoding="utf-8")


def _fetch_in_process(dataset: str, folder: Path, private: str, token: str | None) -> str | None:
    """Run `_fetch` in a new process; returns the reason of a failure as a word, or None."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_fetch, args=(dataset, folder, private, token, sender), daemon=True)
    process.start()
    sender.close()
    try:
        failure: str | None = receiver.recv()
        return failure
    except EOFError:
        return "died"
    finally:
        process.terminate()
        process.join()


def _fetch(dataset: str, folder: Path, private: str, token: str | None, sender: Connection) -> None:
    """Run opendatasets and kaggle, alone in this process; send the reason of a failure, or None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir(private)
    # In verbose mode kaggle prints the headers of its requests, which contain the credentials.
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "VERBOSE", "VERBOSE_OUTPUT"):
        os.environ.pop(name, None)
    os.environ |= {"HOME": private, "KAGGLE_CONFIG_DIR": private}
    if token:
        os.environ["KAGGLE_API_TOKEN"] = token
    # Show kaggle's progress bar in a terminal; discard all other output.
    bar = sys.stderr if sys.stderr.isatty() else None
    failure = None
    with (
        Path(os.devnull).open("w", encoding="utf-8") as null,
        contextlib.redirect_stdout(null),
        contextlib.redirect_stderr(bar or null),
    ):
        try:
            import opendatasets

            opendatasets.download(f"{SITE}/datasets/{dataset}", data_dir=str(folder))
        except (Exception, SystemExit) as error:
            failure = _reason(error, begun=any(folder.rglob("*.zip")))
    sender.send(failure)


def _reason(error: BaseException, *, begun: bool) -> str:
    """Classify an error of opendatasets, kaggle or requests; returns a word that `_explained` knows."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    if any(isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT) for link in chain):
        return "full"
    # Errors of requests have a response, which is None if the server did not answer.
    responses = [link.response for link in chain if hasattr(link, "response")]
    if answers := [response for response in responses if response is not None]:
        return str(answers[0].status_code)
    if begun:
        return "broken"
    if responses:
        return "network"
    return "401" if isinstance(error, SystemExit) else type(error).__name__


def _explained(failure: str, dataset: str, to: Path) -> DownloadError:
    page = f"{SITE}/datasets/{dataset}"
    explanations = {
        "401": ("Kaggle rejected the credentials", None, WAYS),
        "403": (
            "Kaggle denied this account access to the data set",
            None,
            f"Sign in, open {page}, accept its rules or its licence there, and try again. {WAYS}",
        ),
        "404": ("Kaggle does not have the data set", dataset, f"Check that {page} exists."),
        "429": ("Kaggle received too many requests", None, "Try again in a few minutes."),
        "network": ("Cannot connect to Kaggle", None, "Check the network, proxy and firewall."),
        "broken": ("The download was interrupted or damaged; nothing of it is kept", None, "Try again."),
        "full": (
            "The disk has no space left for the archive and the images together",
            to.parent,
            "Free some disk space, or name another --to.",
        ),
    }
    other = ("The download failed", failure, f"Try again, or download it from {page}.")
    rule, found, remedy = explanations.get(failure, other)
    return DownloadError(rule, found=found, remedy=remedy)


def differences(name: str, counts: dict[str, dict[str, int]]) -> list[str]:
    """Describe where the number of images of a known data set differs from the published one.

    Args:
        name: as for `download`.
        counts: number of images by part and class.
    """
    dataset = dataset_of(name)
    published = next((known.counts for known in KNOWN.values() if known.dataset == dataset), counts)
    keys = sorted({(part, label) for both in (published, counts) for part in both for label in both[part]})
    compared = [
        (part, label, *(both.get(part, {}).get(label, 0) for both in (counts, published)))
        for part, label in keys
    ]
    return [
        f"{part} {label}: {n:,} images instead of {expected:,}"
        for part, label, n, expected in compared
        if n != expected
    ]
