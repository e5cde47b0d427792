"""How much detail of a photo an edit should preserve: the error of pasted edits against the true change, by `detail`.

Usage: python experiments/detail.py [MODEL]
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from PIL import Image

from jacsup.config import Faces
from jacsup.data.drawn import counterfactual, test_faces
from jacsup.edit import Editor

DETAILS = (0.0, 0.25, 0.5, 0.75, 1.0)
NUM_FACES = 16
SIDE = 128


def main(model: str = "faces") -> None:
    """Print the error for each value of `detail`; the model must be one of drawn faces."""
    editor = Editor(model)
    config = editor.info.data
    assert isinstance(config, Faces)
    photos = test_faces(config, NUM_FACES, SIDE).permute(0, 2, 3, 1).numpy()
    faces = [editor.open(Image.fromarray(photo), align=False) for photo in photos]
    errors, unedited = np.zeros(len(DETAILS)), 0.0
    for number, name in enumerate(editor.factors):
        truths, turned_on = counterfactual(replace(config, size=SIDE), number, NUM_FACES)
        for photo, face, truth, on in zip(photos, faces, truths.permute(0, 2, 3, 1).numpy(), turned_on, strict=True):
            unedited += squared(photo, truth)
            strengths = {name: 1 if on else -1}
            errors += [squared(editor.render(face, strengths, detail=detail), truth) for detail in DETAILS]
    for detail, error in zip(DETAILS, errors / unedited, strict=True):
        print(f"detail {detail}: {error:.3f} of the error without an edit")


def squared(image: Image.Image | np.ndarray, truth: np.ndarray) -> float:
    """The sum of squared differences of two images."""
    return float(np.square(np.asarray(image, dtype=float) - truth).sum())


if __name__ == "__main__":
    main(*sys.argv[1:])
