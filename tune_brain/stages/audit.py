"""The audit stage: find what is wrong with a data set, and write audit.json and audit.html."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tune_brain.data.audit import Audit
from tune_brain.data.audit import audit as audit_folder
from tune_brain.data.catalogue import scan
from tune_brain.data.findings import faults, terminal_lines
from tune_brain.errors import ConfigError
from tune_brain.files import require_writable
from tune_brain.progress import Progress
from tune_brain.text import legible


def audit(folder: Path, to: Path, *, say: Callable[[str], object]) -> list[str]:
    """Audit an image folder; nothing in it is changed.

    Args:
        folder: the image folder, see `tune_brain.data.catalogue.scan`.
        to: folder for audit.json and audit.html, outside the image folder.
        say: called with each line for the terminal.

    Returns:
        The faults: test images that leak into training, and twins with different labels.

    Raises:
        ConfigError: `to` lies inside the image folder, or cannot be written.
        DataError: the folder is not a usable data set, or cannot be read.
    """
    if to.resolve().is_relative_to(folder.resolve()):
        raise ConfigError("audit does not write into the image folder", found=to, remedy="Name another --to.")
    scan(folder)
    require_writable(to, ("audit.json", "audit.html"))
    # Importing and preparing the code that draws the page takes a second; do it while the images are decoded.
    with ThreadPoolExecutor(1) as background, Progress().bar("audit") as advance:
        write = background.submit(_page_writer)
        result = audit_folder(folder, advance)
    for line in terminal_lines(result.facts):
        say(line)
    for path in write.result()(result, to):
        say(legible(str(path)))
    return faults(result.facts)


def _page_writer() -> Callable[[Audit, Path], tuple[Path, Path]]:
    """The function that writes an audit's files, with plotly imported and embedded in the page's template."""
    from tune_brain.report.explore import write_audit
    from tune_brain.report.page import environment

    environment()
    return write_audit
