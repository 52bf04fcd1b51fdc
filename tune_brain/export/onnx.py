"""The networks of a bundle as ONNX, held against torch before anybody relies on them."""

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from tune_brain.bundle.schema import About, weights_file
from tune_brain.errors import BundleError, ConfigError
from tune_brain.portable.networks import network

TOLERANCE = 1e-4
"""Largest difference of a logit between torch and onnxruntime, both in fp32."""


def write_onnx(about: About, into: Path) -> None:
    """Write each member as onnx/<member>.onnx: `images` float32 [N, 1, S, S] in 0..1 to `logits` [N, C].

    Raises:
        ConfigError: the packages of tune-brain[onnx] are missing.
        BundleError: onnxruntime's logits differ from torch's by more than 1e-4.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - what torch.onnx writes with
    except ImportError as error:
        raise ConfigError(
            "--onnx needs onnxruntime, onnx and onnxscript",
            found=f"no {error.name}",
            remedy="In the checkout, into the same environment: pip install --editable '.[onnx]'",
        ) from None
    (into / "onnx").mkdir()
    size = about.image_size
    images = np.random.default_rng(0).random((3, 1, size, size), dtype=np.float32)
    for member in about.members:
        model = network(member.arch, len(about.classes), size)
        model.load_state_dict(load_file(into / weights_file(member.name)))
        model.eval()
        path = into / "onnx" / f"{member.name}.onnx"
        # It reports its steps on standard output.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model,
                (torch.from_numpy(images),),
                path,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes={"input": {0: torch.export.Dim("n")}},
                dynamo=True,
                external_data=False,
            )
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        with torch.inference_mode():
            expected = model(torch.from_numpy(images)).numpy()
        gap = float(np.abs(session.run(["logits"], {"images": images})[0] - expected).max())
        if gap > TOLERANCE:
            raise BundleError(
                f"ONNX logits must equal torch's within {TOLERANCE:g}", found=f"{gap:.2g} for {member.name}"
            )
