"""DICOM frames are shown as the file says: each with its own slope, and its own window or lookup table."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_windowing
from test_images import RAMP, SIZE, dicom, saved, shown

from tune_brain.errors import ImageError
from tune_brain.serve.images import frames

WINDOW = {"WindowCenter": 1901, "WindowWidth": 2001}
SLOPE = {"RescaleSlope": 2, "RescaleIntercept": -100}
OTHER = {"WindowCenter": 20, "WindowWidth": 30}
SMALL = {"RescaleSlope": 0.01, "RescaleIntercept": 5}


def item(**fields: Any) -> Dataset:
    made = Dataset()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def group(slope: dict[str, Any], window: dict[str, Any]) -> Dataset:
    """A functional group; without fields for a macro, it lacks that."""
    macros = {"PixelValueTransformationSequence": slope, "FrameVOILUTSequence": window}
    return item(**{name: [item(**fields)] for name, fields in macros.items() if fields})


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(1000.5, 1001), (2000, 30), (700.25, 1e4), ([9, 1], [20, 1])])
def test_a_window_has_the_shape_that_its_function_says(function: str, centre: float, width: float) -> None:
    content = dicom(RAMP, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function)
    expected = apply_windowing(RAMP, dcmread(BytesIO(content))) / 65535 * 255
    png = saved(Image.fromarray(np.rint(expected).astype(np.uint8)), "PNG")
    assert np.abs(shown(content) - shown(png)).max() <= 1


@pytest.mark.parametrize("function", ["", "OTHER"])
def test_a_window_is_linear_where_its_function_is_empty_or_unknown(function: str) -> None:
    window = {"WindowCenter": 2000, "WindowWidth": 30}
    assert np.array_equal(shown(dicom(RAMP, VOILUTFunction=function, **window)), shown(dicom(RAMP, **window)))
    exact = shown(dicom(RAMP, VOILUTFunction="LINEAR_EXACT", **window))
    assert not np.array_equal(exact, shown(dicom(RAMP, **window)))


def test_each_frame_has_the_slope_and_window_of_its_own_groups() -> None:
    content = dicom(
        np.stack([RAMP, RAMP]),
        PerFrameFunctionalGroupsSequence=[group(SLOPE, WINDOW), group(SMALL, OTHER)],
    )
    for number, fields in enumerate(({**SLOPE, **WINDOW}, {**SMALL, **OTHER})):
        alone = shown(dicom(RAMP, **fields))
        assert np.ptp(alone) > 200
        assert np.array_equal(shown(content, number), alone)


@pytest.mark.parametrize("own", [None, {}, {"WindowCenter": 1500, "WindowWidth": 900}])
@pytest.mark.parametrize("shared", [None, {}, WINDOW])
def test_a_frames_own_groups_go_before_the_shared_ones_and_those_before_the_file(
    own: dict[str, Any] | None, shared: dict[str, Any] | None
) -> None:
    groups = {}
    if own is not None:
        groups["PerFrameFunctionalGroupsSequence"] = [group({}, own)]
    if shared is not None:
        groups["SharedFunctionalGroupsSequence"] = [group(SLOPE, shared)]
    # A function belongs to its window: that of the file says nothing about the window of a group.
    whole = {**OTHER, "VOILUTFunction": "SIGMOID"}
    found = shown(dicom(RAMP, **SMALL, **whole, **groups))
    expected = {**(SMALL if shared is None else SLOPE), **(own or shared or whole)}
    assert np.array_equal(found, shown(dicom(RAMP, **expected)))


def test_frames_without_groups_of_their_own_are_shown_as_the_shared_group_says() -> None:
    content = dicom(
        np.stack([RAMP] * 3),
        SharedFunctionalGroupsSequence=[group(SLOPE, WINDOW)],
        PerFrameFunctionalGroupsSequence=[group({}, OTHER)],
    )
    first, second, third = (frame.pixels[0, 0] for frame in frames(content, SIZE))
    assert np.array_equal(first, shown(dicom(RAMP, **SLOPE, **OTHER)))
    for other in (second, third):
        assert np.array_equal(other, shown(dicom(RAMP, **SLOPE, **WINDOW)))


def test_a_frames_own_lookup_table_is_used() -> None:
    table = item(LUTDescriptor=[4096, 0, 12])
    table.add_new("LUTData", "OW", np.arange(4095, -1, -1, dtype=np.uint16).tobytes())
    content = dicom(RAMP, PerFrameFunctionalGroupsSequence=[group({}, {"VOILUTSequence": [table]})], **OTHER)
    assert np.abs(shown(content) + shown(dicom(RAMP, WindowCenter=2048, WindowWidth=4096)) - 255).max() <= 1


def test_frames_without_a_window_are_stretched_alike_after_their_own_slopes() -> None:
    steep, flat = {"RescaleSlope": 100, "RescaleIntercept": 0}, {"RescaleSlope": 1, "RescaleIntercept": 0}
    content = dicom(
        np.stack([RAMP, RAMP]), PerFrameFunctionalGroupsSequence=[group(steep, {}), group(flat, {})]
    )
    bright, dark = (frame.pixels for frame in frames(content, SIZE))
    assert bright.max() == 255
    assert dark.max() <= 4


@pytest.mark.parametrize(
    ("function", "width"), [("LINEAR", 0.5), ("LINEAR_EXACT", -3), ("SIGMOID", -3), ("SIGMOID", [0, 2])]
)
def test_a_window_narrower_than_its_function_permits_counts_as_none(function: str, width: float) -> None:
    content = dicom(RAMP, WindowCenter=2000, WindowWidth=width, VOILUTFunction=function)
    assert np.array_equal(shown(content), shown(dicom(RAMP)))


def test_more_groups_than_frames_can_need_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_brain.serve.volumes.MOST_GROUPS", 2)
    two, three = (
        dicom(RAMP, PerFrameFunctionalGroupsSequence=[group(SLOPE, WINDOW)] * count) for count in (2, 3)
    )
    assert np.array_equal(shown(two), shown(dicom(RAMP, **SLOPE, **WINDOW)))
    with pytest.raises(ImageError, match="at most 2 frames one by one; found: 3"):
        frames(three, SIZE)
