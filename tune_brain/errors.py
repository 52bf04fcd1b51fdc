"""Every error a user can cause or meet, each with its exit code.

TuneBrainError               1
├── ConfigError              2   an option, a space file or a run file breaks a rule
├── DataError                3   the image folder cannot be searched
├── WeightsError             4   pretrained weights are missing or do not fit
├── RunFolderError           5   a run folder is missing, incomplete or not what the command needs
├── SealedTestError          6   the sealed test would be opened twice
├── ClusterError             7   Ray cannot be reached or has not what a trial asks for
├── SearchError              8   the search ended without what was asked of it
├── BundleError              9   a bundle is damaged, foreign, or not what it claims to be
├── DownloadError           10   a data set cannot be fetched
├── ImageError              11   an image cannot be read
├── FileError               12   a file of another kind cannot be read, or not written
└── Interrupted            130   Ctrl-C, SIGTERM or a closed terminal; what is finished stays readable

`Diverged` is not among them: it is how one trial ends, and no user ever sees it raised.
"""

from tune_brain.text import legible


class TuneBrainError(Exception):
    """A rule, the value that breaks it, and the remedy: printed as one message, never as a traceback."""

    exit_code = 1

    def __init__(self, rule: str, *, found: object = None, remedy: str = "") -> None:
        self.rule, self.found, self.remedy = rule, found, remedy
        parts = [rule.rstrip(".")]
        if found is not None:
            parts.append(f"; found: {legible(str(found))}")
        parts.append(".")
        if remedy:
            parts.append(f"\n{remedy}")
        super().__init__("".join(parts))


class ConfigError(TuneBrainError):
    """An option, a space file or a run file breaks a rule."""

    exit_code = 2


class DataError(TuneBrainError):
    """The image folder cannot be searched."""

    exit_code = 3


class WeightsError(TuneBrainError):
    """Pretrained weights are missing or do not fit."""

    exit_code = 4


class RunFolderError(TuneBrainError):
    """A run folder is missing, incomplete or not what the command needs."""

    exit_code = 5


class SealedTestError(TuneBrainError):
    """The sealed test would be opened twice."""

    exit_code = 6


class ClusterError(TuneBrainError):
    """Ray cannot be reached or has not what a trial asks for."""

    exit_code = 7


class SearchError(TuneBrainError):
    """The search ended without what was asked of it."""

    exit_code = 8


class BundleError(TuneBrainError):
    """A bundle is damaged, foreign, or not what it claims to be."""

    exit_code = 9


class DownloadError(TuneBrainError):
    """A data set cannot be fetched."""

    exit_code = 10


class ImageError(TuneBrainError):
    """An image cannot be read."""

    exit_code = 11


class FileError(TuneBrainError):
    """A file that a command needs cannot be read, or one that it writes cannot be written."""

    exit_code = 12


class Interrupted(TuneBrainError):
    """Ctrl-C, SIGTERM or a closed terminal; what is finished stays readable."""

    exit_code = 130


class Diverged(Exception):
    """A trial met a non-finite loss: it ends as failed and is not tried again."""
