"""Predicts uploaded files, one at a time, counts them, and stores them where that was asked for."""

import asyncio
import hashlib
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tune_brain.bundle.read import Bundle
from tune_brain.errors import ConfigError, ImageError
from tune_brain.files import replacing, writing
from tune_brain.serve import wire
from tune_brain.serve.answers import Predictor
from tune_brain.serve.images import frames

SLICES = 24
"""Slices predicted of a longer series, evenly spaced."""


class Uploads:
    """Predicts files with a bundle, in the order in which they arrive."""

    def __init__(self, bundle: Bundle, keep: Path | None) -> None:
        """Make the predictor, its thread and the metrics, and the folder for kept files.

        Args:
            bundle: the bundle to predict with.
            keep: folder for uploaded files and their predictions, named by hash; None stores nothing.

        Raises:
            ConfigError: the folder cannot be written.
        """
        self._bundle, self._keep, self._predictor = bundle, keep, Predictor(bundle)
        self.tested = wire.tested(bundle.about.scores)
        # A single thread, because explanations register hooks on the networks.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="predictor")
        self.registry = registry = CollectorRegistry()
        self._answers = Counter(
            "tune_brain_answers", "Pictures predicted, by kind", ["kind"], registry=registry
        )
        self._refused = Counter("tune_brain_refused", "Files that could not be read", registry=registry)
        self._unkept = Counter("tune_brain_unkept", "Images that --keep could not store", registry=registry)
        self._seconds = Histogram(
            "tune_brain_seconds", "Seconds from an uploaded file to its prediction", registry=registry
        )
        self.inside = Gauge("tune_brain_inside", "Requests being received or answered", registry=registry)
        """Set by `Guard`; here because it belongs to the same registry."""
        if keep is not None:
            _make_private(keep)

    async def predict(self, content: bytes) -> wire.Prediction:
        """Predict a file; of a longer series, `SLICES` slices.

        Raises:
            ImageError: the file is in another format, damaged, or too large.
            ConfigError: the library that reads this format is not installed.
        """
        started = time.perf_counter()
        try:
            prediction = await asyncio.get_running_loop().run_in_executor(
                self._worker, self._predict, content
            )
        except (ImageError, ConfigError):
            self._refused.inc()
            raise
        self._seconds.observe(time.perf_counter() - started)
        return prediction

    def close(self) -> None:
        """Drop the files that are waiting."""
        self._worker.shutdown(cancel_futures=True)

    def _predict(self, content: bytes) -> wire.Prediction:
        about, predicted = self._bundle.about, []
        for picture in frames(content, about.image_size, SLICES):
            answer, heat = self._predictor.answer(picture.pixels)
            self._answers.labels("foreign" if answer.foreign else "unsure" if answer.unsure else "sure").inc()
            predicted.append(wire.frame(picture.number, picture.of, picture.shown, answer, heat))
        prediction = wire.Prediction(
            bundle=about.name,
            fingerprint=self._bundle.fingerprint,
            image_size=about.image_size,
            tested=self.tested,
            frames=predicted,
        )
        if self._keep is not None:
            try:
                _store(self._keep, content, prediction)
            except OSError as error:
                # Failing to store a file is no reason to withhold its prediction.
                self._unkept.inc()
                print(f"tune-brain: an image was not kept: {error}", file=sys.stderr)
        return prediction


def _make_private(folder: Path) -> None:
    """Check that a folder is writable; a new one is created for this user alone."""
    with writing(folder, ConfigError, "Name another folder with --keep."):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def _store(folder: Path, content: bytes, prediction: wire.Prediction) -> None:
    """Store a file and its prediction. Their names are hashes, so nothing in a request can choose a path.

    The prediction's name also holds the bundle's fingerprint: one bundle does not overwrite another's.
    """
    digest = hashlib.sha256(content).hexdigest()
    values = prediction.model_dump(exclude={"frames": {"__all__": {"image", "heat"}}})
    files = {
        f"{digest}.image": content,
        f"{digest}-{prediction.fingerprint[:12]}.json": f"{json.dumps(values, indent=1)}\n".encode(),
    }
    for name, kept in files.items():
        with replacing(folder / name) as aside:
            aside.touch(mode=0o600)
            aside.write_bytes(kept)
