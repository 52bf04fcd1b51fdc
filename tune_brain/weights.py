"""The starting weights of the pretrained architecture: ImageNet weights, a file, or random weights."""

import hashlib
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from urllib.error import HTTPError
from urllib.parse import urlparse

import safetensors.torch
import torch
from torch import Tensor

from tune_brain.config import PRETRAINED
from tune_brain.errors import WeightsError
from tune_brain.models import is_head
from tune_brain.portable.networks import BUILDERS

WAYS_OUT = """\
There are three ways to continue:
  1. Connect this machine to the internet and start again, or put the file into torch's cache yourself:
     {url}
     as {cache}
  2. --weights PATH   start from your own ResNet-34 state dict (.safetensors, or .pth without code)
  3. --weights none   start from random weights, as the other architectures do
2 and 3 are for a new search, or for an extend that adds resnet34. A run that already has resnet34 needs 1."""

_DOWNLOAD_TIMEOUT = 20.0
"""Seconds without an answer after which the server counts as unreachable."""


@dataclass(frozen=True, kw_only=True)
class ResolvedWeights:
    """Pretrained weights that fit ResNet-34."""

    state: dict[str, Tensor]
    """Parameters by torchvision's names, with a head of any size or without one."""
    origin: str
    """Their name and SHA-256, for the record of a run; never a path."""


def resolve(spec: str) -> ResolvedWeights | None:
    """Find, read and check the weights from which resnet34 starts.

    Args:
        spec: `imagenet` (torchvision's weights, downloaded unless they are in torch's cache), `none`, or the
            path of a state dict: `.safetensors`, or else a file of `torch.save` that holds tensors alone.

    Returns:
        The weights; None for `none`.

    Raises:
        WeightsError: the weights cannot be downloaded, cannot be read without running code, or do not fit.
    """
    if spec == "none":
        return None
    if spec == "imagenet":
        return _imagenet()
    # Unlike `Path.expanduser`, it leaves the name of an unknown user as it is.
    path = Path(os.path.expanduser(spec))  # noqa: PTH111
    state = _read(path)
    _check(state, path.name)
    return ResolvedWeights(state=state, origin=f"{path.name}, SHA-256 {_sha256(path)}")


def _imagenet() -> ResolvedWeights:
    # Imported here because torchvision takes a second, which searches without this architecture can save.
    from torchvision.models import ResNet34_Weights

    url = ResNet34_Weights.DEFAULT.url
    name = Path(urlparse(url).path).name
    cache = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not cache.exists():
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            with _timeout(_DOWNLOAD_TIMEOUT):
                torch.hub.download_url_to_file(url, str(cache), _digest_prefix(name), progress=False)
        except (OSError, RuntimeError) as error:
            if isinstance(error, HTTPError):
                error.close()  # It holds the connection open.
            raise WeightsError(
                "The ImageNet weights of resnet34 are not in torch's cache and cannot be downloaded",
                found=f"{type(error).__name__}: {error}",
                remedy=WAYS_OUT.format(url=url, cache=cache),
            ) from None
    digest = _sha256(cache)
    if not digest.startswith(_digest_prefix(name)):
        raise WeightsError(
            f"The SHA-256 of {name} must begin with the digits in its name",
            found=digest,
            remedy=f"Delete {cache}, which is damaged, and start again.",
        )
    state = _read(cache)
    _check(state, name)
    return ResolvedWeights(state=state, origin=f"ImageNet, torchvision's {name}, SHA-256 {digest}")


def _digest_prefix(name: str) -> str:
    """The first digits of a file's SHA-256, which torchvision puts at the end of its name."""
    return Path(name).stem.rpartition("-")[2]


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    # Torch's download sets no timeout and would wait minutes for a network that drops packets.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Tensor]:
    remedy = "Give a ResNet-34 state dict, saved by safetensors or as torch.save(model.state_dict(), PATH)."
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(
            "The file of weights cannot be read",
            found=f"{path}: {error.strerror or error}",
            remedy=""
            if path.is_absolute()
            else "A relative path starts where the search was started; `train` takes --weights PATH.",
        ) from None
    except UnpicklingError:
        raise WeightsError(
            "A file of weights must hold nothing but tensors, and no code", found=path, remedy=remedy
        ) from None
    except Exception as error:  # readers of damaged files raise all kinds of exceptions
        raise WeightsError(
            "The file of weights is damaged or in another format",
            found=f"{path}: {type(error).__name__} {error}",
            remedy=remedy,
        ) from None
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise WeightsError(
            "A file of weights must hold a state dict, which maps names to tensors", found=path, remedy=remedy
        )
    return dict(state)


def _check(state: Mapping[str, Tensor], name: str) -> None:
    with torch.device("meta"):
        net = BUILDERS[PRETRAINED](2, 224)
    expected = {key: value.shape for key, value in net.state_dict().items() if not is_head(key)}
    # Old versions of torch saved no num_batches_tracked.
    wrong = [f"no {key}" for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    for key, value in state.items():
        if is_head(key):
            continue
        if key not in expected:
            wrong.append(f"unknown {key}")
        elif value.shape != expected[key]:
            wrong.append(f"{key} {list(value.shape)} instead of {list(expected[key])}")
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise WeightsError(
            f"Weights for resnet34 must have torchvision's names and shapes, except for the head ({name})",
            found=", ".join(wrong[:5]) + more,
            remedy="Give the state dict of torchvision.models.resnet34 itself, not of a model that wraps it.",
        )
    if bad := [key for key, value in state.items() if not is_head(key) and not _is_finite(value)]:
        raise WeightsError(
            "Weights must be dense tensors of finite real numbers",
            found=f"{name}: {', '.join(bad[:5])}",
            remedy="Give a dense state dict of real numbers, of a training that did not diverge.",
        )


def _is_finite(value: Tensor) -> bool:
    if value.layout is not torch.strided or value.is_quantized or value.is_complex():
        return False
    try:
        # Few functions know the types of 8 bits or fewer.
        return bool(value.float().isfinite().all())
    except RuntimeError:  # it has no values, or a type that torch cannot convert
        return False
