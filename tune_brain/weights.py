"""Where the pretrained architecture starts: ImageNet weights, a file, or random numbers."""

import hashlib
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
from safetensors import SafetensorError
from torch import Tensor

from tune_brain.config import PRETRAINED
from tune_brain.errors import WeightsError
from tune_brain.models import is_head
from tune_brain.portable.networks import BUILDERS

WAYS_OUT = """\
Three ways out:
  1. Connect this machine to the internet and start again, or put the file into torch's cache yourself:
     {url}
     as {cache}
  2. --weights PATH   start from a ResNet-34 state dict of your own (.safetensors, or .pth without code)
  3. --weights none   start from random weights, as the other architectures do
2 and 3 are for a new search, and for extend where it adds resnet34; a run that stands needs 1."""

_DOWNLOAD_TIMEOUT = 20.0
"""Seconds without an answer after which the server counts as not reachable."""


@dataclass(frozen=True, kw_only=True)
class ResolvedWeights:
    """Pretrained weights, checked to fit."""

    state: dict[str, Tensor]
    """ResNet-34 parameters by torchvision's names, with a head of any size or none."""
    origin: str
    """What they are, for the record of a run: a name and a SHA-256, no path."""


def resolve(spec: str) -> ResolvedWeights | None:
    """Find, read and check the weights that resnet34 starts from.

    Args:
        spec: `imagenet` (torchvision's, downloaded unless they are in its cache), `none`, or the path of a
            state dict: `.safetensors`, or else a file of `torch.save`, of which only tensors are read.

    Returns:
        The weights; None for `none`.

    Raises:
        WeightsError: they cannot be reached, cannot be read without running code, or do not fit ResNet-34.
    """
    if spec == "none":
        return None
    if spec == "imagenet":
        return _imagenet()
    path = Path(spec).expanduser()
    state = _read(path)
    _check(state, path.name)
    return ResolvedWeights(state=state, origin=f"{path.name}, SHA-256 {_sha256(path)}")


def _imagenet() -> ResolvedWeights:
    # Torchvision takes a second to import, which a search without this architecture need not wait for.
    from torchvision.models import ResNet34_Weights

    url = ResNet34_Weights.DEFAULT.url
    name = Path(urlparse(url).path).name
    cache = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _timeout(_DOWNLOAD_TIMEOUT):
                torch.hub.download_url_to_file(url, str(cache), _promised(name), progress=False)
        except (OSError, RuntimeError) as error:
            if isinstance(error, HTTPError):
                error.close()  # It holds the connection open.
            raise WeightsError(
                "The ImageNet weights of resnet34 must be in torch's cache or within reach",
                found=f"{type(error).__name__}: {error}",
                remedy=WAYS_OUT.format(url=url, cache=cache),
            ) from None
    digest = _sha256(cache)
    if not digest.startswith(_promised(name)):
        raise WeightsError(
            f"The SHA-256 of {name} must begin as its name says",
            found=digest,
            remedy=f"Delete {cache}, which is damaged, and start again.",
        )
    state = _read(cache)
    _check(state, name)
    return ResolvedWeights(state=state, origin=f"ImageNet, torchvision's {name}, SHA-256 {digest}")


def _promised(name: str) -> str:
    """The beginning of a file's SHA-256 that torchvision writes at the end of its name."""
    return Path(name).stem.rpartition("-")[2]


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    # Torch's download has no time limit of its own and would wait minutes for a network that drops packets.
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
            "A file of weights must be readable",
            found=f"{path}: {error.strerror or error}",
            remedy="" if path.is_absolute() else "A relative path counts from where the search was started.",
        ) from None
    except UnpicklingError:
        raise WeightsError(
            "A file of weights must hold tensors alone, and no code", found=path, remedy=remedy
        ) from None
    except (SafetensorError, EOFError, RuntimeError, ValueError) as error:
        raise WeightsError(
            "A file of weights must be whole", found=f"{path}: {type(error).__name__} {error}", remedy=remedy
        ) from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(
            "A file of weights must be a state dict, which maps names to tensors", found=path, remedy=remedy
        )
    return dict(state)


def _check(state: Mapping[str, Tensor], name: str) -> None:
    with torch.device("meta"):
        net = BUILDERS[PRETRAINED](2, 224)
    needed = {key: value.shape for key, value in net.state_dict().items() if not is_head(key)}
    wrong = [f"no {key}" for key in needed if key not in state and not key.endswith("num_batches_tracked")]
    for key, value in state.items():
        if is_head(key):
            continue
        if key not in needed:
            wrong.append(f"unknown {key}")
        elif value.shape != needed[key]:
            wrong.append(f"{key} {list(value.shape)} instead of {list(needed[key])}")
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise WeightsError(
            f"Weights for resnet34 must have torchvision's names and shapes, the head aside ({name})",
            found=", ".join(wrong[:5]) + more,
            remedy="Give the state dict of torchvision.models.resnet34 itself, not of a model around it.",
        )
