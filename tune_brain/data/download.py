"""Fetch a data set from Kaggle through opendatasets: whole or not at all, and without a prompt.

opendatasets looks for credentials in the working directory alone and asks for them otherwise, hands them on
in the environment, prints, and takes any folder with something in it for a finished download. So it works in
a process of its own, in an empty folder with a `kaggle.json`, and what it made is renamed into place when it
is whole. Nothing that it or Kaggle says is passed on: addresses and headers may hold secrets.
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
from tune_brain.data.destination import making, require_new
from tune_brain.errors import ConfigError, DownloadError
from tune_brain.interrupts import interruptible

SITE = "https://www.kaggle.com"


@dataclass(frozen=True, kw_only=True)
class Known:
    """A data set whose images were counted."""

    dataset: str
    """Owner and name on Kaggle."""
    counts: dict[str, dict[str, int]]
    """Images by part and class, as published."""


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


def dataset_of(asked: str) -> str:
    """Owner and name on Kaggle of a known data set or of a data set's address.

    Raises:
        ConfigError: it is neither.
    """
    if asked in KNOWN:
        return KNOWN[asked].dataset
    match = ADDRESS.fullmatch(asked.strip())
    if match is None or match[1].split("/")[0] in ("c", "competitions", "datasets"):
        raise ConfigError(
            f"A data set is {', '.join(KNOWN)} or an address such as {SITE}/datasets/OWNER/NAME", found=asked
        )
    return match[1]


def download(asked: str, to: Path) -> None:
    """Download a data set and unpack it.

    Args:
        asked: a name in `KNOWN`, or a data set's address on Kaggle.
        to: new or empty folder; what it gets is there when the data set is whole, and not before.

    Raises:
        ConfigError: `asked` is no data set, or the folder holds something already.
        DownloadError: no credentials, wrong ones, rules not accepted, no network, no room, broken off.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP.
    """
    dataset = dataset_of(asked)
    require_new(to, "A download")
    known = credentials()
    try:
        with (
            interruptible("Interrupted; nothing of the download is kept"),
            making(to) as made,
            tempfile.TemporaryDirectory() as private,
        ):
            aside = made.parent.resolve()
            # opendatasets names the folder by the data set.
            named = aside / dataset.split("/")[1]
            _write_credentials(Path(private), known)
            failure = _in_a_process(dataset, aside, private, known.get("token"))
            if failure is None and not (named.is_dir() and any(named.iterdir())):
                failure = "empty"
            if failure is not None:
                raise _explained(failure, dataset, to)
            named.rename(made)
    except OSError as error:
        raise DownloadError(
            "The folder of a download must be writable", found=f"{to.parent}: {error.strerror}"
        ) from None


def _write_credentials(folder: Path, known: dict[str, str]) -> None:
    """`kaggle.json`, without which opendatasets asks; where a token is used, with nothing in it."""
    pair = {name: known.get(name, "unused") for name in ("username", "key")}
    file = folder / "kaggle.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(pair), encoding="utf-8")


def _in_a_process(dataset: str, folder: Path, private: str, token: str | None) -> str | None:
    """Why it failed, as a word; None where it did not."""
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
    """Let opendatasets and kaggle work, alone in their process; send why they failed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir(private)
    # Verbose, kaggle prints the headers of its requests, with the credentials.
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "VERBOSE", "VERBOSE_OUTPUT"):
        os.environ.pop(name, None)
    os.environ |= {"HOME": private, "KAGGLE_CONFIG_DIR": private}
    if token:
        os.environ["KAGGLE_API_TOKEN"] = token
    # kaggle's bar is for a terminal; its lines are for nobody.
    bar = sys.stderr if sys.stderr.isatty() else None
    failure = None
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(bar or nowhere),
    ):
        try:
            import opendatasets

            opendatasets.download(f"{SITE}/datasets/{dataset}", data_dir=str(folder))
        except (Exception, SystemExit) as error:
            failure = _reason(error, begun=any(folder.rglob("*.zip")))
    sender.send(failure)


def _reason(error: BaseException, *, begun: bool) -> str:
    """An error of opendatasets, kaggle or requests as a word of `_explained`."""
    chain = [error]
    while (one := chain[-1].__cause__ or chain[-1].__context__) is not None and one not in chain:
        chain.append(one)
    if any(isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT) for one in chain):
        return "full"
    # The errors of requests have a response, or None where there was no answer.
    asked = [one.response for one in chain if hasattr(one, "response")]
    if answered := [response for response in asked if response is not None]:
        return str(answered[0].status_code)
    if begun:
        return "broken"
    if asked:
        return "network"
    return "401" if isinstance(error, SystemExit) else type(error).__name__


def _explained(failure: str, dataset: str, to: Path) -> DownloadError:
    page = f"{SITE}/datasets/{dataset}"
    told = {
        "401": ("Kaggle must know the credentials", "it does not", WAYS),
        "403": (
            "Kaggle must let this account have the data set",
            "it refuses",
            f"Sign in, open {page}, accept its rules or its licence there, and start again. {WAYS}",
        ),
        "404": ("The data set must be on Kaggle", f"no {dataset}", f"Look whether there is {page}."),
        "429": ("Kaggle allows so many requests in a while", "too many", "Start again in some minutes."),
        "network": ("Kaggle must be within reach", "no connection", "Check network, proxy and firewall."),
        "broken": (
            "A download must end whole",
            "broken off or damaged; nothing of it is kept",
            "Start again.",
        ),
        "full": (
            "A data set needs room, archive and images at once",
            f"no space left at {to.parent}",
            "Make room, or name another --to.",
        ),
    }
    rule, found, remedy = told.get(
        failure, ("A download must end well", f"failure {failure}", f"Start again, or fetch it from {page}.")
    )
    return DownloadError(rule, found=found, remedy=remedy)


def differences(asked: str, counts: dict[str, dict[str, int]]) -> list[str]:
    """Where the images of a known data set are not as many as published, in words.

    Args:
        asked: as for `download`.
        counts: images by part and class.
    """
    dataset = dataset_of(asked)
    published = next((known.counts for known in KNOWN.values() if known.dataset == dataset), counts)
    named = sorted({(part, name) for both in (published, counts) for part in both for name in both[part]})
    found = [
        (part, name, *(both.get(part, {}).get(name, 0) for both in (counts, published)))
        for part, name in named
    ]
    return [
        f"{part} {name}: {n:,} images instead of {wanted:,}" for part, name, n, wanted in found if n != wanted
    ]
