"""The table of the model of photographs: its edits of test photos, and a portrait with every attribute turned.

Usage: python experiments/photos.py MODEL CELEBA_FOLDER [--picture FILE.png]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from PIL import Image, ImageDraw

from jacsup.config import CelebA
from jacsup.data import load_dataset
from jacsup.edit import Editor, preview
from jacsup.metrics.attribute_judge import get_attribute_judge
from jacsup.metrics.attributes import (
    NUM_PASTED_IMAGES,
    PASTED_STRENGTHS,
    RELIABLE_AUC,
    accuracy_at_equal_disturbance,
    edit_scores,
    stored_means,
)
from jacsup.metrics.identity import identity_drift, load_recogniser
from jacsup.models import load, load_info
from jacsup.models.fetch import PORTRAIT

# Attributes after which a person should still be recognised.
OF_THE_SAME_PERSON = ("Smiling", "Eyeglasses", "Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Bangs", "Young")
NUM_BEST = 20
SIDE, COLUMNS, CAPTION = 128, 7, 16


def photos(
    model: Annotated[Path, tyro.conf.Positional],
    data_root: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    num_photos: int = NUM_PASTED_IMAGES,
    picture: Path | None = None,
) -> None:
    """Judge the edits of test photos, each attribute of each photo.

    Args:
        model: The model file.
        data_root: CelebA's folder.
        num_photos: How many of the first test photos to edit.
        picture: Where to write the portrait with every attribute turned, if anywhere.
    """
    if picture:
        turned(Editor(model)).save(picture)
    loaded = load(model)
    info = load_info(loaded)
    data = load_dataset(CelebA(), data_root)
    judge = get_attribute_judge(data)
    assert judge
    means = stored_means(info.factors)
    split = data.test.first(num_photos)
    scores = edit_scores(loaded, split, judge, data.attributes, means, PASTED_STRENGTHS, pasted=True)
    of_each = scores["per_attribute"]
    reached = {name: at_equal_disturbance(scores["strengths"], [each]) for name, each in of_each.items()}
    best = sorted(zip(judge.auc, of_each, strict=True), reverse=True)[:NUM_BEST]
    drift = identity_drift(loaded, data.test, data.attributes, means, load_recogniser(Path("dlib")), strength=1)
    model.with_suffix(".json").write_text(json.dumps({"edits": scores, "identity": drift}))
    print(
        f"{'attribute':22} {'AUC':>5} {'seen, strength 1, 2':>20} {'disturbed':>10} {'at 10 %':>8} {'same person':>12}"
    )
    for auc, (name, value) in sorted(zip(judge.auc, reached.items(), strict=True), key=lambda row: -row[1][1]):
        seen, changed = of_each[name]["accuracy"], of_each[name]["preservation_error"]
        same = drift["same_person_per_attribute"][name]
        print(f"{name:22} {auc:5.3f} {seen[1]:14.2f} {seen[2]:5.2f} {changed[1]:10.3f} {value:8.2f} {same:12.2f}")
    for key in ("accuracy", "preservation_error"):
        print(key, dict(zip(scores["strengths"], [round(value, 3) for value in scores[key]], strict=True)))
    print(f"at 10 %, AUC of at least {RELIABLE_AUC}: {accuracy_at_equal_disturbance(scores):.3f}")
    of_best = at_equal_disturbance(scores["strengths"], [of_each[name] for _, name in best])
    print(f"at 10 %, {NUM_BEST} best judged: {of_best:.3f}")
    print(f"attributes above .5 at 10 %: {sum(value > 0.5 for value in reached.values())} of {len(reached)}")
    kept = torch.tensor([drift["same_person_per_attribute"][name] for name in OF_THE_SAME_PERSON]).mean()
    print(f"same person after {', '.join(OF_THE_SAME_PERSON)}: {kept:.3f}; after all: {drift['same_person']:.3f}")


def at_equal_disturbance(strengths: list[float], rows: list[dict[str, Any]]) -> float:
    """The accuracy at equal disturbance of the mean of some attributes' scores."""
    means = {key: torch.tensor([row[key] for row in rows]).nanmean(dim=0).tolist() for key in rows[0]}
    return accuracy_at_equal_disturbance({"strengths": strengths, **means})


def turned(editor: Editor) -> Image.Image:
    """The portrait, and once for each attribute with it added or removed at strength 1."""
    opened = editor.open(PORTRAIT)
    own, small = editor.read(opened), preview(opened, SIDE)
    captioned = [("the photo", small.photo)]
    for name, strength in own.items():
        wanted = -1 if strength > 0 else 1
        captioned.append((f"{'+' if wanted > 0 else '-'} {name}", editor.render(small, {name: wanted})))
    rows = -(-len(captioned) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * SIDE, rows * (SIDE + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (caption, image) in enumerate(captioned):
        x, y = number % COLUMNS * SIDE, number // COLUMNS * (SIDE + CAPTION)
        sheet.paste(image.convert("RGB").resize((SIDE, SIDE)), (x, y + CAPTION))
        draw.text((x + 3, y + 2), caption.replace("_", " "), fill="black")
    return sheet


if __name__ == "__main__":
    sys.exit(tyro.cli(photos))
