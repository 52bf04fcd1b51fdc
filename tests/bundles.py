"""A small, complete bundle of untrained networks; its predictions are meaningless."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as save_arrays
from safetensors.torch import save

from tune_brain.bundle.manifest import write_manifest
from tune_brain.bundle.schema import ABOUT, CARD, SIMILAR, About, weights_file
from tune_brain.config import Hyperparameters, TrialConfig
from tune_brain.data.cache import decode
from tune_brain.explain import embeddings
from tune_brain.files import write_json
from tune_brain.models import build, state_of
from tune_brain.portable.ood import distance, features, fit

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
SIZE = 48
ROOT = Path(__file__).parents[1] / "tune_brain"


def write_bundle(folder: Path, images: Path, archs: tuple[str, ...], size: int = SIZE) -> Path:
    """Write a bundle whose out-of-distribution reference is fitted to a folder of images."""
    files = sorted((images / "Training").rglob("*.*"))
    pixels = decode(files, size)[0].pixels
    reference = fit(features(pixels))
    (folder / "weights").mkdir(parents=True)
    members = []
    for seed, arch in enumerate(archs):
        config = TrialConfig(
            arch=arch,
            epochs=1,
            image_size=size,
            classes=len(CLASSES),
            seed=seed,
            hyperparameters=Hyperparameters(max_lr=1, weight_decay=0, grad_clip=1),
        )
        name, model = f"winner-{arch}-{seed}", build(config)
        (folder / weights_file(name)).write_bytes(save(state_of(model)))
        member = {"name": name, "arch": arch, "temperature": 0.5}
        members.append({**member, "weight": 1 / len(archs)})
    training = embeddings(model, pixels)
    labels = np.array([CLASSES.index(file.parent.name) for file in files])
    (folder / SIMILAR).write_bytes(save_arrays({"embeddings": training, "labels": labels}))
    about: dict[str, Any] = {
        "format": 3,
        "name": "ensemble" if len(archs) > 1 else archs[0],
        "classes": CLASSES,
        "image_size": size,
        "preprocessing": "grey",
        "members": members,
        "temperature": 1.0,
        "embedding": name,
        "ood": {
            "mean": reference.mean.tolist(),
            "precision": reference.precision.tolist(),
            "max_distance": float(distance(reference, features(pixels)).max()),
            "false_rejections": 0.0,
        },
        "abstention": {"min_confidence": 0.0, "error_rate": 0.02, "answered": 1.0, "errors": None, "n": 0},
        "calibration": {},
        "scores": {},
        "data": {},
        "versions": {},
        "weights_started_from": "random weights",
        "note": "",
    }
    write_json(folder / ABOUT, About.model_validate(about).model_dump(mode="json"))
    (folder / CARD).write_text("# Card\n\n**Not a medical device.** <script>alert(1)</script>\n")
    shutil.copytree(ROOT / "portable", folder / "portable", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "export" / "predict.py.txt", folder / "predict.py")
    write_manifest(folder)
    return folder


def change(folder: Path, **fields: Any) -> None:
    """Change fields of bundle.json and write a new manifest."""
    path = folder / ABOUT
    about = json.loads(path.read_text())
    for name, value in fields.items():
        about[name] = {**about[name], **value} if isinstance(value, dict) else value
    write_json(path, about)
    write_manifest(folder)
