from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jacsup.code import Code
from jacsup.config import Conv, Growth
from jacsup.models.conv import ConvAutoencoder, Up
from jacsup.models.grow import grow

SMALL = Conv(channels=(4, 6, 8))


def make(
    num_units: int = 3, z_channels: int = 5, *, size: int = 32, normalized: bool = False, **config: Any
) -> ConvAutoencoder:
    """A model whose batch statistics are not those of a new one."""
    torch.manual_seed(0)
    model = ConvAutoencoder(replace(SMALL, **config), (3, size, size), num_units, z_channels, normalized=normalized)
    for _ in range(5):
        model.decode(model.encode(torch.rand(8, 3, size, size) * 2 - 1))
    return model.eval()


def images(count: int = 4, size: int = 32) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def naive_decode(model: ConvAutoencoder, code: Code) -> Tensor:
    """A.2 as it is written: y as constant channels, concatenated to every layer's input."""
    side = model.decoder.map_side
    maps = code.z.reshape(len(code.z), model.z_channels, side, side)
    layers = [*model.decoder.layers, model.decoder.to_image]
    for layer, norm in zip(layers, [*model.decoder.norms, None], strict=True):
        assert isinstance(layer, Up) and layer.y_weight is not None
        constant = code.y[:, :, None, None].expand(-1, -1, *maps.shape[2:])
        weight = torch.cat([layer.weight, layer.y_weight])
        maps = F.conv_transpose2d(torch.cat([maps, constant], 1), weight, layer.bias, stride=2, padding=1)
        maps = norm(maps).relu() if norm else maps.tanh()
    return maps


@pytest.mark.parametrize("size", [32, 64, 128])
def test_constant_channels_without_concatenation_agree_with_concatenation(size: int) -> None:
    model = make(size=size).double()
    code = model.encode(images(size=size).double())
    assert model.decode(code).allclose(naive_decode(model, code), atol=1e-12)


def test_an_ordered_code_without_z_decodes_at_any_depth() -> None:
    for channels in ((4,), (4, 6), (4, 6, 8)):
        model = make(z_channels=0, size=64, channels=channels).double()
        code = model.encode(images(size=64).double())
        assert code.z.shape == (4, 0)
        assert model.decode(code).allclose(naive_decode(model, code), atol=1e-12)


def test_their_gradients_agree_too() -> None:
    model = make(size=64).double().train()
    code = model.encode(images(size=64).double())
    code = Code(code.y.detach().requires_grad_(), code.z.detach().requires_grad_())
    target = images(size=64).double().roll(1, 0)
    inputs = [code.y, code.z, *model.decoder.parameters()]
    ours, naive = (
        torch.autograd.grad((decode(code) - target).square().mean(), inputs)
        for decode in (model.decode, lambda code: naive_decode(model, code))
    )
    for a, b in zip(ours, naive, strict=True):
        assert a.allclose(b, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "channels", "z_channels", "code_size"),
    [(256, (16, 32, 64, 128, 256, 512), 512, 2048), (64, (16, 32, 64, 128), 128, 512), (32, (16, 32, 64), 64, 256)],
)
def test_the_model_is_appendix_a2(size: int, channels: tuple[int, ...], z_channels: int, code_size: int) -> None:
    model = ConvAutoencoder(Conv(channels=channels), (3, size, size), 40, z_channels)
    assert model.code_size == 40 + code_size
    convolutions = [module for module in model.encoder.modules() if isinstance(module, nn.Conv2d)]
    assert [layer.weight.shape[0] for layer in convolutions] == [*channels, 40 + z_channels]
    assert {(layer.kernel_size, layer.stride, layer.padding) for layer in convolutions} == {((4, 4), (2, 2), (1, 1))}
    assert len([m for m in model.encoder.modules() if isinstance(m, nn.BatchNorm2d)]) == len(channels) - 1
    up = [layer for layer in model.decoder.layers if isinstance(layer, Up)]
    inputs = (z_channels, *channels[:0:-1])
    assert [layer.weight.shape[:2] for layer in up] == [*zip(inputs, channels[::-1], strict=True)]
    assert len(model.decoder.norms) == len(channels)


def test_the_code_reaches_both_signs_and_a_block_hardly_does() -> None:
    code, block = make().encode(images()), make(code_block=True).encode(images())
    assert code.y.min() < 0 < code.y.max()
    assert len([m for m in make(code_block=True).encoder.modules() if isinstance(m, nn.LeakyReLU)]) == 4
    assert block.y.shape == code.y.shape


@pytest.mark.parametrize("code_block", [False, True])
@pytest.mark.parametrize("z_channels", [5, 6, 20])
def test_a_student_with_more_channels_starts_with_its_teachers_output(z_channels: int, code_block: bool) -> None:
    teacher = make(code_block=code_block)
    student = grow(teacher, 3, z_channels, Growth()).eval()
    code, teacher_code = student.encode(images()), teacher.encode(images())
    assert code.y.allclose(teacher_code.y, atol=1e-6)
    assert code.z[:, : teacher_code.z.shape[1]].allclose(teacher_code.z, atol=1e-6)
    assert student.decode(code).allclose(teacher.decode(teacher_code), atol=1e-6)
    assert z_channels == 5 or code.z[:, 20:].std() > 0, "new channels must vary, or they never learn"


def test_an_ordered_code_grows_by_units_and_its_batch_norm_is_folded() -> None:
    teacher = make(2, 0, normalized=True)
    student = grow(teacher, 3, 0, Growth()).eval()
    assert teacher.normalized and not student.normalized
    assert student.encode(images()).y[:, :2].allclose(teacher.encode(images()).y, atol=1e-5)
    assert student.decode(student.encode(images())).allclose(teacher.decode(teacher.encode(images())), atol=1e-5)
    code = student.encode(images())
    assert student.decode(code.split(2)).equal(student.decode(code)), "where the line is drawn changes nothing"


def test_the_last_layers_can_do_without_y() -> None:
    """With the other weights of y at zero, what is left of the decoder does not depend on y."""
    model = make(layers_without_y=2)
    assert [name for name in model.state_dict() if "y_weight" in name] == [
        "decoder.layers.0.y_weight",
        "decoder.layers.1.y_weight",
    ]
    code = model.encode(images())
    other = Code(code.y + 1, code.z)
    assert not model.decode(other).allclose(model.decode(code), atol=1e-3)
    for name, weight in model.named_parameters():
        if "y_weight" in name:
            weight.data.zero_()
    assert model.decode(other).equal(model.decode(code))
    student = grow(model, 3, 9, Growth()).eval()
    assert student.decode(student.encode(images())).allclose(model.decode(code), atol=1e-6)


def test_random_growth_changes_the_output() -> None:
    teacher = make()
    student = grow(teacher, 3, 9, Growth(new="random")).eval()
    assert not student.decode(student.encode(images())).allclose(teacher.decode(teacher.encode(images())), atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 48, 48), (3, 32, 64), (3, 16, 16), (3, 1024, 1024)])
def test_other_sizes_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=f"images are {shape[1]}x{shape[2]}.*must be square with a side of 32, 64"):
        ConvAutoencoder(SMALL, shape, 3, 5)


def test_too_many_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="at most log2"):
        ConvAutoencoder(Conv(channels=(4, 4, 4, 4, 4)), (3, 32, 32), 3, 5)
