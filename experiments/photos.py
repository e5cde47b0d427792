"""The table of the model of photographs: its edits of test photos, and a portrait with every attribute turned.

Usage: python experiments/photos.py MODEL CELEBA_FOLDER [--picture FILE.png] [--regions FILE.png]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from jacsup.align import crop
from jacsup.cli.table import print_table
from jacsup.code import UNIT, to_float
from jacsup.config import CelebA
from jacsup.data import load_dataset
from jacsup.detect import find_faces
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
from jacsup.metrics.regions import attribute_regions
from jacsup.models import diffusion, load, load_info
from jacsup.models.fetch import PORTRAIT
from jacsup.photo import read_photo

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
    regions: Path | None = None,
) -> None:
    """Judge the edits of test photos, each attribute of each photo.

    Args:
        model: The model file.
        data_root: CelebA's folder.
        num_photos: How many of the first test photos to edit.
        picture: Where to write the portrait with every attribute turned, if anywhere.
        regions: Where to write the portrait with the region of every attribute lit, if anywhere.
    """
    recogniser = load_recogniser(Path("dlib"))
    if picture:
        turned(Editor(model)).save(picture)
    loaded = load(model)
    info = load_info(loaded)
    # An edit is then drawn once for all strengths.
    diffusion.MOST_KEPT = max(diffusion.MOST_KEPT, num_photos)
    data = load_dataset(CelebA(size=loaded.image_shape[-1]), data_root)
    judge = get_attribute_judge(data)
    assert judge
    means = stored_means(info.factors)
    split = data.test.first(num_photos)
    if regions:
        of_all = attribute_regions(judge, to_float(split.images, UNIT))
        lit(dict(zip((factor.name for factor in info.factors), of_all, strict=True))).save(regions)
    scores = edit_scores(loaded, split, judge, data.attributes, means, PASTED_STRENGTHS, pasted=True)
    of_each = scores["per_attribute"]
    reached = {name: at_equal_disturbance(scores["strengths"], [each]) for name, each in of_each.items()}
    best = sorted(zip(judge.auc, of_each, strict=True), reverse=True)[:NUM_BEST]
    drift = identity_drift(loaded, data.test, data.attributes, means, recogniser, strength=1)
    model.with_suffix(".json").write_text(json.dumps({"edits": scores, "identity": drift}))
    rows = []
    for auc, (name, value) in sorted(zip(judge.auc, reached.items(), strict=True), key=lambda row: -row[1][1]):
        each, same = of_each[name], drift["same_person_per_attribute"][name]
        scores_at_one = each["preservation_error"][1], value, each["change_outside"][1], same
        rows.append((name, f"{auc:.3f}", *(f"{score:.2f}" for score in (*each["accuracy"][1:3], *scores_at_one))))
    print_table(("attribute", "AUC", "seen at 1", "at 2", "disturbed", "at 10 %", "outside", "same person"), rows)
    for key in ("accuracy", "preservation_error", "change_outside"):
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
    return sheet_of(captioned)


def lit(regions: dict[str, Tensor]) -> Image.Image:
    """The portrait's crop, darkened outside of each attribute's region."""
    photo = read_photo(PORTRAIT)
    face = crop(photo, find_faces(photo)[0], SIDE)

    def within(region: Tensor) -> Image.Image:
        inside = F.interpolate(region[None, None].float(), (SIDE, SIDE))[0]
        return Image.fromarray((face * (0.25 + 0.75 * inside)).byte().permute(1, 2, 0).numpy())

    return sheet_of([(name, within(region)) for name, region in regions.items()])


def sheet_of(captioned: list[tuple[str, Image.Image]]) -> Image.Image:
    """The images with their captions, in rows."""
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
