"""Immutable configurations of a trial and of a run, validated once when they are built."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import tomlkit
from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from tune_brain.errors import ConfigError

ARCHITECTURES = ("linear", "cnn", "resnet18", "resnet34")
"""Lightest first: a search keeps the heavier ones ahead. Files and seed runs carry these names."""
PRETRAINED = "resnet34"
"""The architecture that starts from pretrained weights."""

Precision = Literal["fp32", "bf16"]
Sampler = Literal["tpe", "halton-tpe", "halton", "gp", "random"]

MOST_NETWORKS = 100
"""The largest number of networks in a bundle."""
BF16_RESNET_SIZE = 17
"""Smallest image side, in pixels, at which a ResNet is trained in bf16.

Below it, the strided convolution of the last stage sees a single pixel, for which oneDNN (torch 2.14.1, a CPU
with avx512_bf16) leaves part of the weight gradient uninitialised.
"""


class Frozen(BaseModel):
    """Base of all configurations: immutable, without unknown fields, with finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Hyperparameters(Frozen):
    """The hyperparameters that a space file fixes or tunes for one architecture; each can be either."""

    max_lr: float = Field(gt=0)
    """Peak learning rate of the one-cycle schedule."""
    weight_decay: float = Field(ge=0)
    """Decoupled weight decay of AdamW (Loshchilov & Hutter, ICLR 2019)."""
    grad_clip: float = Field(gt=0)
    """Largest total L2 norm of a step's gradient; larger gradients are scaled down to it."""
    batch_size: int = Field(default=32, ge=1)
    """Images in one optimizer step."""
    warmup_share: float = Field(default=0.3, gt=0, lt=1)
    """Fraction of the cycle's steps in which the learning rate rises."""
    rotation: float = Field(default=10.0, ge=0, le=180)
    """Largest random rotation of a training image, in degrees in either direction."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability that a training image is flipped left to right."""


class TrialConfig(Frozen):
    """Everything that determines a trial except the images it trains on and its initial weights."""

    arch: str
    """Name of the architecture, a key of `tune_brain.portable.networks.BUILDERS`."""
    epochs: int = Field(ge=1)
    """Epochs that the trial trains."""
    cycle: int | None = Field(default=None, ge=1)
    """Epochs of the one-cycle of which the trial is the beginning; omitted: it is a complete one-cycle."""
    image_size: int = Field(ge=16)
    """Side of the square images, in pixels."""
    classes: int = Field(ge=2)
    """Number of classes."""
    seed: int = Field(ge=0)
    """Seed of the initial weights, the order of the images and their augmentation."""
    precision: Precision = "fp32"
    """Arithmetic of the forward and backward pass; weights and optimizer stay in fp32."""
    hyperparameters: Hyperparameters

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cycle is not None and self.cycle < self.epochs:
            raise ValueError(f"cycle must be at least as long as the trial, not {self.cycle} epochs")
        return self


class RunConfig(Frozen):
    """Everything that a run was asked for, stored as `run.toml` in its folder."""

    data: Path | None = None
    """Folder of images in class folders; omitted: the built-in demo images."""
    out: Path
    """Folder of the run."""
    arch: tuple[str, ...] = Field(default=ARCHITECTURES, min_length=1)
    """Architectures to search."""
    configs: int = Field(default=24, ge=1)
    """Configurations sampled per architecture, not counting the untuned baseline."""
    ladder: tuple[int, ...] = Field(default=(1, 12), min_length=1)
    """Trial lengths, in epochs, increasing; the last is the full length."""
    sampler: Sampler = "tpe"
    """How configurations are sampled; `tpe` and `gp` learn from earlier trials."""
    final_round: tuple[int, int] = (3, 1)
    """How many of the best full-length trials are retrained before the winner is chosen, and with how many
    further seeds each."""
    until_converged: bool = False
    """Whether a study ends once further configurations would gain no more than the noise between seeds."""
    image_size: int = Field(default=224, ge=16, le=1024)
    """Side to which images are resized and centre-cropped, in pixels."""
    spaces: Path | None = None
    """Folder of space files; omitted: those that come with tune_brain."""
    warm_start: Path | None = None
    """Folder of an earlier run whose best configurations were tried first; the run's spaces list them."""
    time_budget: float | None = Field(default=None, gt=0)
    """Seconds after which no further trial starts; omitted: no limit."""
    trial_timeout: float | None = Field(default=None, gt=0)
    """Seconds of training after which a trial is considered hung and killed; omitted: no limit."""
    disk_budget: ByteSize = ByteSize(2_000_000_000)
    """Bytes that the checkpoints of a search may take: `2GB`, `500MiB`."""
    concurrency: int | None = Field(default=None, ge=1)
    """Trials at a time; omitted: as many as the machines have room for."""
    gpus_per_trial: float | None = Field(default=None, ge=0)
    """GPUs per trial, a fraction of one or a whole number; omitted: 1 if there are GPUs, else 0."""
    address: str | None = None
    """Address of a running Ray cluster (`auto` finds it); omitted: this machine alone."""
    seed: int = Field(default=0, ge=0)
    """Seed of the split, of the sampler and of every trial."""
    weights: str = "imagenet"
    """Initial weights of resnet34: `imagenet`, the path of a state dict, or `none` for random weights."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the trials; `auto` measures which one is faster for each architecture."""
    seeds: int = Field(default=3, ge=1)
    """Number of seeds with which each winner and each baseline is retrained."""

    @field_validator("data", "out", "spaces", "warm_start")
    @classmethod
    def _expand_home(cls, path: Path | None) -> Path | None:
        if path is None or path.parts[:1] != ("~",):
            return path
        try:
            return path.expanduser()
        except RuntimeError:
            raise ValueError("~ cannot be expanded for this user: write the absolute path") from None

    @field_validator("data", "out", "spaces", "warm_start", "weights")
    @classmethod
    def _is_utf8(cls, path: Path | str | None) -> Path | str | None:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise ValueError(
                "the path is not valid UTF-8, which the run's files need: use a symbolic link to it"
            ) from None
        return path

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        gpus = self.gpus_per_trial or 0
        if gpus > 1 and gpus != int(gpus):
            raise ValueError(f"gpus_per_trial must be a fraction of one GPU or a whole number, not {gpus:g}")
        # Path turns s3://bucket into s3:/bucket.
        if re.match(r"[a-z][a-z0-9+.-]+:/", str(self.out)):
            raise ValueError(
                f"out must be a folder on a disk, since rows are appended and locked, not {self.out}: "
                "`tune-brain copy FOLDER URL --follow` keeps a copy there while a search runs"
            )
        if list(self.ladder) != sorted(set(self.ladder)) or self.ladder[0] < 1:
            raise ValueError(f"ladder must increase from at least 1 epoch, not {self.ladder}")
        if min(self.final_round) < 0:
            raise ValueError(f"final_round must hold two numbers of at least 0, not {self.final_round}")
        if self.final_round[0] == 1 and self.final_round[1]:
            # A mean over several seeds would be compared with the lucky single scores of the others.
            raise ValueError(f"final_round must retrain at least two trials, not {self.final_round}")
        if self.until_converged and len(self.ladder) < 2:
            raise ValueError("until_converged needs a ladder of at least two lengths, not one")
        if unknown := [arch for arch in self.arch if arch not in ARCHITECTURES]:
            raise ValueError(f"arch must be among {', '.join(ARCHITECTURES)}, not {', '.join(unknown)}")
        if len(set(self.arch)) != len(self.arch):
            raise ValueError(f"arch must name each architecture once, not {', '.join(self.arch)}")
        return self

    @property
    def full_length(self) -> int:
        """Epochs of a full-length trial: the top of the ladder."""
        return self.ladder[-1]


def allows_bf16(arch: str, image_size: int) -> bool:
    """Whether bf16 gives correct gradients for an architecture at an image size; see `BF16_RESNET_SIZE`."""
    return not arch.startswith("resnet") or image_size >= BF16_RESNET_SIZE


def check_seeds(config: RunConfig) -> None:
    """Refuse more seed runs than the bundle of the ensemble can hold networks.

    Raises:
        ConfigError: there would be more than `MOST_NETWORKS` if every architecture joins the ensemble.
    """
    if config.seeds * len(config.arch) > MOST_NETWORKS:
        raise ConfigError(
            f"--seeds is too large: a bundle holds at most {MOST_NETWORKS} networks",
            found=f"{config.seeds} seeds of {len(config.arch)} architectures",
            remedy="Lower --seeds.",
        )


def check_precision(arch: str, image_size: int, precision: str) -> None:
    """Refuse bf16 where it gives wrong gradients; see `BF16_RESNET_SIZE`.

    Raises:
        ConfigError: the images are too small for the architecture in bf16.
    """
    if precision == "bf16" and not allows_bf16(arch, image_size):
        raise ConfigError(
            f"{arch} in bf16 needs images of at least {BF16_RESNET_SIZE} pixels",
            found=f"{image_size} pixels",
            remedy="Start a new run with a larger --image-size, or with --precision fp32 or auto.",
        )


Model = TypeVar("Model", bound=Frozen)


def check(model: type[Model], values: Mapping[str, Any], source: str) -> Model:
    """Build a configuration from plain values.

    Args:
        model: the class to build.
        values: its fields by name.
        source: where the values come from, which the error message begins with.

    Raises:
        ConfigError: a value is invalid; the message names source, field, rule and value.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        found = "; ".join(_in_words(problem, model) for problem in error.errors())
        raise ConfigError(f"{source} is invalid", found=found) from None


def _in_words(problem: ErrorDetails, model: type[Frozen]) -> str:
    """A problem that pydantic found, with the place and the value."""
    place = ".".join(map(str, problem["loc"])) + ": " if problem["loc"] else ""
    match problem["type"]:
        case "value_error":
            # Ours, which names the value itself.
            return place + problem["msg"].removeprefix("Value error, ")
        case "missing":
            return place + problem["msg"]
        case "extra_forbidden":
            known = f"; possible are {', '.join(model.model_fields)}" if len(problem["loc"]) == 1 else ""
            return f"{place}unknown{known}"
    return f"{place}{problem['msg']}, not {problem['input']!r}"


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file.

    Raises:
        ConfigError: there is no such file, or it is not TOML.
    """
    try:
        # Some editors begin a file with a byte order mark.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError("Cannot read a TOML file", found=f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("A file is not valid TOML 1.0", found=f"{path}: {error}") from None


def to_toml(model: Frozen, comment: str, leave_out: frozenset[str] = frozenset()) -> str:
    """A configuration as TOML below a comment. Fields that are None are omitted, since TOML has no null.

    Args:
        model: the configuration.
        comment: one or more lines, without `#`.
        leave_out: names of fields to omit.
    """
    document = tomlkit.document()
    for line in comment.splitlines():
        document.add(tomlkit.comment(line))
    document.update(model.model_dump(mode="json", exclude_none=True, exclude=set(leave_out)))
    return tomlkit.dumps(document)
