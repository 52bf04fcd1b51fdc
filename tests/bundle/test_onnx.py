"""The networks of a bundle give the same outputs in onnxruntime as in torch."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import write_bundle
from safetensors.torch import load_file, save_file

from tune_brain.bundle.read import open_bundle
from tune_brain.bundle.schema import weights_file
from tune_brain.errors import BundleError, ConfigError
from tune_brain.export import onnx
from tune_brain.portable.networks import network
from tune_brain.portable.probabilities import calibrated


@pytest.fixture
def bundle(phantoms: Path, tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", phantoms, ("linear", "resnet18"), size=32)


@pytest.mark.slow
def test_onnx_outputs_equal_torchs_for_any_number_of_images(bundle: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    about = open_bundle(bundle).about
    onnx.write_onnx(about, bundle)
    rng = np.random.default_rng(1)
    for member in about.members:
        file = bundle / "onnx" / f"{member.name}.onnx"
        # Torch's exporter adds stack traces, which name folders of this machine.
        content = file.read_bytes()
        assert b"forward" not in content
        assert str(Path(onnx.__file__).parents[2]).encode() not in content
        session = runtime.InferenceSession(file)
        model = network(member.arch, len(about.classes), about.image_size)
        model.load_state_dict(load_file(bundle / weights_file(member.name)))
        model.eval()
        for count in (1, 7):
            images = rng.random((count, 1, about.image_size, about.image_size), dtype=np.float32)
            with torch.inference_mode():
                expected = model(torch.from_numpy(images)).numpy()
            logits, probabilities = session.run(["logits", "probabilities"], {"images": images})
            assert logits.shape == (count, len(about.classes))
            assert np.abs(logits - expected).max() <= onnx.TOLERANCE
            assert np.ptp(expected) > 100 * onnx.TOLERANCE
            assert np.abs(probabilities - calibrated(expected, member.temperature)).max() <= 1e-4
            assert np.abs(calibrated(expected, 1.0) - calibrated(expected, member.temperature)).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("output", [0, 1])
def test_onnx_with_another_output_is_refused(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, output: int
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    run = runtime.InferenceSession.run

    def deviate(self: object, *arguments: object) -> list[np.ndarray]:
        outputs = run(self, *arguments)
        outputs[output] = outputs[output] + 2 * onnx.TOLERANCE * max(1, np.abs(outputs[output]).max())
        return outputs

    monkeypatch.setattr(runtime.InferenceSession, "run", deviate)
    with pytest.raises(BundleError, match=rf"{onnx.OUTPUTS[output]} must equal torch's within "):
        onnx.write_onnx(open_bundle(bundle).about, bundle)


@pytest.mark.slow
def test_large_logits_may_differ_in_proportion(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    bundle = write_bundle(tmp_path / "bundle", phantoms, ("linear",), size=32)
    about = open_bundle(bundle).about
    path = bundle / weights_file(about.members[0].name)
    save_file({name: value * 20 for name, value in load_file(path).items()}, path)
    run = runtime.InferenceSession.run

    def deviate(self: object, *arguments: object) -> list[np.ndarray]:
        logits, probabilities = run(self, *arguments)
        assert np.abs(logits).max() > 100
        return [logits + 10 * onnx.TOLERANCE, probabilities]

    monkeypatch.setattr(runtime.InferenceSession, "run", deviate)
    onnx.write_onnx(about, bundle)


def test_onnx_without_its_packages_names_what_to_install(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError) as error:
        onnx.write_onnx(open_bundle(bundle).about, bundle)
    assert ".[onnx]" in str(error.value)
    assert not (bundle / "onnx").exists()
