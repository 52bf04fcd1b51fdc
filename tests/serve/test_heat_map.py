"""A heat map is shown only where some region speaks for the class."""

from pathlib import Path

import torch
from bundles import write_bundle

from tune_brain.bundle.read import open_bundle
from tune_brain.serve.answers import Predictor
from tune_brain.serve.images import frames


def test_without_a_region_that_speaks_for_the_class_there_is_no_heat_map(
    phantoms: Path, mri: Path, tmp_path: Path
) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "bundle", phantoms, ("cnn",)))
    (picture,) = frames(mri.read_bytes(), bundle.about.image_size)
    heat = Predictor(bundle).answer(picture.pixels)[1]
    assert heat is not None
    assert (heat.shape, heat.max()) == ((448, 448), 1)
    *_, last = (it for it in bundle.model.members[0].network.modules() if isinstance(it, torch.nn.Linear))
    last.weight.zero_()
    assert Predictor(bundle).answer(picture.pixels)[1] is None
