"""The effect of bf16 on scores: the untuned baseline trained in both precisions, seed by seed.

    python tests/benchmarks/precision.py [--quick] [--arch cnn] [--data DIR]

48 px, 12 epochs, macro-F1 on validation after the last. bf16 may change a score, but by less than a seed
does: the mean difference and its standard error are reported beside the standard deviation over seeds.
"""

from statistics import fmean, stdev

import measure
import torch

from tune_brain import space
from tune_brain.config import ARCHITECTURES, Precision
from tune_brain.data.prepare import prepare
from tune_brain.models import build
from tune_brain.seeds import derive
from tune_brain.train.fit import fit
from tune_brain.train.training import begin

SIZE = 48


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--arch", choices=ARCHITECTURES, action="append")
    args = options.parse_args()
    torch.set_num_threads(1)
    prepared = prepare(args.data, image_size=SIZE, seed=0)
    development = prepared.development()
    archs = args.arch or ARCHITECTURES[:3]
    spaces = space.load(space.default_folder(), archs)

    def score(arch: str, seed: int, precision: Precision) -> float:
        config = spaces[arch].trial(
            spaces[arch].baseline,
            epochs=1 if args.quick else 12,
            image_size=SIZE,
            classes=len(prepared.classes),
            seed=derive(seed, arch, "precision"),
            precision=precision,
        )
        rows = list(fit(begin(build(config, None), config, development, torch.device("cpu"))))
        return rows[-1]["val_macro_f1"]

    for arch in archs:
        scores: dict[str, list[float]] = {"fp32": [], "bf16": []}
        for seed in range(2 if args.quick else args.repeats):
            scores["fp32"].append(score(arch, seed, "fp32"))
            scores["bf16"].append(score(arch, seed, "bf16"))
        differences = [bf16 - fp32 for bf16, fp32 in zip(scores["bf16"], scores["fp32"], strict=True)]
        result = {
            **{precision: measure.spread(values) for precision, values in scores.items()},
            "bf16 - fp32, mean": fmean(differences),
            "standard error": stdev(differences) / len(differences) ** 0.5,
            "standard deviation over seeds": stdev(scores["fp32"]),
        }
        measure.report(f"precision-{arch}", {arch: result}, quick=args.quick)


if __name__ == "__main__":
    main()
