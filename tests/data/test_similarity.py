"""Generated twins: all of them are found, and nothing else."""

import io
import os
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tune_brain.data import cells, image_facts, similarity
from tune_brain.data import cropped as module
from tune_brain.data.cells import Pairs
from tune_brain.data.cropped import cropped as cropped_twins
from tune_brain.data.demo import CLASSES, draw
from tune_brain.data.image_facts import FINE
from tune_brain.data.similarity import Similarity, nearest, unit_vectors
from tune_brain.portable.pictures import Grey

Change = Callable[[Image.Image, np.random.Generator], Image.Image]
Ends = set[tuple[int, int]]


def saved(quality: int) -> Change:
    def change(image: Image.Image, _: np.random.Generator) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file).convert("L")

    return change


def resized(image: Image.Image, random: np.random.Generator) -> Image.Image:
    scale = random.uniform(0.5, 2)
    return image.resize((round(image.width * scale), round(image.height * scale)))


def brighter(image: Image.Image, random: np.random.Generator) -> Image.Image:
    share = random.choice([0.9, 1.1])
    return image.point(lambda grey: min(255, round(grey * share)))


def flatter(image: Image.Image, random: np.random.Generator) -> Image.Image:
    share = random.choice([0.9, 1.1])
    return image.point(lambda grey: min(255, max(0, round((grey - 60) * share + 60))))


def cropped(image: Image.Image, random: np.random.Generator) -> Image.Image:
    width, height = (round(0.97 * side) for side in image.size)
    left, top = (random.integers(0, spare + 1) for spare in (image.width - width, image.height - height))
    return image.crop((left, top, left + width, top + height))


def cropped_all_round(image: Image.Image, _: np.random.Generator) -> Image.Image:
    x, y = (round(0.03 * side) for side in image.size)
    return image.crop((x, y, image.width - x, image.height - y))


CHANGES: dict[str, Change] = {
    "quality 95": saved(95),
    "quality 75": saved(75),
    "quality 40": saved(40),
    "resized": resized,
    "brighter": brighter,
    "flatter": flatter,
    "cropped": cropped,
    "cropped all round": cropped_all_round,
    "mirrored": lambda image, _: ImageOps.mirror(image),
}


def shrunk(images: list[Image.Image]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    small, fine = zip(*(image_facts.shrunk(Grey(image, image.size, 1)) for image in images), strict=True)
    return np.stack(small), np.stack(fine)


def generated(originals: int, changed: int) -> tuple[list[Image.Image], dict[str, Ends]]:
    """Phantoms followed by twins of the first ones made with every change, and the pairs of each change."""
    images = [draw(CLASSES[i % 4], np.random.default_rng([7, i])) for i in range(originals)]
    twins: dict[str, Ends] = {}
    for name, change in CHANGES.items():
        twins[name] = {(i, len(images) + i) for i in range(changed)}
        images += [change(images[i], np.random.default_rng([8, i])) for i in range(changed)]
    return images, twins


def ends(pairs: Pairs) -> Ends:
    return {(min(pair), max(pair)) for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)}


@pytest.mark.slow
def test_precision_and_recall_on_generated_twins() -> None:
    n, changed = 400, 100
    images, twins = generated(n, changed)
    thumbnails, fine = shrunk(images)
    index = Similarity(thumbnails)
    found = ends(index.same()) | ends(index.mirrored()) | ends(cropped_twins(fine))
    original = np.concatenate([np.arange(n), *[np.arange(changed)] * len(CHANGES)])
    correct = {pair for pair in found if original[pair[0]] == original[pair[1]]}
    assert len(correct) >= 0.99 * len(found)
    recall = {name: len(found & pairs) / changed for name, pairs in twins.items()}
    assert {name: share for name, share in recall.items() if share < 0.99} == {}
    print(f"precision {len(correct) / len(found):.4f} of {len(found)} pairs, recall {recall}")


def test_each_change_is_found_by_its_rule_only() -> None:
    images, twins = generated(24, 8)
    thumbnails, fine = shrunk(images)
    index = Similarity(thumbnails)
    same, mirrored, cropped = (ends(pairs) for pairs in (index.same(), index.mirrored(), cropped_twins(fine)))
    for name in ("quality 95", "quality 75", "quality 40", "resized", "brighter", "flatter"):
        assert twins[name] <= same, name
        assert not twins[name] & mirrored
    assert twins["mirrored"] <= mirrored
    assert not twins["mirrored"] & same
    assert twins["cropped"] | twins["cropped all round"] <= cropped
    assert not twins["cropped all round"] & same


def test_every_pair_above_the_threshold_is_found_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    base = random.integers(0, 256, (6, 32, 32))
    thumbnails = np.clip(base[random.integers(0, 6, 60)] + random.normal(0, 15, (60, 32, 32)), 0, 255)
    vectors = unit_vectors(thumbnails.astype(np.uint8))
    full = vectors @ vectors.T
    expected = {(i, j) for i, j in zip(*np.nonzero(full >= 0.9), strict=True) if i < j}
    assert 100 < len(expected) < 1000
    monkeypatch.setattr(similarity, "TWINS", 0.9)
    for at_once, pairs, batch in ((8192, 4096, 2**18), (7, 5, 9), (1, 1, 1)):
        monkeypatch.setattr(similarity, "AT_ONCE", at_once)
        monkeypatch.setattr(similarity, "PAIRS", pairs)
        monkeypatch.setattr(cells, "BATCH", batch)
        found = Similarity(thumbnails.astype(np.uint8)).same()
        assert ends(found) == expected
        assert len(found.first) == len(expected)
        np.testing.assert_allclose(found.similarity, full[found.first, found.second], rtol=1e-5)


@pytest.mark.parametrize("rows", [2048, 5])
def test_the_nearest_neighbour_is_never_the_excluded_image(
    monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    random = np.random.default_rng(1)
    near = random.integers(0, 256, (20, 32, 32))
    thumbnails = np.concatenate([near, near + random.normal(0, 40, near.shape), near[::2] // 2])
    thumbnails = np.clip(thumbnails, 0, 255).astype(np.uint8)
    own = np.arange(0, 50, 3)
    full = unit_vectors(thumbnails[own]) @ unit_vectors(thumbnails).T
    full[np.arange(len(own)), own] = -2
    monkeypatch.setattr(similarity, "ROWS", rows)
    place, closeness = nearest(thumbnails, thumbnails[own], own)
    assert (place == full.argmax(1)).all()
    np.testing.assert_allclose(closeness, full.max(1), rtol=1e-5)
    alone, none = nearest(thumbnails[:1], thumbnails[:1], np.zeros(1, np.int64))
    assert (alone.tolist(), none.tolist()) == ([0], [-2])
    assert nearest(thumbnails, thumbnails[own])[0].tolist() == own.tolist()


def test_the_nearest_of_equal_images_is_the_first_on_any_number_of_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dark = np.random.default_rng(2).integers(0, 128, (150, 32, 32)).astype(np.uint8)
    correlations = []
    for cores, rows in ((1, 2048), (3, 7), (7, 100)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr(similarity, "ROWS", rows)
        place, correlation = nearest(np.concatenate([dark, dark * 2, dark]), dark)
        assert place.tolist() == list(range(150))
        correlations.append(correlation.tobytes())
    assert len(set(correlations)) == 1


def test_a_crop_is_found_among_similar_images_with_few_fits_per_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, twins = generated(8, 4)
    _, fine = shrunk([*images[:8], *images[-8:-4]])
    random = np.random.default_rng(3)
    crowd = np.repeat(fine[:8], 20, axis=0) + random.normal(0, 14, (160, FINE, FINE))
    every = np.concatenate([fine, np.clip(crowd, 0, 255).astype(np.uint8)])
    fitted: list[int] = []
    similarity = module._similarity

    def counted(cuts: NDArray[np.float32], others: NDArray[np.uint8]) -> NDArray[np.float32]:
        fitted.append(len(cuts))
        return similarity(cuts, others)

    monkeypatch.setattr(module, "_similarity", counted)
    expected = {(i, 8 + i) for i in range(4)}
    assert list(twins)[-2] == "cropped all round"
    assert expected <= ends(cropped_twins(every))
    assert sum(fitted) <= len(module.WINDOWS) * module.FITTED * len(every)


@pytest.mark.parametrize("thumbnails", [np.zeros((0, 32, 32), np.uint8), np.full((3, 32, 32), 9, np.uint8)])
def test_no_images_and_uniform_images_have_no_twins(thumbnails: NDArray[np.uint8]) -> None:
    index = Similarity(thumbnails)
    fine = np.full((len(thumbnails), FINE, FINE), 9, np.uint8)
    for pairs in (index.same(), index.mirrored(), cropped_twins(fine)):
        assert len(pairs.first) == len(pairs.second) == len(pairs.similarity) == 0
