"""Export the networks of a bundle as ONNX, and check their outputs against torch's."""

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tune_brain.bundle.schema import About, weights_file
from tune_brain.errors import BundleError, ConfigError
from tune_brain.portable.networks import network
from tune_brain.portable.probabilities import calibrated

TOLERANCE = 1e-4
"""Largest difference of an output between torch and onnxruntime, both in fp32.

Of logits it is a share of the largest one, if that exceeds 1: rounding grows with the numbers.
"""
OUTPUTS = ("logits", "probabilities")


class _Calibrated(nn.Module):
    """A network with a second output, its calibrated probabilities."""

    def __init__(self, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities [N, C] of images [N, 1, S, S]."""
        logits = self.model(images)
        return logits, torch.softmax(logits / self.temperature, 1)


def write_onnx(about: About, into: Path) -> None:
    """Write each member as onnx/<member>.onnx, from `images` to `logits` and `probabilities`.

    `images` are float32 [N, 1, S, S] in 0..1, the outputs float32 [N, C]. `probabilities` are the softmax of
    the logits divided by the member's temperature. The mean of an ensemble's members, its temperature and the
    rules for abstaining are not part of the graph.

    Args:
        about: the bundle's description.
        into: folder of the bundle, which already holds the weights.

    Raises:
        ConfigError: the packages of tune-brain[onnx] are missing.
        BundleError: an output of onnxruntime differs from torch's by more than `TOLERANCE`.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - needed by torch.onnx
    except ImportError as error:
        raise ConfigError(
            "--onnx needs onnxruntime, onnx and onnxscript",
            found=f"{error.name} is not installed",
            remedy="In the checkout, in the same environment: pip install --editable '.[onnx]'",
        ) from None
    (into / "onnx").mkdir()
    size = about.image_size
    images = np.random.default_rng(0).random((3, 1, size, size), dtype=np.float32)
    for member in about.members:
        model = network(member.arch, len(about.classes), size)
        model.load_state_dict(load_file(into / weights_file(member.name)))
        model.eval()
        path = into / "onnx" / f"{member.name}.onnx"
        # The exporter prints its steps to standard output.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Calibrated(model, member.temperature),
                (torch.from_numpy(images),),
                input_names=["images"],
                output_names=list(OUTPUTS),
                dynamic_shapes={"images": {0: torch.export.Dim("n")}},
                dynamo=True,
            )
            assert program
            for node in program.model.graph.all_nodes():
                # They hold stack traces with the paths of this machine.
                node.metadata_props.clear()
            program.save(path, external_data=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        with torch.inference_mode():
            logits = model(torch.from_numpy(images)).numpy()
        expected = (logits, calibrated(logits, member.temperature))
        actual = session.run(list(OUTPUTS), {"images": images})
        for name, ours, theirs in zip(OUTPUTS, expected, actual, strict=True):
            gap = float(np.abs(theirs - ours).max())
            allowed = TOLERANCE * max(1.0, float(np.abs(ours).max()))
            if not gap <= allowed:
                raise BundleError(
                    f"ONNX {name} must equal torch's within {allowed:.2g}",
                    found=f"a difference of {gap:.2g} for {member.name}",
                )
