"""The model of photographs: a classifier, a denoiser that is told the attributes, and the edits that it draws."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from crashes import stop_after
from golden_curves import follows_golden_curve
from PIL import Image
from small_faces import SMALL_EDITOR, small_photos
from torch import Tensor, nn

import jacsup
from jacsup import losses
from jacsup.code import Code
from jacsup.config import IMAGE_SIZES, Diffusion, Weights
from jacsup.data import draws, load_dataset
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Split
from jacsup.detail import growth_of_detail
from jacsup.edit import Editor
from jacsup.evaluate import evaluate
from jacsup.export import export
from jacsup.jsonable import set_field
from jacsup.metrics import calibration
from jacsup.metrics.attribute_judge import AttributeJudge
from jacsup.metrics.attributes import switchable
from jacsup.metrics.calibration import calibrated
from jacsup.models import Factor, ModelInfo, build, load, load_info
from jacsup.models.diffusion import DEVIATION, DiffusionEditor
from jacsup.objectives import Batch, diffusion
from jacsup.recipes import RECIPES, arms_of, with_arm, with_size
from jacsup.run import Run
from jacsup.training import epoch_scores

SHAPE = (3, 8, 8)


def editor(config: Diffusion = SMALL_EDITOR) -> DiffusionEditor:
    """An editor of 3 attributes, in float64, that changes something: a new denoiser's last layers are 0."""
    torch.manual_seed(0)
    model = build(config, SHAPE, 3, 3, normalized=False)
    assert isinstance(model, DiffusionEditor)
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    return model.double().eval().requires_grad_(False)


def images(count: int = 4) -> Tensor:
    return torch.rand(count, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(autouse=True)
def _few_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_scores, "NUM_EPOCH_EDITS", 4)
    monkeypatch.setattr(calibration, "NUM_PHOTOS", 4)


def test_a_photo_with_its_own_factors_is_itself() -> None:
    model, x = editor(), images()
    code = model.encode(x)
    assert code.z.equal(x.flatten(1)) and model.code_size == 3 + 3 * 8 * 8
    assert model.decode(code).equal(x)


def test_a_large_photo_is_classified_by_its_averages() -> None:
    small, large = (build(SMALL_EDITOR, (3, side, side), 3, 3, normalized=False) for side in (64, 128))
    large.encoder.load_state_dict(small.encoder.state_dict())
    photo = torch.rand(2, 3, 128, 128)
    averages = (photo[..., ::2, :] + photo[..., 1::2, :])[..., ::2] + (photo[..., ::2, :] + photo[..., 1::2, :])[
        ..., 1::2
    ]
    torch.testing.assert_close(large.encode(photo).y, small.encode(averages / 4).y)
    assert large.decode(Code(torch.ones(2, 3), photo.flatten(1))).shape == photo.shape


def test_edits_against_a_loop() -> None:
    """FlowEdit, one photo, factor and noise level at a time, with every factor's condition written out."""
    # The second level is below a 64th of the side, so the photo's detail follows the edit there.
    model, x = editor(replace(SMALL_EDITOR, noise_levels=(2.0, 0.1))), images(3)
    model.guidance.copy_(torch.tensor([[1.0, 2.0, 3.0], [0.5, 1.5, 2.5]]))
    model.places.uniform_()
    model.excluded[1, 2] = model.excluded[2, 0] = 1
    model.encoder.to_y.bias.add_(torch.tensor([1.5, -1.5, 0.0]))
    own = model.encode(x).y
    y = own + torch.tensor([[0.0, 1.5, 0.0], [-0.4, 0.0, 0.2], [0.0, 0.0, -3.0]])
    edited = model.decode(Code(y, x.flatten(1)))
    for photo, mine, wanted, result in zip(x, own.tolist(), y.tolist(), edited, strict=True):
        expected = photo
        for factor in range(3):
            difference = wanted[factor] - mine[factor]
            sign = 1.0 if difference > 0 else -1.0
            kept = [min(max(value, -1.0), 1.0) for value in mine]
            if difference > 0 and factor > 0:
                kept[{1: 2, 2: 0}[factor]] = -1.0
            source = [-sign if k == factor else value for k, value in enumerate(kept)]
            target = [sign if k == factor else value for k, value in enumerate(kept)]
            guidance = float(model.guidance[int(difference > 0), factor])
            places = model.places[int(difference > 0), factor]
            place = nn.Upsample(scale_factor=2, mode="bilinear")(places[None, None])[0]
            now = photo
            for number, (level, following) in enumerate([(2.0, 0.1), (0.1, 0.0)]):
                noise, sigma = model.noise[number] * level, torch.tensor([level], dtype=torch.float64)

                def denoised(image: Tensor, y: list[float], noise: Tensor = noise, at: Tensor = sigma) -> Tensor:
                    return model.denoise((image + noise)[None], at, torch.tensor([y], dtype=torch.float64))[0]

                share = 1 / (1 + level) / (1 + 1 / 16 / level)
                guided = denoised(now, source) + share * guidance * (denoised(now, target) - denoised(now, source))
                # The denoiser's pixels are in [-1, 1].
                share_kept = 1 + (growth_of_detail((now - photo) / 2, photo / 2).clamp(max=0) if number else 0)
                velocity = (now - guided - share_kept * (photo - denoised(photo, source))) / level
                now = now + (following - level) * velocity
            change = place * (now - photo)
            expected = expected + abs(difference) / max(2, 1 - sign * mine[factor]) * where_large(change) * change
        torch.testing.assert_close(result, expected)


def where_large(change: Tensor) -> Tensor:
    """A sigmoid of the share of the largest size, one pixel at a time."""
    size = change.abs().mean(dim=0)
    averages = torch.empty_like(size)
    for row in range(8):
        for column in range(8):
            window = size[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
            averages[row, column] = window.mean()
    return 1 / (1 + torch.exp((0.15 - averages / averages.max()) / 0.08))


def test_only_edited_photos_change_and_each_by_itself() -> None:
    model, x = editor(), images()
    code = model.encode(x)
    y = code.y.clone()
    y[1, 0], y[3, 2] = 1, -1
    edited = model.decode(Code(y, code.z))
    assert edited[[0, 2]].equal(x[[0, 2]]) and not edited[1].allclose(x[1])
    torch.testing.assert_close(edited[3:], model.decode(Code(y[3:], code.z[3:])))


def test_each_change_of_a_photo_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = editor(), images(2)
    code = model.encode(x)
    step, other = torch.tensor([0.0, 0.7, 0.0]), torch.tensor([0.4, 0.0, 0.0])
    counted = list[int]()
    model.decoder.register_forward_hook(lambda _module, inputs, _output: counted.append(len(inputs[0])))
    decode = model.decoding()
    one, both = slice(1), slice(2)
    steps: list[tuple[slice, Tensor, list[int]]] = [
        # Two passes at the first level, three at the second.
        (one, step, [2, 3]),
        (one, 2 * step, []),
        (one, -step, [2, 3]),
        (one, 3 * step + other, [2, 3]),
        (both, step, [2, 3]),
        (both, step - other, [4, 6]),
        (both, 2 * step + other, [2, 3]),
    ]
    for photos, change, passes in steps:
        counted.clear()
        moved = Code(code.y[photos] + change, code.z[photos])
        edited = decode(moved)
        assert counted == passes
        torch.testing.assert_close(edited, model.decode(moved))
    # The oldest are forgotten first.
    monkeypatch.setattr("jacsup.models.diffusion.MOST_KEPT", 1)
    for change, passes in [(2 * step, []), (other, [2, 3]), (step, [2, 3]), (step, [])]:
        counted.clear()
        decode(Code(code.y[one] + change, code.z[one]))
        assert counted == passes


def test_raising_an_attribute_does_not_lower_those_that_it_excludes() -> None:
    hair = [Attribute(name="Black_Hair", mutually_exclusive=("Blond_Hair",)), Attribute(name="Blond_Hair")]
    assert [each.mutually_exclusive for each in switchable(editor(), hair)] == [(), ()]
    assert switchable(build(RECIPES["faces-mini"].model, (3, 32, 32), 2, 4, normalized=False), hair) == hair


def test_a_change_of_twice_the_size_counts_twice() -> None:
    model, x = editor(), images()
    code = model.encode(x)
    step = torch.tensor([0.0, 0.7, 0.0])
    once, twice = (model.decode(Code(code.y + scale * step, code.z)) - x for scale in (1, 2))
    torch.testing.assert_close(twice, 2 * once)


def test_the_denoiser_keeps_an_image_without_noise_and_knows_the_attributes() -> None:
    model, x = editor(), images()
    sigma, y = torch.full((4,), 1e-4, dtype=torch.float64), torch.zeros(4, 3, dtype=torch.float64)
    torch.testing.assert_close(model.denoise(x, sigma, y), x, rtol=0, atol=1e-3)
    assert not model.denoise(x, sigma + 1, y).allclose(model.denoise(x, sigma + 1, y + 1))


def test_a_new_denoiser_shrinks_noise_as_the_best_linear_filter_does() -> None:
    torch.manual_seed(0)
    model = build(SMALL_EDITOR, SHAPE, 3, 3, normalized=False).double()
    assert isinstance(model, DiffusionEditor)
    model.requires_grad_(False)
    x, sigma = images(), torch.tensor([0.1, 0.5, 1.0, 5.0], dtype=torch.float64)
    for photo, level, restored in zip(x, sigma.tolist(), model.denoise(x, sigma, images()[:, :, 0, 0]), strict=True):
        torch.testing.assert_close(restored, photo * DEVIATION**2 / (DEVIATION**2 + level**2), rtol=0, atol=0.2 * level)


def test_the_loss_is_the_weighted_error_of_noised_images_told_the_shown_labels() -> None:
    model, x = editor(), images()
    labels = torch.tensor([[1.0, -1.0, math.nan], [-1.0, -1.0, 1.0], [1.0, 1.0, 1.0], [1.0, -1.0, -1.0]]).double()
    shown = torch.rand(4, 3) < 0.5
    sigma, noise = torch.tensor([0.2, 0.7, 1.5, 4.0], dtype=torch.float64), torch.randn(x.shape, dtype=torch.float64)
    batch = Batch(x, labels, sigma=sigma, noise=noise, shown=shown)
    update = diffusion(Weights(rec=1.0))
    loss = update.losses(model, batch, update.encode(model, batch))["rec"]
    total = 0.0
    for i in range(4):
        told = [float(v) if s and not math.isnan(v) else 0.0 for v, s in zip(labels[i], shown[i], strict=True)]
        restored = model.denoise((x[i] + sigma[i] * noise[i])[None], sigma[i : i + 1], torch.tensor([told]).double())
        level = float(sigma[i])
        total += (level**2 + 0.25) / (level * 0.5) ** 2 * float((restored[0] - x[i]).square().mean())
    assert float(loss) == pytest.approx(total / 4)


def test_the_denoising_loss_is_one_for_the_best_linear_filter_of_white_images() -> None:
    x = DEVIATION * torch.randn(2000, 1, 4, 4, dtype=torch.float64)
    for level in (0.1, 1.0, 5.0):
        sigma = torch.full((2000,), level, dtype=torch.float64)
        filtered = (x + level * torch.randn_like(x)) * DEVIATION**2 / (DEVIATION**2 + level**2)
        assert float(losses.denoising(x, filtered, sigma, DEVIATION)) == pytest.approx(1, abs=0.05)


def test_noise_is_drawn_anew_and_the_same_again() -> None:
    at = {"seed": 3, "stage": 1, "epoch": 2}
    levels = draws.noise_levels(6400, 64, (-0.2, 1.1), **at)
    assert levels.shape == (100, 64) and levels.equal(draws.noise_levels(6400, 64, (-0.2, 1.1), **at))
    assert levels.log().mean() == pytest.approx(-0.2, abs=0.05) and levels.log().std() == pytest.approx(1.1, abs=0.05)
    shown = draws.shown_mask(6400, 64, 40, 0.8, **at)
    told = shown.any(dim=2)
    assert told.float().mean() == pytest.approx(0.9, abs=0.02) and shown[told].float().mean() == pytest.approx(
        0.8, abs=0.01
    )
    noise = [draws.noise((64, 3, 8, 8), torch.device("cpu"), step=step, **at) for step in (0, 0, 1)]
    assert noise[0].equal(noise[1]) and not noise[0].equal(noise[2])
    assert abs(float(noise[0].mean())) < 0.05 and float(noise[0].std()) == pytest.approx(1, abs=0.05)


def test_the_stages_train_the_classifier_then_the_denoiser_alone(tmp_path: Path) -> None:
    run = Run(jacsup.train(small_photos(), out=tmp_path / "run"))
    first, last = (load(run.stage_file(number)).state_dict() for number in (0, 1))
    assert all(first[name].equal(last[name]) for name in first if name.startswith("encoder.layers."))
    assert not any(first[name].equal(last[name]) for name in first if name == "decoder.from_image.weight")
    assert {"rec", "test_mse", "test_edit"} <= {*run.stats()[-1]} and "test_jacobian" not in run.stats()[-1]
    assert run.stats()[-1]["test_mse"] < 1e-12
    factors = load_info(run.path).factors
    # The denoiser is told labels, so -1 and 1 are an attribute's typical values.
    assert all((factor.m_minus, factor.m_plus, factor.mutually_exclusive) == (-1, 1, ()) for factor in factors)


def test_evaluation_judges_the_photo_that_a_person_would_see(tmp_path: Path) -> None:
    metrics: Any = evaluate(jacsup.train(small_photos(), out=tmp_path / "run"))
    assert metrics["mse"] < 1e-12 and metrics["jacobian_error"] is None and metrics["finite_difference_error"] is None
    assert metrics["edit"] == {key: value for key, value in metrics["edit_pasted"].items() if key != "change_outside"}


def test_losses_follow_the_golden_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small_photos()
    data, generator = load_dataset(recipe.data), torch.Generator().manual_seed(0)
    train, test = (
        replace(split, images=torch.randint(256, split.images.shape, dtype=torch.uint8, generator=generator))
        for split in (data.train, data.test)
    )
    follows_golden_curve(recipe, replace(data, train=train, test=test), "diffusion", tmp_path / "run", monkeypatch)


@pytest.mark.parametrize("steps_before_crash", [5, 17, 23])
def test_a_crash_is_resumed_bit_exactly(
    steps_before_crash: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = jacsup.train(small_photos(), out=tmp_path / "whole")
    stop_after(steps_before_crash, small_photos(), tmp_path / "cut", monkeypatch)
    jacsup.train(small_photos(), out=tmp_path / "cut")
    assert (tmp_path / "cut/model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_bfloat16_trains(tmp_path: Path) -> None:
    run = Run(jacsup.train(small_photos(), out=tmp_path / "run", precision="bfloat16"))
    assert math.isfinite(run.stats()[-1]["rec"])


def test_a_photo_is_edited_and_the_model_exported(tmp_path: Path) -> None:
    run = jacsup.train(small_photos(), out=tmp_path / "run")
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8))
    assert Editor(run)(photo, align=False, Smiling=1).size == photo.size
    encoder, decoder, _ = export(run, tmp_path / "export", "torch")
    model, x = load(run), torch.rand(3, *load(run).image_shape) * 2 - 1
    y, z = torch.export.load(encoder).module()(x)
    with torch.no_grad():
        code = model.encode(x)
        expected = model.decode(Code(code.y.roll(1, 0), code.z))
    torch.testing.assert_close(y, code.y, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.export.load(decoder).module()(y.roll(1, 0), z), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.channels", [12], r"model.channels is \(12,\); it must be one or more multiples of 8"),
        (
            "model.noise_levels",
            [1.0, 2.0],
            r"model.noise_levels is \(1.0, 2.0\); must be positive numbers in descending order",
        ),
        ("model.patch", 0, "model.patch is 0; it must be at least 1"),
        ("model.guidance", 0.0, "model.guidance is 0.0; it must be a positive number"),
        ("model.shown", 0.0, "model.shown is 0.0; it must be above 0"),
        ("model.log_sigma", [0.0, -1.0], "model.log_sigma is"),
        ("stages.1.objective", "residual", "z_channels is 3; it must be above 3"),
    ],
)
def test_what_cannot_be_trained_is_refused(path: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        set_field(RECIPES["photos"], path, value)


def test_other_models_cannot_be_trained_by_diffusion() -> None:
    with pytest.raises(ValueError, match="model is Conv; with the objective diffusion it must be Diffusion"):
        set_field(RECIPES["faces-mini"], "stages.1.objective", "diffusion")
    with pytest.raises(ValueError, match="edits attributes; set z_channels, not num_units"):
        replace(RECIPES["debug"], model=Diffusion())
    with pytest.raises(ValueError, match="z_channels is 4; it must be 3, because z is the image itself"):
        build(SMALL_EDITOR, SHAPE, 3, 4, normalized=False)
    with pytest.raises(ValueError, match="images are 8x6"):
        build(SMALL_EDITOR, (3, 8, 6), 3, 3, normalized=False)


def test_photos_come_in_other_sizes_and_have_no_arms() -> None:
    photos, smaller = RECIPES["photos"], with_size(RECIPES["photos"], 64)
    assert with_size(photos, 128) == photos and smaller.data == replace(photos.data, size=64)
    assert isinstance(smaller.model, Diffusion)
    assert smaller.model.noise_levels == (16, 8, 4, 2, 1, 0.5, 0.25, 0.125) and len(smaller.model.channels) == 3
    for size in IMAGE_SIZES:
        build(with_size(photos, size).model, (3, size, size), 40, 3, normalized=False)
    with pytest.raises(ValueError, match="recipe 'photos' has no student"):
        with_arm(RECIPES["photos"], "plain")
    assert arms_of(RECIPES["photos"]) == {}


def test_a_photos_own_factors_are_scaled_to_the_labels() -> None:
    """By hand: outputs of -.9 without and -.5 with an attribute become -1 and 1; an unlearned one stays."""
    model, split = editor(), Split(torch.zeros(4, *SHAPE, dtype=torch.uint8), attributes=torch.ones(4, 3))
    outputs = torch.tensor([[-0.9, 0.3, 0.1], [-0.5, 0.3, 0.1], [-0.9, 0.4, 0.1], [-0.5, 0.4, 0.1]]).double()
    labels = torch.tensor([[-1.0, -1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    features = torch.randn(4, model.encoder.to_y.in_features, dtype=torch.float64)
    # The last layer's weights with which these features have the outputs.
    solution = torch.linalg.lstsq(torch.cat([features, torch.ones(4, 1).double()], dim=1), outputs).solution
    model.encoder.to_y.weight.copy_(solution[:-1].T)
    model.encoder.to_y.bias.copy_(solution[-1])
    model.encoder.layers = nn.Sequential(Reader(features))
    attributes = [Attribute(name="a", mutually_exclusive=("c",)), Attribute(name="b"), Attribute(name="c")]
    calibration.standardise(model, replace(split, attributes=labels), attributes)
    assert model.excluded.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    expected = torch.tensor([[-1.0, 0.3, 0.1], [1.0, 0.3, 0.1], [-1.0, 0.4, 0.1], [1.0, 0.4, 0.1]]).double()
    torch.testing.assert_close(model.encode(images()).y, expected)


class Reader(nn.Module):
    """Maps of given features, whatever the images."""

    def __init__(self, features: Tensor):
        super().__init__()
        self.features = features

    def forward(self, _x: Tensor) -> Tensor:
        return self.features[:, :, None, None]


COLOURS = tuple(Attribute(name=name) for name in ("Red", "Green", "Blue"))


class Eye(nn.Module):
    """Sees red above .5, blue above .5 and green never, unless a red above .7 confuses it."""

    def forward(self, x: Tensor) -> Tensor:
        red, _, blue = x.mean(dim=(2, 3)).unbind(dim=1)
        return torch.stack([red - 0.5, red - 0.7, blue - 0.5], dim=1)


def brightening(monkeypatch: pytest.MonkeyPatch, columns: int = 8) -> DiffusionEditor:
    """A model whose factors are the colours: to add one brightens its channel in some columns."""
    model = editor().float()

    def encode(x: Tensor) -> Code:
        return Code(x.mean(dim=(2, 3)), x.flatten(1))

    def changes(x: Tensor, _own: Tensor, factors: Tensor, raised: Tensor) -> Tensor:
        change = torch.zeros_like(x)
        for photo, (factor, up) in enumerate(zip(factors.tolist(), raised.tolist(), strict=True)):
            # The colours are -.5 or .5, so an edit to 1 or -1 is three quarters of the way from the other end.
            change[photo, factor, :, :columns] = (0.1 if up else -0.2) * model.guidance[int(up), factor] / 0.75
        return change

    monkeypatch.setattr(model, "encode", encode)
    monkeypatch.setattr(model, "changes", changes)
    return model


def calibrate(model: DiffusionEditor, *values: list[float]) -> ModelInfo:
    """On images of one colour, given by the values of each channel or of all; an attribute is a value above .5."""
    pixels = torch.tensor(values).T.expand(-1, 3)
    images = (pixels * 255).round().to(torch.uint8)[:, :, None, None].expand(-1, *SHAPE).clone()
    split = Split(images, attributes=torch.where(pixels > 0.5, 1.0, -1.0))
    factors = tuple(
        Factor(name=each.name, mean=0.0, std=1.0, p01=-1.0, p99=1.0, m_minus=-1.0, m_plus=1.0) for each in COLOURS
    )
    info = ModelInfo(factors=factors, recipe="", data=RECIPES["photos"].data, metrics={})
    return calibrated(info, model, split, AttributeJudge(Eye(), (1.0,) * 3, (1.0,) * 3, (1.0,) * 3), COLOURS)


def test_calibration_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the strengths that are tried, shares are interpolated."""
    model = brightening(monkeypatch)
    dark, light = 0.25, 0.75
    unrelated = [dark, light] * 8, [dark, dark, light, light] * 4, ([dark] * 4 + [light] * 4) * 2
    red, green, blue = calibrate(model, *unrelated).factors
    # Added to .25, red is .45 at guidance 4 and .55 at 6: three of four are seen at 4 + .75 * 2.
    assert float(model.guidance[1, 0]) == pytest.approx(5.5) and float(model.guidance[1, 2]) == pytest.approx(5.5)
    # Taken from .75, red disturbs what is taken for green on the way, and 2 is the least; blue is .55 at 2, .45 at 3.
    assert float(model.guidance[0, 0]) == 2 and float(model.guidance[0, 2]) == pytest.approx(2.75)
    # What is taken for green does not depend on it: half of the photos are red.
    assert float(model.guidance[1, 1]) == 8 and float(model.guidance[0, 1]) == 4
    assert [red.seen, green.seen, blue.seen] == pytest.approx([0.375, 0.5, 0.75])


def test_calibration_lets_related_attributes_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all that is red is also green, red may disturb green, and as much of it is removed as of blue."""
    model = brightening(monkeypatch)
    calibrate(model, [0.25, 0.75] * 8)
    assert float(model.guidance[0, 0]) == pytest.approx(2.75) == float(model.guidance[0, 2])


def test_to_remove_what_most_photos_have_is_to_add_the_opposite(monkeypatch: pytest.MonkeyPatch) -> None:
    model = brightening(monkeypatch)
    calibrate(model, [0.25] * 4 + [0.75] * 12)
    # Taken from .75, red is -.05 at guidance 4; added to .25, .35 at 2 and .45 at 4.
    assert float(model.guidance[0, 0]) == 4 and float(model.guidance[1, 0]) == 4


def test_a_change_is_kept_where_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: 4 of 8 columns are 2 of 4, and the third is next to them."""
    model = brightening(monkeypatch, columns=4)
    calibrate(model, [0.25, 0.75] * 8)
    shares = torch.tensor([1, 2 / 3, 1 / 3, 0])
    torch.testing.assert_close(model.places, torch.sigmoid((shares - 0.25) / 0.08).expand(2, 3, 4, 4))


def test_calibration_does_not_depend_on_an_earlier_one() -> None:
    model = editor().float()
    calibrate(model, [0.25, 0.75] * 8)
    places, guidance = model.places.clone(), model.guidance.clone()
    model.places.uniform_()
    calibrate(model, [0.25, 0.75] * 8)
    assert model.places.equal(places) and model.guidance.equal(guidance)


def test_a_direction_with_too_few_photos_takes_what_the_other_has(monkeypatch: pytest.MonkeyPatch) -> None:
    model = brightening(monkeypatch)
    assert calibrate(model, [0.25] * 9 + [0.75]).factors[0].seen == pytest.approx(0.75)
    assert model.places[0].equal(model.places[1]) and bool((model.places > 0.99).all())
    assert (2 * model.guidance[0]).equal(model.guidance[1]) and float(model.guidance[1, 0]) == pytest.approx(5.5)
