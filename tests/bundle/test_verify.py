"""Verification of scores: they must equal the claimed ones on the images of the run, but not on others."""

import json
from pathlib import Path

import numpy as np
import pytest
from bundles import SIZE, change, write_bundle

from tune_brain.bundle.manifest import write_manifest
from tune_brain.bundle.read import open_bundle
from tune_brain.bundle.schema import ABOUT
from tune_brain.data.prepare import prepare
from tune_brain.errors import BundleError
from tune_brain.evaluate.ensemble import exported
from tune_brain.evaluate.sealed import scored_before
from tune_brain.files import write_json
from tune_brain.stages.verify import verify


@pytest.fixture
def bundle(phantoms: Path, tmp_path: Path) -> Path:
    folder = write_bundle(tmp_path / "bundle", phantoms, ("linear",))
    prepared = prepare(phantoms, image_size=SIZE, seed=0)
    test = scored_before(prepared)
    probabilities = open_bundle(folder).model.infer(np.asarray(test.pixels)).probabilities
    parts = {"official": np.ones(len(test.labels), bool), "unseen": test.unseen}
    claims = {
        part: {"exported": exported(probabilities[inside], test.labels[inside])}
        for part, inside in parts.items()
    }
    data = {key: prepared.summary[key] for key in ("digest", "cut_digest", "official", "unseen")}
    change(folder, scores=claims, data={**data, "seed": 0})
    return folder


@pytest.mark.parametrize("lacking", ["scores", "data"])
def test_a_bundle_without_claims_about_its_run_is_not_scored(
    bundle: Path, phantoms: Path, lacking: str
) -> None:
    about = json.loads((bundle / ABOUT).read_text())
    for strange in ({}, {**about[lacking], "seed": -1, "official": {"exported": {"accuracy": "all"}}}):
        write_json(bundle / ABOUT, {**about, lacking: strange})
        write_manifest(bundle)
        assert len(list(verify(bundle, None))) == 1
        with pytest.raises(BundleError, match="record of its run is incomplete"):
            list(verify(bundle, phantoms))
    # JSON has no infinity, but a number that is parsed as one.
    (bundle / ABOUT).write_text(json.dumps({**about, "data": {"seed": 12345}}).replace("12345", "1e999"))
    write_manifest(bundle)
    with pytest.raises(BundleError, match="record of its run is incomplete"):
        list(verify(bundle, phantoms))


def exaggerate(folder: Path) -> None:
    claims = open_bundle(folder).about.scores["official"]["exported"]
    change(folder, scores={"official": {"exported": {**claims, "accuracy": claims["accuracy"] + 0.1}}})


def test_a_false_claim_is_an_error_on_the_images_of_the_run(bundle: Path, phantoms: Path) -> None:
    assert "the images are those of its run" in list(verify(bundle, phantoms))
    exaggerate(bundle)
    with pytest.raises(BundleError, match="official accuracy"):
        list(verify(bundle, phantoms))


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ({"digest": "0"}, "the images are not those of its run"),
        ({"cut_digest": "0"}, "splits them differently"),
        ({"unseen": {}}, "splits them differently"),
    ],
)
def test_a_false_claim_is_no_error_on_other_images(
    bundle: Path, phantoms: Path, other: dict[str, object], line: str
) -> None:
    exaggerate(bundle)
    about = open_bundle(bundle).about
    change(bundle, data={**about.data, **other})
    assert any(line in printed for printed in list(verify(bundle, phantoms)))
