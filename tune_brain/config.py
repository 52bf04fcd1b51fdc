"""Frozen configuration, checked once at the border: what a trial is, what a run was asked for."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import tomlkit
from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError, field_validator, model_validator

from tune_brain.errors import ConfigError

ARCHITECTURES = ("linear", "cnn", "resnet18", "resnet34")
"""Lightest first: a search keeps the heavier ones ahead. Files and seed runs are named by them."""
PRETRAINED = "resnet34"
"""The architecture that starts from given weights."""

Precision = Literal["fp32", "bf16"]
Sampler = Literal["tpe", "halton-tpe", "halton", "gp", "random"]

MOST_NETWORKS = 100
"""In a bundle."""
BF16_RESNET_SIZE = 17
"""Smallest image side, in pixels, at which a ResNet is trained in bf16.

Below it, the last stage's strided convolution sees a single pixel, and there oneDNN (torch 2.14.1, a CPU with
avx512_bf16) leaves part of the weight gradient uninitialised.
"""


class Frozen(BaseModel):
    """A configuration that cannot change, knows no other field than its own and holds finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Hyperparameters(Frozen):
    """What a space file fixes or tunes for one architecture; every field can be either."""

    max_lr: float = Field(gt=0)
    """Peak learning rate of the one-cycle schedule."""
    weight_decay: float = Field(ge=0)
    """Decoupled weight decay of AdamW (Loshchilov & Hutter, ICLR 2019)."""
    grad_clip: float = Field(gt=0)
    """Largest total L2 norm of a step's gradient; a longer one is scaled down to it."""
    batch_size: int = Field(default=32, ge=1)
    """Images in one optimizer step."""
    warmup_share: float = Field(default=0.3, gt=0, lt=1)
    """Share of the cycle's steps in which the learning rate rises."""
    rotation: float = Field(default=10.0, ge=0, le=180)
    """Largest random rotation of a training image, in degrees to either side."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability that a training image is flipped left to right."""


class TrialConfig(Frozen):
    """All that decides a trial beside the arrays it trains on and the weights it starts from."""

    arch: str
    """Name of the architecture, a key of `tune_brain.portable.networks.BUILDERS`."""
    epochs: int = Field(ge=1)
    """Length of the trial."""
    cycle: int | None = Field(default=None, ge=1)
    """Epochs of the one-cycle that the trial is the beginning of; left out: it is all of one."""
    image_size: int = Field(ge=16)
    """Side of the square images, in pixels."""
    classes: int = Field(ge=2)
    """Number of classes."""
    seed: int = Field(ge=0)
    """Decides the initial weights, the order of the images and their augmentation."""
    precision: Precision = "fp32"
    """Arithmetic of the forward and backward pass; weights and optimizer stay in fp32."""
    hyperparameters: Hyperparameters

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cycle is not None and self.cycle < self.epochs:
            raise ValueError(f"a cycle is as long as its trial at least, not {self.cycle} epochs")
        return self


class RunConfig(Frozen):
    """Everything that a run was asked for; `run.toml` in its folder."""

    data: Path | None = None
    """Folder of images in class folders; left out: the built-in demo images."""
    out: Path
    """Folder of the run."""
    arch: tuple[str, ...] = Field(default=ARCHITECTURES, min_length=1)
    """Architectures to search."""
    configs: int = Field(default=24, ge=1)
    """Configurations sampled for each architecture, the untuned baseline not counted."""
    ladder: tuple[int, ...] = Field(default=(1, 12), min_length=1)
    """Lengths of the trials, in epochs, rising; the last is the full length."""
    sampler: Sampler = "tpe"
    """Where configurations come from; `tpe` and `gp` learn from the trials before them."""
    final_round: tuple[int, int] = (3, 1)
    """How many of the best full-length trials are trained again before the winner is chosen, how often."""
    until_converged: bool = False
    """Whether a study ends when further configurations would bring no more than seeds differ by."""
    image_size: int = Field(default=224, ge=16, le=1024)
    """Side to which images are resized and centre-cropped, in pixels."""
    spaces: Path | None = None
    """Folder of space files; left out: those that come with tune_brain."""
    warm_start: Path | None = None
    """Folder of an earlier run whose best configurations were tried first; they stand in the run's spaces."""
    time_budget: float | None = Field(default=None, gt=0)
    """Seconds after which no further trial starts; left out: none."""
    trial_timeout: float | None = Field(default=None, gt=0)
    """Seconds of training after which a trial counts as hanging and is ended; left out: none."""
    disk_budget: ByteSize = ByteSize(2_000_000_000)
    """Bytes that the checkpoints of a search may take: `2GB`, `500MiB`."""
    concurrency: int | None = Field(default=None, ge=1)
    """Trials at a time; left out: as many as the machines have room for."""
    gpus_per_trial: float | None = Field(default=None, ge=0)
    """GPUs that a trial takes, a share of one or whole ones; left out: 1 where there are GPUs, else 0."""
    address: str | None = None
    """Address of a running Ray cluster (`auto` finds it); left out: this machine alone."""
    seed: int = Field(default=0, ge=0)
    """Decides the cut, the configurations and every trial."""
    weights: str = "imagenet"
    """Where resnet34 starts: `imagenet`, the path of a state dict, or `none` for random weights."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the trials; `auto` measures which is faster for each architecture."""
    seeds: int = Field(default=3, ge=1)
    """Seeds with which each winner and each baseline is trained again."""

    @field_validator("data", "out", "spaces", "warm_start")
    @classmethod
    def _at_home(cls, path: Path | None) -> Path | None:
        if path is None or path.parts[:1] != ("~",):
            return path
        try:
            return path.expanduser()
        except RuntimeError:
            raise ValueError("no home is known of the user who asks") from None

    @field_validator("data", "out", "spaces", "warm_start")
    @classmethod
    def _written(cls, path: Path | None) -> Path | None:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise ValueError(
                "the files of a run are UTF-8 and cannot name it: give a link to it with a name that is"
            ) from None
        return path

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        gpus = self.gpus_per_trial or 0
        if gpus > 1 and gpus != int(gpus):
            raise ValueError(f"gpus_per_trial must be a share of one GPU or a whole number, not {gpus:g}")
        # Path has made s3:/bucket of s3://bucket.
        if re.match(r"[a-z][a-z0-9+.-]+:/", str(self.out)):
            raise ValueError(
                f"out must be a folder, since rows are appended and locked, not {self.out}: search into a "
                "folder on a disk, and let `tune-brain copy FOLDER URL --follow` keep a copy there"
            )
        if list(self.ladder) != sorted(set(self.ladder)) or self.ladder[0] < 1:
            raise ValueError(f"ladder must rise from at least 1 epoch, not {self.ladder}")
        if min(self.final_round) < 0:
            raise ValueError(f"final_round counts trials and seeds, not {self.final_round}")
        if self.final_round[0] == 1 and self.final_round[1]:
            # A mean of several seeds would stand beside the lucky single scores of the others.
            raise ValueError(f"final_round compares at least two trials, not {self.final_round}")
        if self.until_converged and len(self.ladder) < 2:
            raise ValueError("until_converged needs a ladder of two lengths, of which the shortest tells")
        if unknown := [arch for arch in self.arch if arch not in ARCHITECTURES]:
            raise ValueError(f"arch must be among {', '.join(ARCHITECTURES)}, not {', '.join(unknown)}")
        if len(set(self.arch)) != len(self.arch):
            raise ValueError(f"arch names each architecture once, not {', '.join(self.arch)}")
        return self

    @property
    def epochs(self) -> int:
        """The full length of a trial, in epochs: the top of the ladder."""
        return self.ladder[-1]


def allows_bf16(arch: str, image_size: int) -> bool:
    """Whether bf16 gives right gradients for an architecture at an image size."""
    return not arch.startswith("resnet") or image_size >= BF16_RESNET_SIZE


def check_seeds(config: RunConfig) -> None:
    """Refuse more seeds than the ensemble's bundle can hold networks.

    Raises:
        ConfigError: there may be too many.
    """
    if config.seeds * len(config.arch) > MOST_NETWORKS:
        raise ConfigError(
            f"A bundle holds up to {MOST_NETWORKS} networks",
            found=f"{config.seeds} seeds of {len(config.arch)} architectures",
            remedy="Take fewer --seeds.",
        )


def check_precision(arch: str, image_size: int, precision: str) -> None:
    """Refuse bf16 where it gives wrong gradients.

    Raises:
        ConfigError: the images are too small for the architecture in bf16.
    """
    if precision == "bf16" and not allows_bf16(arch, image_size):
        raise ConfigError(
            f"{arch} in bf16 needs images of {BF16_RESNET_SIZE} pixels or more",
            found=f"{image_size} pixels",
            remedy="Take larger images, or precision fp32 or auto, in a new run.",
        )


Model = TypeVar("Model", bound=Frozen)


def check(model: type[Model], values: Mapping[str, Any], source: str) -> Model:
    """Build a configuration from plain values.

    Raises:
        ConfigError: a value breaks its rule; the message names source, field, rule and value.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'values'}: {problem['msg']}"
            + (f", not {problem['input']!r}" if problem["loc"] and problem["type"] != "missing" else "")
            for problem in error.errors()
        )
        raise ConfigError(f"{source} does not fit", found=found) from None


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file.

    Raises:
        ConfigError: there is no such file, or it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("A TOML file must be readable", found=f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("A TOML file must follow TOML 1.0", found=f"{path}: {error}") from None


def to_toml(model: Frozen, comment: str, leave_out: frozenset[str] = frozenset()) -> str:
    """A configuration as TOML under a comment; fields that are None are left out, since TOML has no null."""
    document = tomlkit.document()
    for line in comment.splitlines():
        document.add(tomlkit.comment(line))
    document.update(model.model_dump(mode="json", exclude_none=True, exclude=set(leave_out)))
    return tomlkit.dumps(document)
