"""The recipe `photos` in a given time on a GPU, from one small file that travels there; see gpu.sh.

Usage: python experiments/gpu.py pack CELEBA_FOLDER PHOTOS.npz
       python experiments/gpu.py train PHOTOS.npz OUT [--seconds 200] [--device cpu]
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import time
from pathlib import Path

import numpy as np
from PIL import Image

import jacsup
from jacsup.config import Recipe
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset
from jacsup.jsonable import set_field
from jacsup.photo import encoded
from jacsup.recipes import RECIPES
from jacsup.run import Run

QUALITY = 85
# Seconds kept for the epoch that compiles, the last scores, and the calibration.
RESERVED = 90


def pack(folder: Path, target: Path) -> None:
    """Write the images of CelebA's training and validation partitions as WebP files, with their attributes."""
    data = load_dataset(set_field(RECIPES["photos"], "data.judged_on", "validation").data, folder)
    parts = {}
    for name, split in (("train", data.train), ("test", data.test)):
        assert split.attributes is not None
        files = [
            encoded(Image.fromarray(pixels.permute(1, 2, 0).numpy()), "WEBP", quality=QUALITY)
            for pixels in split.images[:]
        ]
        parts |= {
            f"{name}_bytes": np.frombuffer(b"".join(files), np.uint8),
            f"{name}_ends": np.cumsum([len(file) for file in files]),
            f"{name}_attributes": split.attributes.numpy().astype(np.int8),
        }
    np.savez(target, names=np.array([attribute.name for attribute in data.attributes]), **parts)
    print(f"{target}: {target.stat().st_size / 2**20:.1f} MiB")


def train(file: Path, out: Path, seconds: float, device: str) -> None:
    """Measure one epoch of the denoiser, then train as many as fit into the time."""
    started, data = time.monotonic(), unpack(file)
    fast = {"data": data, "device": device, "precision": "bfloat16", "compile": device == "cuda"}
    trial = Run(jacsup.train(with_epochs(2), out=out / "trial", **fast))
    an_epoch = trial.stats()[-1]["seconds"]
    left = seconds - (time.monotonic() - started) - RESERVED
    epochs = max(2, int(left / an_epoch))
    per_second = len(data.train) / an_epoch
    memory = trial.stats()[-1]["peak_memory_mib"]
    print(f"{per_second:.0f} images/s, {an_epoch:.1f} s an epoch, {memory} MiB: {epochs} epochs")
    # It begins with a copy of the trial's classifier, the stage that both share.
    run = jacsup.train(with_epochs(epochs), out=out / "photos", init=out / "trial" / "classifier", **fast)
    shutil.rmtree(out / "trial")
    (out / "speed.json").write_text(json.dumps({"images_per_second": per_second, "epochs": epochs, "run": str(run)}))


def with_epochs(epochs: int) -> Recipe:
    """The recipe with that many epochs of the denoiser."""
    return set_field(RECIPES["photos"], "stages.1.epochs", epochs)


def unpack(file: Path) -> Dataset:
    """The data set of a file that `pack` wrote."""
    with np.load(file) as parts:
        names, images, attributes = parts["names"].tolist(), {}, {}
        for name in ("train", "test"):
            content, ends = parts[f"{name}_bytes"].tobytes(), parts[f"{name}_ends"].tolist()
            files = [content[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
            images[name] = np.stack([np.asarray(Image.open(io.BytesIO(each))) for each in files])
            attributes[name] = dict(zip(names, parts[f"{name}_attributes"].T, strict=True))
    return Dataset.from_arrays(
        images["train"], test_images=images["test"], attributes=attributes["train"], test_attributes=attributes["test"]
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("folder", type=Path)
    packing.add_argument("target", type=Path)
    training = commands.add_parser("train")
    training.add_argument("file", type=Path)
    training.add_argument("out", type=Path)
    training.add_argument("--seconds", type=float, default=200)
    training.add_argument("--device", default="cuda")
    chosen = parser.parse_args()
    if chosen.command == "pack":
        pack(chosen.folder, chosen.target)
    else:
        train(chosen.file, chosen.out, chosen.seconds, chosen.device)


if __name__ == "__main__":
    main()
