"""Images per second of a trial in the search, against the bare training loop.

    python tests/benchmarks/throughput.py [--quick] [--arch cnn] [--epochs 12]

The bare loop is the shortest one that trains the same model with the same batches, augmentation, precision,
clipping and validation on arrays in memory: without Ray, rows or metrics other than the number of correct
predictions. The trial runs in a Ray worker as in any search, one at a time; its time is that from the end of
the trial before it to its own end, so it includes what lies between two trials. Both use one thread.
"""

import tempfile
import time
from pathlib import Path

import measure
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from tune_brain import compute
from tune_brain.config import ARCHITECTURES, Hyperparameters, Precision, RunConfig, TrialConfig
from tune_brain.data.arrays import Development
from tune_brain.data.augment import augment
from tune_brain.data.prepare import prepare
from tune_brain.models import build
from tune_brain.progress import Progress
from tune_brain.records import trials_of
from tune_brain.search.run import search
from tune_brain.slots import Slots
from tune_brain.space import Space

SIZE = 64
FIXED = {"weight_decay": 1e-2, "grad_clip": 1.0, "batch_size": 32}


def bare(arch: str, epochs: int, precision: Precision, development: Development, threads: int = 1) -> float:
    """Training images per second of the bare loop."""
    torch.set_num_threads(threads)
    hp = Hyperparameters(max_lr=1e-3, **FIXED)
    config = TrialConfig(
        arch=arch,
        epochs=epochs,
        image_size=SIZE,
        classes=len(development.classes),
        seed=0,
        precision=precision,
        hyperparameters=hp,
    )
    layout = torch.channels_last if precision == "bf16" else torch.contiguous_format
    model = build(config).to(memory_format=layout)
    pixels, labels = (torch.tensor(array) for array in (development.train.pixels, development.train.labels))
    validation, truth = (
        torch.tensor(array) for array in (development.validation.pixels, development.validation.labels)
    )
    steps = -(-len(labels) // hp.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), hp.max_lr, weight_decay=hp.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, hp.max_lr, total_steps=steps * epochs)
    rng = torch.Generator().manual_seed(0)
    autocast = {"device_type": "cpu", "dtype": torch.bfloat16, "enabled": precision == "bf16"}
    started = time.perf_counter()
    for _ in range(epochs):
        model.train()
        for index in torch.randperm(len(labels), generator=rng).split(hp.batch_size):
            batch = augment(pixels[index], rotation=hp.rotation, flip=hp.flip, generator=rng)
            optimizer.zero_grad()
            with torch.autocast(**autocast):
                logits = model(batch).float()
            cross_entropy(logits, labels[index]).backward()
            clip_grad_norm_(model.parameters(), hp.grad_clip)
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.inference_mode(), torch.autocast(**autocast):
            torch.cat([model(chunk.float() / 255) for chunk in validation.split(128)]).argmax(1).eq(
                truth
            ).sum()
    return epochs * len(labels) / (time.perf_counter() - started)


def trial(arch: str, epochs: int, precision: Precision, development: Development, slots: Slots) -> float:
    """Training images per second of the search's last trial, whose worker has trained one before."""
    with tempfile.TemporaryDirectory() as folder:
        small = {"configs": 1, "ladder": (epochs,), "final_round": (0, 0), "image_size": SIZE}
        config = RunConfig(out=Path(folder), arch=(arch,), **small)
        space = Space.model_validate(
            {
                "arch": arch,
                "fixed": FIXED,
                "tuned": {"max_lr": {"low": 1e-3, "high": 1.1e-3}},
                "baseline": {"max_lr": 1e-3},
            }
        )
        progress = Progress()
        progress.log_to(config.out / "run.log")
        progress._console.quiet = True
        search(config, {arch: space}, development, None, {arch: precision}, slots, progress)
        before, last = (row.started + row.seconds for row in trials_of(config.out)[-2:])
        return epochs * len(development.train.labels) / (last - before)


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--arch", choices=ARCHITECTURES, action="append")
    options.add_argument("--epochs", type=int)
    options.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    args = options.parse_args()
    development = prepare(args.data, image_size=SIZE, seed=0).development()
    common = {"image size": SIZE, "precision": args.precision}
    with compute.session(RunConfig(out=Path("unused"), concurrency=1)) as session:
        slots = session.slots()
        for arch in args.arch or ARCHITECTURES:
            is_deep = arch.startswith("resnet")
            epochs = args.epochs or (1 if args.quick or is_deep else 12)
            repeats = 1 if args.quick else 3 if is_deep else args.repeats
            run = (arch, epochs, args.precision, development)
            print(arch, flush=True)
            values = measure.alternate(
                {"bare": lambda run=run: bare(*run), "trial": lambda run=run: trial(*run, slots)}, repeats
            )
            result = {
                **common,
                "arch": arch,
                "epochs": epochs,
                "bare: images/s": measure.spread(values["bare"]),
                "trial: images/s": measure.spread(values["trial"]),
                "trial / bare": measure.ratio(values["trial"], values["bare"]),
            }
            measure.report(f"throughput-{arch}", result, quick=args.quick)


if __name__ == "__main__":
    main()
