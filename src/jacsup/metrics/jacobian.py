"""How well a student's decoder preserves its teacher's Jacobian in the factors."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.func import jvp

from jacsup import losses
from jacsup.code import Code, to_float
from jacsup.metrics.images import CHUNK, chunk_size, code_of
from jacsup.models import Autoencoder, device_of

# Images whose Jacobians are in memory at once; a Jacobian is k times as large as its image.
JACOBIAN_CHUNK = 32


def decoder_jacobian(model: Autoencoder, code: Code, num_factors: int) -> Float[Tensor, "k b p"]:
    """Return dD(y, z)/dy_i for i < num_factors, by forward-mode differentiation.

    Args:
        model: The model whose decoder is differentiated.
        code: The codes of b images.
        num_factors: The number k of factors, the first of the code.

    Returns:
        One row of p = channels * height * width derivatives for each factor and image, shape (k, b, p).
    """
    code = code.split(num_factors)
    y, z = code.y.detach(), code.z.detach()

    def column(i: int) -> Tensor:
        direction = torch.zeros_like(y)
        direction[:, i] = 1
        derivative = jvp(lambda y: model.decode(Code(y, z)), (y,), (direction,))[1]
        return derivative.flatten(1).detach()

    return torch.stack([column(i) for i in range(num_factors)])


def jacobian_error(
    student: Autoencoder, teacher: Autoencoder, images: UInt8[Tensor, "n c h w"], num_factors: int | None = None
) -> float:
    """Return mean ||J_S - J_T||_F / mean ||J_T||_F, each at the model's own code of the same images.

    0 is exact agreement. The Jacobians are exact, computed by forward-mode differentiation.

    Args:
        student: The student.
        teacher: The teacher.
        images: The images to compare them on.
        num_factors: How many of the teacher's factors to compare. Defaults to all of them.
    """
    k = teacher.num_units if num_factors is None else min(num_factors, teacher.num_units)
    norms = []
    for part in images.split(JACOBIAN_CHUNK):
        x = to_float(part.to(device_of(student)), student.value_range)
        with torch.no_grad():
            code_student, code_teacher = student.encode(x), teacher.encode(x)
        of_teacher = decoder_jacobian(teacher, code_teacher, k)
        difference = decoder_jacobian(student, code_student, k) - of_teacher
        norms.append(torch.stack([_frobenius(difference), _frobenius(of_teacher)]))
    error, size = torch.cat(norms, dim=1).mean(dim=1)
    return float(error / size)


def _frobenius(jacobian: Float[Tensor, "k b p"]) -> Float[Tensor, " b"]:
    return jacobian.square().sum(dim=(0, 2)).sqrt()


@torch.no_grad()
def finite_difference_error(student: Autoencoder, teacher: Autoencoder, images: UInt8[Tensor, "n c h w"]) -> float:
    """Return the second term of eq. 9, the finite difference that training minimises, in squared units of value_range.

    Args:
        student: The student.
        teacher: The teacher.
        images: The images to compare them on; 2,000 of them if there are more.
    """
    # Partners are neighbours, and test images may come sorted by class.
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:CHUNK]
    images = images[order.to(images.device)]
    pairs = [(model, code_of(model, images).split(teacher.num_units)) for model in (student, teacher)]
    errors = []
    for rows in torch.arange(len(images)).split(chunk_size(images)):
        outputs = [
            model.decode(Code(code.y[factors], code.z[rows])) for model, code in pairs for factors in (rows, rows - 1)
        ]
        errors.append(losses.jacobian_difference(*outputs) * len(rows))
    return float(torch.stack(errors).sum()) / len(images)
