from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_models import FACTORS, ForeignFaces, ForeignUnits, attribute_info, attribute_model, unit_info
from PIL import Image

import jacsup
from jacsup import edit
from jacsup.align import Similarity
from jacsup.cli import main as cli
from jacsup.code import Code
from jacsup.config import Conv
from jacsup.edit import Editor
from jacsup.models import save_model
from jacsup.models.conv import ConvAutoencoder


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return attribute_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def editor(model_file: Path) -> Editor:
    return Editor(model_file)


def photo(width: int = 90, height: int = 70, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 5, width // 5, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def opened(path: str) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.mode == b.mode and np.array_equal(np.asarray(a), np.asarray(b))


def test_a_loaded_model_edits_as_its_file_does(model_file: Path, editor: Editor) -> None:
    model = jacsup.load(model_file)
    assert same(Editor(model)(photo(), align=False, Smiling=2), editor(photo(), align=False, Smiling=2))
    model.source = None
    with pytest.raises(ValueError, match=r"^ConvAutoencoder was not loaded from a file.*describe\(model, data\)"):
        Editor(model)


def test_a_morph_interpolates_codes(editor: Editor) -> None:
    first, last = (editor.open(photo(*size), align=False) for size in ((90, 70), (70, 90)))
    start, middle, end = editor.morph(first, last, [0, 0.5, 1], {})
    assert same(start, editor.pictures(first.code)[0]) and same(end, editor.pictures(last.code)[0])
    between = Code((first.code.y + last.code.y) / 2, (first.code.z + last.code.z) / 2)
    assert same(middle, editor.pictures(between)[0])
    # An attribute that is set holds on all of the way.
    smiling = editor.morph(first, last, [0.5], {"Smiling": 2})[0]
    assert same(smiling, editor.pictures(editor.changed(between, {"Smiling": 2}))[0]) and not same(smiling, middle)
    with pytest.raises(ValueError, match=r"the shares are -0.5, 2; must be between 0 and 1"):
        editor.morph(first, last, [-0.5, 2], {})


def test_photos_are_not_morphed_by_a_model_whose_code_contains_them() -> None:
    editor = Editor("photos")
    face = editor.open(photo(), align=False)
    with pytest.raises(ValueError, match="cannot morph photos, as its code contains the image itself; use a model"):
        editor.morph(face, face, [0.5], {})


def test_a_model_from_elsewhere_edits_photos() -> None:
    model = ForeignFaces().eval()
    editor = Editor(model, info=attribute_info())
    edited = editor(photo(), align=False, Smiling=2)
    assert edited.size == (90, 70) and not same(edited, photo())
    face = editor.open(photo(), align=False)
    assert editor.read(replace(face, code=editor.changed(face.code, {"Smiling": 2})))["Smiling"] == pytest.approx(2)
    with pytest.raises(ValueError, match=r"^ForeignFaces was not loaded from a file"):
        Editor(model)


def test_a_model_from_elsewhere_must_fit_its_info() -> None:
    with pytest.raises(ValueError, match=r"^ForeignUnits has an ordered code without attributes"):
        Editor(ForeignUnits(), info=unit_info())
    with pytest.raises(ValueError, match=r"^ForeignUnits has 3 factors, but info describes 4"):
        Editor(ForeignUnits(), info=attribute_info())
    model = ForeignFaces()
    model.image_shape = (1, 16, 16)
    with pytest.raises(ValueError, match=r"^ForeignFaces takes images of 1x16x16.*use a model of square RGB images"):
        Editor(model, info=attribute_info())


def test_the_old_name_of_an_opened_photo_works_for_one_release() -> None:
    with pytest.warns(DeprecationWarning, match="OpenedPhoto"):
        assert edit.Face is edit.OpenedPhoto
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        edit.Nothing  # noqa: B018


def test_nothing_set_returns_the_photo(editor: Editor) -> None:
    assert same(editor(photo(), align=False), photo())
    assert same(editor(photo(), align=False, detail=0.3), photo())


def test_an_edit_changes_the_crop_and_nothing_else(editor: Editor) -> None:
    edited = np.asarray(editor(photo(), align=False, Smiling=2)).astype(int)
    assert edited.shape == (70, 90, 3)
    change = np.abs(edited - np.asarray(photo()).astype(int))
    assert change[:, 10:80].max() > 0
    assert change[:, :10].max() == change[:, 80:].max() == 0


def test_strengths_are_read_as_they_are_set(editor: Editor) -> None:
    face = editor.open(photo(), align=False)
    code = editor.changed(face.code, {"Smiling": 1.5, "Blond_Hair": -0.25})
    assert code.y[0, 0].item() == pytest.approx(-0.25 + 1.5 * 0.75)
    assert code.y[0, 2].item() == pytest.approx(-0.5 - 0.25 * 1.5)
    assert code.y[0, [1, 3]].equal(face.code.y[0, [1, 3]]) and code.z.equal(face.code.z)
    read = editor.read(replace(face, code=code))
    assert read == {
        "Smiling": pytest.approx(1.5),
        "Blond_Hair": pytest.approx(-0.25),
        "Bald": pytest.approx(read["Bald"]),
    }


def test_what_an_attribute_excludes_is_taken_off(editor: Editor) -> None:
    code = editor.open(photo(), align=False).code
    read = editor.strengths(
        replace(editor.open(photo(), align=False), code=editor.changed(code, {"Bald": 2})), ["Blond_Hair"]
    )
    assert read["Blond_Hair"] == pytest.approx(-1)
    both = editor.changed(code, {"Bald": 2, "Blond_Hair": 0.5})
    assert both.y[0, 2].item() == pytest.approx(-0.5 + 0.5 * 1.5), "what is set stays as it is set"
    off = editor.changed(code, {"Bald": -1})
    assert off.y[0, 2].item() == code.y[0, 2].item(), "taking one off says nothing of the others"
    assert both.y[0, 3].item() == code.y[0, 3].item(), "what was not learned stays"


def narrow(**changed: float) -> Editor:
    """An editor whose first attribute has a narrow spread in the training images."""
    smiling, *others = FACTORS
    smiling = replace(smiling, p01=-1.0, p99=0.5, **changed)
    return Editor(ForeignFaces(), info=replace(attribute_info(), factors=(smiling, *others)))


def test_a_slider_reaches_at_least_from_minus_two_to_two() -> None:
    assert narrow().reach("Smiling") == (-2, 2)


def test_an_attribute_is_learned_from_a_difference_of_a_fifth() -> None:
    narrow(m_minus=0.0, m_plus=0.2).reach("Smiling")
    with pytest.raises(ValueError, match=r"has not learned 'Smiling': .* by less than 0\.2;"):
        narrow(m_minus=0.0, m_plus=0.199).reach("Smiling")


def test_most_of_the_photos_detail_stays_by_default(editor: Editor) -> None:
    most, less, more = (editor(photo(), align=False, detail=detail, Smiling=2) for detail in (0.8, 0.78, 0.82))
    assert same(editor(photo(), align=False, Smiling=2), most) and not same(less, most) and not same(more, most)
    face = editor.open(photo(), align=False)
    assert same(editor.render(face, {"Smiling": 2}), most)
    assert same(editor.swept(face, "Smiling", {}, [2], side=90)[0], most)
    assert same(editor.sweep(face, "Smiling", {}, side=90).crop((5 * 90, 0, 6 * 90, 70)), most)


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ({"Smilling": 1}, "the model has no attribute 'Smilling'; did you mean 'Smiling'?"),
        ({"Blurry": 1}, "the model has not learned 'Blurry'"),
    ],
)
def test_attributes_that_cannot_be_set_are_refused(editor: Editor, strengths: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        editor(photo(), align=False, **strengths)


def test_one_of_several_faces_is_opened(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [Similarity(40 + 0j, 0j), Similarity(20 + 0j, 10j)]
    monkeypatch.setattr(edit, "find_faces", lambda _photo: places)
    for number, place in enumerate(places, start=1):
        found = editor.open(photo(), face=number)
        assert found.place == place
        assert found.faces == tuple(places)
    for number in (0, 3):
        with pytest.raises(
            ValueError, match=rf"face is {number}; must be between 1 \(the largest\) and 2, the number of faces found"
        ):
            editor.open(photo(), face=number)
    with pytest.raises(ValueError, match=r"face is 2; must be between 1 \(the largest\) and 1, the number"):
        editor.open(photo(), align=False, face=2)


def test_a_grey_photo_stays_grey(editor: Editor, tmp_path: Path) -> None:
    colours = photo()
    colours.convert("L").save(tmp_path / "grey.png")
    colours.convert("L").convert("RGB").save(tmp_path / "grey.jpg")
    colours.save(tmp_path / "colours.png")
    for name in ("grey.png", "grey.jpg"):
        plain, edited = (np.asarray(editor(tmp_path / name, align=False, **set)) for set in ({}, {"Smiling": 3}))
        assert np.ptp(edited.astype(int), axis=2).max() == 0
        assert not np.array_equal(edited, plain)
    edited = np.asarray(editor(tmp_path / "colours.png", align=False, Smiling=3))
    assert np.ptp(edited.astype(int), axis=2).max() > 50


def test_detail_has_a_range(editor: Editor) -> None:
    with pytest.raises(ValueError, match=r"detail is 1\.5; must be between 0 and 1"):
        editor(photo(), align=False, detail=1.5, Smiling=1)


def test_a_photo_unlike_the_training_images_is_named(editor: Editor) -> None:
    assert editor.open(photo(), align=False).warnings == ()
    typical = editor.info.typical
    assert typical is not None
    strict = Editor.__new__(Editor)
    strict.__dict__ = {**editor.__dict__, "info": replace(editor.info, typical=replace(typical, mse=0.0, distance=0.0))}
    (warning,) = strict.open(photo(), align=False).warnings
    assert warning.startswith("this photo is unlike the training images: its reconstruction error is larger and its")


def test_models_without_attributes_are_refused(tmp_path: Path) -> None:
    model = ConvAutoencoder(Conv(channels=(4, 4)), (3, 32, 32), 3, 0).eval()
    save_model(tmp_path / "m.safetensors", model, unit_info())
    with pytest.raises(ValueError, match="ordered code without attributes"):
        Editor(tmp_path / "m.safetensors")


def test_the_command_edits_sweeps_swaps_and_reads(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo().save(tmp_path / "a.png")
    photo(60, 80).save(tmp_path / "b.png")
    monkeypatch.chdir(tmp_path)

    def edit(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["jacsup", "edit", str(model_file), "a.png", "--no-align", *arguments])
        cli.main()
        return capsys.readouterr().out

    edit("--set", "Smiling=2", "Bald=1", "-o", "set.png")
    assert same(opened("set.png"), Editor(model_file)("a.png", align=False, Smiling=2, Bald=1))
    strengths = json.loads(edit("--read", "--json"))
    assert set(strengths) == {"Smiling", "Bald", "Blond_Hair"}
    assert "Smiling" in edit("--read")
    own = Editor(model_file).read(Editor(model_file).open("a.png", align=False))
    assert strengths == pytest.approx(own, abs=1e-4)
    edit("--add", "Smiling=0.5", "-o", "add.png")
    assert same(opened("add.png"), Editor(model_file)("a.png", align=False, Smiling=own["Smiling"] + 0.5))
    edit("--like", "b.png:Smiling,Bald", "-o", "like.png")
    other = Editor(model_file).read(Editor(model_file).open("b.png", align=False))
    expected = Editor(model_file)("a.png", align=False, Smiling=other["Smiling"], Bald=other["Bald"])
    assert same(opened("like.png"), expected)
    edit("--set", "smiling=+.5e0", "blond hair=-1", "-o", "a.jpg")
    assert opened("a.jpg").mode == "RGB"
    edit("--like", "b.png:Smiling", "--like", "b.png:Bald", "-o", "likes.png")
    assert same(opened("likes.png"), expected)
    (tmp_path / "settings.json").write_text(json.dumps({"strengths": {"Smiling": 2, "Bald": 0}, "detail": 0.25}))
    edit("--settings", "settings.json", "--set", "Bald=1", "-o", "kept.png")
    assert same(opened("kept.png"), Editor(model_file)("a.png", align=False, detail=0.25, Smiling=2, Bald=1))
    edit("--settings", "settings.json", "--detail", "1", "-o", "kept.png")
    assert same(opened("kept.png"), Editor(model_file)("a.png", align=False, detail=1, Smiling=2, Bald=0))
    clear = photo().convert("RGBA")
    clear.putalpha(0)
    clear.save("clear.png")
    monkeypatch.setattr(
        "sys.argv", ["jacsup", "edit", str(model_file), "clear.png", "--no-align", "--set", "Bald=1", "-o", "white.jpg"]
    )
    cli.main()
    assert np.asarray(Image.open("white.jpg")).min() > 250
    edit("--set", "Smiling=2", "--set", "Bald=1", "-o", "sets.png")
    assert same(opened("sets.png"), opened("set.png"))
    edit("--sweep", "Smiling")
    assert opened("a-sweep.png").size == (7 * 90, 70)
    edit("--sweep", "Smiling", "--set", "Bald=1", "-o", "bald.png")
    assert same(opened("bald.png").crop((5 * 90, 0, 6 * 90, 70)), opened("set.png"))
    edit("--morph", "b.png")
    between = opened("a-morph.png")
    codes = [Editor(model_file).open(name, align=False).code for name in ("a.png", "b.png")]
    for place, code in zip((0, 6), codes, strict=True):
        assert same(between.crop((place * 256, 0, (place + 1) * 256, 256)), Editor(model_file).pictures(code)[0])
    edit("--morph", "b.png", "-o", "morph.gif")
    with Image.open("morph.gif") as morph:
        assert (morph.n_frames, morph.size) == (48, (256, 256))  # pyright: ignore[reportAttributeAccessIssue]
    edit("--sweep", "Smiling", "-o", "moving.gif")
    with Image.open("moving.gif") as moving:
        # From -3 to 3 and back in quarters, the first and last not twice.
        assert (moving.format, moving.n_frames, moving.size, moving.info["loop"]) == ("GIF", 48, (90, 70), 0)  # pyright: ignore[reportAttributeAccessIssue]
        moving.seek(20)
        shown = moving.convert("RGB")
    # A palette of 256 colours keeps little, but more than what two strengths differ by.
    truths = [Editor(model_file)("a.png", align=False, Smiling=strength) for strength in (2, -2)]
    far = [np.abs(np.asarray(shown).astype(int) - np.asarray(truth)).mean() for truth in truths]
    assert far[0] < 15 and far[0] < far[1]
    photo(900, 700).save("large.png")
    face = Editor(model_file).open("large.png", align=False)
    (small,) = Editor(model_file).swept(face, "Smiling", {}, [2], side=90)
    large = Editor(model_file)("large.png", align=False, Smiling=2).resize((90, 70), Image.Resampling.LANCZOS)
    assert small.size == (90, 70) and np.abs(np.asarray(small).astype(int) - np.asarray(large)).mean() < 1
    edit("--set", "SMILING=2")
    assert same(opened("a-edited.png"), Editor(model_file)("a.png", align=False, Smiling=2))


def test_the_command_edits_many_photos(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["jacsup", "edit", str(model_file), *arguments, "--no-align"])
        cli.main()
        return capsys.readouterr().out

    def expected(name: str) -> Image.Image:
        return Editor(model_file)(name, align=False, Smiling=2)

    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    photo().save("a.png")
    photo(60, 80).save("photos/b.PNG")
    photo(50, 50).save("photos/c.jpg")
    Path("photos/notes.txt").write_text("no photo")
    assert "edited 3 photos; the results are in out" in edit("a.png", "photos", "--set", "Smiling=2", "-o", "out")
    assert {path.name for path in Path("out").iterdir()} == {"a-edited.png", "b-edited.png", "c-edited.png"}
    for name in ("a.png", "photos/b.PNG", "photos/c.jpg"):
        assert same(opened(f"out/{Path(name).stem}-edited.png"), expected(name))
    for _ in range(2):
        # The second time, the first one's results are there too.
        assert "edited 2 photos; the results are in the folders" in edit("photos", "--set", "Smiling=2")
    assert len(list(Path("photos").iterdir())) == 5
    edit("a.png", "--set", "Smiling=2", "-o", "photos")
    assert same(opened("photos/a-edited.png"), expected("a.png"))
    strengths = json.loads(edit("a.png", "photos/b.PNG", "--read", "--json"))
    assert list(strengths) == ["a.png", "photos/b.PNG"] and set(strengths["a.png"]) == {"Smiling", "Bald", "Blond_Hair"}
    Path("photos/d.png").write_text("damaged")
    with pytest.raises(SystemExit) as stopped:
        edit("photos", "--set", "Smiling=2", "-o", "more")
    told = capsys.readouterr().err
    assert stopped.value.code == 2 and "d.png cannot be read as a photo" in told and "1 of 4 photos could not" in told
    # The photo that a-edited.png was made of is elsewhere, so that it is a photo here.
    assert {path.name for path in Path("more").iterdir()} == {f"{name}-edited.png" for name in ("a-edited", "b", "c")}


def test_the_command_reads_and_writes_streams(model_file: Path, tmp_path: Path) -> None:
    photo().save(tmp_path / "a.png")
    command = [sys.executable, "-m", "jacsup", "edit", str(model_file), "-", "--no-align", "--set", "Smiling=2"]
    done = subprocess.run(command, input=(tmp_path / "a.png").read_bytes(), capture_output=True, check=True)
    result = Image.open(io.BytesIO(done.stdout))
    assert same(result, Editor(model_file)(tmp_path / "a.png", align=False, Smiling=2))
    assert result.format == "PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "Smiling=much"), "--set is 'Smiling=much'; use NAME=NUMBER"),
        (("--set", "Smiling"), "--set is 'Smiling'"),
        (("--set", "Smiling=nan"), "--set is 'Smiling=nan'"),
        (("--like", "b.png"), "--like is 'b.png'; use PHOTO:NAME,NAME"),
        ((), "no edit was given; pass --set NAME=NUMBER"),
        (("-o", "a.jpg"), "no edit was given"),
        (("--set", "Smiling=1_0"), "--set is 'Smiling=1_0'; use NAME=NUMBER"),
        (("--add", "Unknown=1"), "the model has no attribute 'Unknown'"),
        (("--like", "a.png:Smiling, Hat"), "the model has no attribute 'Hat'"),
        (("b.png", "--set", "Smiling=1", "-o", "x.png"), "--out is 'x.png'; with several photos it must be a folder"),
        (("b.png", "--set", "Smiling=1", "-o", "-"), "--out is '-'; with several photos"),
        (("c/a.png", "--set", "Smiling=1", "-o", "d"), "two photos would be saved as d/a-edited.png; rename one"),
        (
            ("--detail", "much", "--set", "Smiling=1"),
            "error parsing --detail: 'much' is not a number; run",
        ),
        (("--sweep", "Hat"), "the model has no attribute 'Hat'"),
        (("--morph", "b.png"), "b.png cannot be read as a photo: No such file"),
        (("--morph", "a.png", "--sweep", "Bald"), "--sweep and --morph cannot be combined"),
        (("--read", "--morph", "a.png"), "--read only prints strengths; omit --set"),
        (("--set", "=1"), "--set is '=1'"),
        (("--set", "Smiling=1e39"), "Smiling is 1e+39; must be between -100 and 100"),
        (("--like", ":Smiling"), "--like is ':Smiling'"),
        (("--like", "a.png:"), "--like is 'a.png:'"),
        (("--like", "b.png:Smiling"), "b.png cannot be read as a photo: No such file"),
        (("--read", "--set", "Smiling=1"), "--read only prints strengths; omit --set"),
        (("--json",), "--json needs --read; add --read"),
        (("--settings", "none.json"), "--settings none.json: No such file or directory; pass a file saved by the"),
        (("--settings", "a.png"), "--settings a.png contains no settings; pass a JSON file saved by the editor"),
        (("--set", "Smiling=1", "--device", "meta"), "device is 'meta'; must be auto, cpu, cuda, cuda:N or mps"),
        (("--set", "Smiling=1", "--device", "cuda:99"), "device is 'cuda:99', but torch finds"),
        (("--set", "Smiling=1", "-o", "out.txt"), "cannot write 'out.txt': its extension must be one of .png, .jpg"),
        (("--set", "Smiling=1", "-o", "out.gif"), "cannot write 'out.gif': its extension must be one of .png, .jpg"),
        (("--set", "Smiling=1", "-o", "out.psd"), "cannot write 'out.psd': its extension must be one of"),
        (("--set", "Smiling=1", "-o", "a.png"), "cannot write 'a.png': it is the photo itself; use another name"),
        (
            ("--set", "Smiling=1", "-o", "a.png/out.png"),
            "cannot write 'a.png/out.png': it is a folder, or a part of its path is a file",
        ),
    ],
)
def test_what_the_command_cannot_do_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo().save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["jacsup", "edit", str(model_file), "a.png", *arguments, "--no-align"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith(f"jacsup: {message}")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png"}
