"""How well faces are found: CelebA's test photographs, turned, scaled and put into larger photos.

python experiments/alignment.py FOLDER [--count 1500] [--cascades] [--textures FOLDER_OF_IMAGES]

Prints how many are found, the distance of both eyes from where they should be, in percent of the distance between the
eyes, and the milliseconds per photo. A texture in which a face is found counts as false.
"""

from __future__ import annotations

import argparse
import cmath
import io
import math
import random
import time
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image, ImageFilter

from jacsup import detect
from jacsup.align import EYES, Similarity, whole_square

SIZES = ((640, 480), (480, 640), (800, 800), (1200, 800))


def photo_with(face: Image.Image, background: Image.Image, rng: random.Random) -> tuple[Image.Image, list[complex]]:
    """Return a photo with the face somewhere in it, and where its eyes are."""
    size = rng.choice(SIZES)
    photo = background.resize(size).filter(ImageFilter.GaussianBlur(40))
    scale = rng.uniform(0.25, 1) * min(size) / face.height
    degrees = rng.uniform(-30, 30)
    large = face.resize((round(face.width * scale), round(face.height * scale)), Image.Resampling.BICUBIC)
    turned, mask = (
        each.rotate(degrees, Image.Resampling.BICUBIC, expand=True) for each in (large, Image.new("L", large.size, 255))
    )
    left, top = (
        rng.randint(min(0, whole - part), max(0, whole - part)) for whole, part in zip(size, turned.size, strict=True)
    )
    photo.paste(turned, (left, top), mask)
    turn = cmath.rect(large.width / face.width, -math.radians(degrees))
    centre, middle = complex(left + turned.width / 2, top + turned.height / 2), complex(*face.size) / 2
    return photo, [(whole_square(face).to_photo(eye) - middle) * turn + centre for eye in EYES]


def found_in(photo: Image.Image) -> Similarity | None:
    """The largest face."""
    try:
        return detect.find_faces(photo)[0]
    except ValueError:
        return None


def main(given: argparse.Namespace) -> None:
    """Print the figures."""
    rng, errors, seconds = random.Random(0), [], 0.0
    split = dict(line.split() for line in (given.folder / "list_eval_partition.txt").read_text().splitlines())
    with zipfile.ZipFile(given.folder / "img_align_celeba.zip") as images:
        names = [name for name in images.namelist() if split.get(Path(name).name) == "2"]

        def read(name: str) -> Image.Image:
            return Image.open(io.BytesIO(images.read(name))).convert("RGB")

        for name in names[: given.count]:
            photo, eyes = photo_with(read(name), read(rng.choice(names)).rotate(180), rng)
            start = time.process_time()
            found = found_in(photo)
            seconds += time.process_time() - start
            if found:
                off = [abs(found.to_photo(eye) - true) for eye, true in zip(EYES, eyes, strict=True)]
                errors.append(100 * sum(off) / 2 / abs(eyes[1] - eyes[0]))
    count = len(names[: given.count])
    median, most = np.quantile(errors, [0.5, 0.95])
    wrong = sum(error > 20 for error in errors)
    print(f"{count} photos: {len(errors) / count:.1%} found, {wrong} of them off by more than 20 %")
    print(f"eyes: median {median:.1f} %, 95 % below {most:.1f} %; {1000 * seconds / count:.0f} ms per photo")
    if given.textures:
        files = sorted(given.textures.iterdir())
        false = [file.name for file in files if found_in(Image.open(file).convert("RGB"))]
        print(f"{len(false)} of {len(files)} textures have a face: {', '.join(false)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--cascades", action="store_true")
    parser.add_argument("--textures", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with mock.patch.object(detect, "_networks_folder", return_value=None) if options.cascades else mock.MagicMock():
        main(options)
