"""Which images of a folder are related: twins, images of one patient, and neighbouring files.

An audit and a search must judge by the same relations, so both take them from here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tune_brain.array_types import Bytes, Flags, Ints
from tune_brain.data.groups import join, share_group
from tune_brain.data.patients import patient_groups, patient_numbers
from tune_brain.data.series import SPLIT_BLOCKS, in_blocks, ordered_series


@dataclass(frozen=True, kw_only=True)
class Related:
    """The relations among N images, each as [N] group numbers."""

    alike: Ints
    """Twins: copies, also in another size, quality or brightness."""
    mirrored: Ints
    """Twins, including those mirrored left to right."""
    patients: Ints
    """Images of one patient; -1 for all images of unknown patients."""
    blocks: Ints
    """Images of one patient; those of unknown patients in blocks of neighbouring files."""
    split_blocks: Ints
    """The same in smaller blocks where a folder has few images, so that it can be split."""

    def across(self, images: Flags, others: Flags) -> tuple[Flags, Flags]:
        """Flag each of `images` with a twin, mirrored or not, among `others`, and each whose patient is.

        Args:
            images: [N] flags.
            others: [N] flags.

        Returns:
            [N] flags of images with a twin there, and [N] flags of those with their patient there.
        """
        listed = self.patients >= 0
        return share_group(self.mirrored, images, others), share_group(self.patients, images & listed, others)

    def observations(self, test: Flags) -> Ints:
        """[N] groups of images that count as one observation, numbered separately in and outside the test.

        Mirrored twins are one observation in the test only: outside it, blocks that were linked by them too
        would merge into one group. Neighbours that a split had to part still are one observation, so whole
        blocks count, not the smaller ones.

        Args:
            test: [N], true in the test part.
        """
        groups = np.zeros(len(test), np.int64)
        for side, twins in ((test, self.mirrored), (~test, self.alike)):
            if side.any():
                groups[side] = join(twins[side], self.blocks[side])
        return groups


def relate(
    names: Sequence[str],
    thumbnails: Bytes,
    patients: Mapping[str, str],
    *,
    alike: Ints,
    mirrored: Ints,
) -> Related:
    """Relate images to each other; what is known of patients overrides what file names suggest.

    Args:
        names: paths of N images.
        thumbnails: [N, h, w].
        patients: names of patients by path, see `tune_brain.data.patients.patient_names`.
        alike: [N], groups of twins, see `tune_brain.data.twins`.
        mirrored: [N], groups of twins and mirrored twins.
    """
    numbers, series = patient_numbers(patients, names), ordered_series(names, thumbnails)
    blocks, split_blocks = (
        patient_groups(numbers, in_blocks(len(names), series, least)) for least in (1, SPLIT_BLOCKS)
    )
    return Related(alike=alike, mirrored=mirrored, patients=numbers, blocks=blocks, split_blocks=split_blocks)
