"""A bundle scored again: on the images of its run it keeps its word, on others it is not held to it."""

import json
from pathlib import Path

import numpy as np
import pytest
from bundles import SIZE, change, write_bundle

from tune_brain.bundle.read import open_bundle, seal
from tune_brain.bundle.schema import ABOUT
from tune_brain.data.prepare import prepare
from tune_brain.errors import BundleError
from tune_brain.evaluate.ensemble import exported
from tune_brain.evaluate.sealed import scored_before
from tune_brain.records import write_json
from tune_brain.stages.verify import verify


@pytest.fixture
def bundle(phantoms: Path, tmp_path: Path) -> Path:
    folder = write_bundle(tmp_path / "bundle", phantoms, ("linear",))
    prepared = prepare(phantoms, image_size=SIZE, seed=0)
    test = scored_before(prepared)
    said = open_bundle(folder).model.answer(np.asarray(test.pixels)).probabilities
    parts = {"official": np.ones(len(test.labels), bool), "unseen": test.unseen}
    claims = {
        part: {"exported": exported(said[inside], test.labels[inside])} for part, inside in parts.items()
    }
    data = {key: prepared.summary[key] for key in ("digest", "cut_digest", "official", "unseen")}
    change(folder, scores=claims, data={**data, "seed": 0})
    return folder


@pytest.mark.parametrize("lacking", ["scores", "data"])
def test_a_bundle_that_promises_nothing_is_not_scored_again(
    bundle: Path, phantoms: Path, lacking: str
) -> None:
    about = json.loads((bundle / ABOUT).read_text())
    for strange in ({}, {**about[lacking], "seed": -1, "official": {"exported": {"accuracy": "all"}}}):
        write_json(bundle / ABOUT, {**about, lacking: strange})
        seal(bundle)
        assert len(list(verify(bundle, None))) == 1
        with pytest.raises(BundleError, match="what it says of its run"):
            list(verify(bundle, phantoms))
    # JSON knows no infinity, but this.
    (bundle / ABOUT).write_text(json.dumps({**about, "data": {"seed": 12345}}).replace("12345", "1e999"))
    seal(bundle)
    with pytest.raises(BundleError, match="what it says of its run"):
        list(verify(bundle, phantoms))


def boast(folder: Path) -> None:
    claims = open_bundle(folder).about.scores["official"]["exported"]
    change(folder, scores={"official": {"exported": {**claims, "accuracy": claims["accuracy"] + 0.1}}})


def test_a_bundle_is_held_to_its_word_on_the_images_of_its_run(bundle: Path, phantoms: Path) -> None:
    assert "the images are those of its run" in list(verify(bundle, phantoms))
    boast(bundle)
    with pytest.raises(BundleError, match="official accuracy"):
        list(verify(bundle, phantoms))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"digest": "0"}, "these are other images than those of its run"),
        ({"cut_digest": "0"}, "tests by others of them"),
        ({"unseen": {}}, "tests by others of them"),
    ],
)
def test_a_bundle_is_not_held_to_its_word_on_other_images(
    bundle: Path, phantoms: Path, other: dict[str, object], said: str
) -> None:
    boast(bundle)
    about = open_bundle(bundle).about
    change(bundle, data={**about.data, **other})
    assert any(said in line for line in list(verify(bundle, phantoms)))
