"""All errors that a user can cause or encounter, each with its exit code.

TuneBrainError               1
├── ConfigError              2   an option, a space file or a run file is invalid
├── DataError                3   the image folder is not a usable data set, or cannot be read or written
├── WeightsError             4   pretrained weights are missing or do not fit
├── RunFolderError           5   a run folder is missing, incomplete or unsuitable for the command
├── SealedTestError          6   the sealed test would be opened twice
├── ClusterError             7   Ray is unreachable or lacks the resources that a trial needs
├── SearchError              8   the search ended without a usable result
├── BundleError              9   a bundle is damaged, foreign or not what it claims to be
├── DownloadError           10   a data set cannot be downloaded
├── ImageError              11   an image cannot be read
├── FileError               12   another file cannot be read or written
└── Interrupted            130   Ctrl-C, SIGTERM or a closed terminal; finished work is kept

`Diverged` is not among them: it marks how a trial ends, and is never shown to users as an error.
"""

from tune_brain.text import legible


class TuneBrainError(Exception):
    """An error with a rule, the offending value and a remedy; printed as one message, without a traceback."""

    exit_code = 1

    def __init__(self, rule: str, *, found: object = None, remedy: str = "") -> None:
        """Compose the message.

        Args:
            rule: what must hold.
            found: the value that violates the rule; None leaves it out.
            remedy: what the user can do.
        """
        self.rule, self.found, self.remedy = rule, found, remedy
        parts = [rule.rstrip(".")]
        if found is not None:
            parts.append(f"; found: {legible(str(found))}")
        if not parts[-1].endswith("."):
            parts.append(".")
        if remedy:
            parts.append(f"\n{remedy}")
        super().__init__("".join(parts))


class ConfigError(TuneBrainError):
    """An option, a space file or a run file is invalid."""

    exit_code = 2


class DataError(TuneBrainError):
    """The image folder is not a usable data set, or cannot be read or written."""

    exit_code = 3


class WeightsError(TuneBrainError):
    """Pretrained weights are missing or do not fit."""

    exit_code = 4


class RunFolderError(TuneBrainError):
    """A run folder is missing, incomplete or unsuitable for the command."""

    exit_code = 5


class SealedTestError(TuneBrainError):
    """The sealed test would be opened twice."""

    exit_code = 6


class ClusterError(TuneBrainError):
    """Ray is unreachable or lacks the resources that a trial needs."""

    exit_code = 7


class SearchError(TuneBrainError):
    """The search ended without a usable result."""

    exit_code = 8


class BundleError(TuneBrainError):
    """A bundle is damaged, foreign or not what it claims to be."""

    exit_code = 9


class DownloadError(TuneBrainError):
    """A data set cannot be downloaded."""

    exit_code = 10


class ImageError(TuneBrainError):
    """An image cannot be read."""

    exit_code = 11


class FileError(TuneBrainError):
    """A file other than an image cannot be read or written."""

    exit_code = 12


class Interrupted(TuneBrainError):
    """Ctrl-C, SIGTERM or a closed terminal; finished work is kept."""

    exit_code = 130


class Diverged(Exception):
    """A trial met a non-finite loss: it ends as failed and is not retried."""
