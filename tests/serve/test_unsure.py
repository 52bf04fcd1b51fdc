"""When a bundle is unsure, it says why: in its answers, in the table, and when it is served."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from bundles import change, write_bundle

from tune_brain.bundle.read import open_bundle
from tune_brain.serve.answers import Answer, Predictor, likelihood
from tune_brain.serve.images import frames
from tune_brain.serve.server import serve
from tune_brain.serve.table import predict

NEVER = (
    "This bundle is never sure: its 30 validation images cannot support answers of which at most 2 % are "
    "wrong."
)


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (0.3, "the most likely class, but less likely than not"),
        (0.49, "the most likely class, but less likely than not"),
        (0.51, "more likely than not"),
        (0.79, "more likely than not"),
        (0.8, "likely"),
        (0.95, "very likely"),
    ],
)
def test_a_probability_is_described_in_words_that_hold_for_it(probability: float, words: str) -> None:
    assert likelihood(probability) == words


@pytest.fixture
def changed(phantoms: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a bundle, and changes fields of it."""

    def write(**fields: Any) -> Path:
        folder = write_bundle(tmp_path / "bundle", phantoms, ("linear",))
        change(folder, **fields)
        return folder

    return write


@pytest.mark.parametrize(
    ("fields", "unsure", "foreign", "advice", "reason"),
    [
        ({}, False, False, "", ""),
        (
            {"abstention": {"min_confidence": 1.0}},
            True,
            False,
            "Unsure: please refer.",
            "confidence is too low",
        ),
        ({"abstention": {"min_confidence": 2.0, "n": 30}}, True, False, "Unsure: please refer.", NEVER),
        ({"ood": {"max_distance": 0.0}}, True, True, "Unlike the images", "they mean nothing"),
    ],
)
def test_an_answer_says_whether_and_why_it_is_unsure(
    changed: Callable[..., Path],
    mri: Path,
    fields: dict[str, Any],
    unsure: bool,
    foreign: bool,
    advice: str,
    reason: str,
) -> None:
    bundle = open_bundle(changed(**fields))
    (picture,) = frames(mri.read_bytes(), bundle.about.image_size)
    answer: Answer = Predictor(bundle).answer(picture.pixels)[0]
    assert (answer.unsure, answer.foreign) == (unsure, foreign)
    assert advice in answer.advice
    assert reason in answer.reason
    assert bool(answer.advice) == bool(answer.reason) == unsure


@pytest.mark.parametrize(("confidence", "says"), [(1.0, False), (2.0, True)])
def test_predict_and_serve_say_that_a_bundle_is_never_sure(
    changed: Callable[..., Path],
    mri: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    confidence: float,
    says: bool,
) -> None:
    folder = changed(abstention={"min_confidence": confidence, "n": 30})
    assert predict(folder, [mri], None) == 0
    printed = capsys.readouterr()
    assert (NEVER in printed.err.splitlines()) == says
    assert ",unsure," in printed.out
    monkeypatch.setattr(uvicorn.Server, "run", lambda _server, sockets: sockets[0].close())
    serve(folder, host="127.0.0.1", port=0, names=(), keep=None)
    assert (NEVER in capsys.readouterr().err.splitlines()) == says
