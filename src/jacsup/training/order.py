"""The order of a residual student's new units, found once it is trained."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from jacsup.code import Code
from jacsup.metrics.images import encode_all
from jacsup.metrics.jacobian import JACOBIAN_CHUNK, decoder_jacobian
from jacsup.models.residual import ResidualAutoencoder

# Training images whose Jacobians are averaged.
NUM_DIFFERENTIATED = 1024


def order_units(model: ResidualAutoencoder, images: UInt8[Tensor, "n c h w"]) -> None:
    """Turn the new units into uncorrelated ones of variance 1, the first of which move the images most.

    This is the PCA of what the decoder does to first order: of J z, with J the Jacobian in z at each image. Images and
    swaps stay as they are. Nothing happens to a model without new units.

    Args:
        model: The model, in evaluation mode.
        images: The training images.
    """
    known, added = model.teacher.num_units, model.num_new_units
    if not added:
        return
    units = encode_all(model, images)
    codes = Code.of_units(units[:NUM_DIFFERENTIATED])
    energy = _mean_product(model, codes)[known:, known:]
    # Of a single unit, cov returns a number.
    model.turn(_basis(units[:, known:].T.cov().reshape(added, added), energy).to(model.basis))


def _mean_product(model: ResidualAutoencoder, codes: Code) -> Float[Tensor, "u u"]:
    """The mean of J^T J over some codes, J being the decoder's Jacobian in all units."""
    total = torch.zeros(())
    for units in codes.units.split(JACOBIAN_CHUNK):
        rows = decoder_jacobian(model, Code.of_units(units), model.num_units)
        total = total + torch.einsum("ibp,jbp->ij", rows, rows).cpu().double()
    return total / len(codes.units)


def _basis(covariance: Float[Tensor, "u u"], energy: Float[Tensor, "u u"]) -> Float[Tensor, "u u"]:
    """The matrix B whose columns make units z B of covariance 1 and of a diagonal, falling energy."""
    covariance = covariance.cpu().double()
    # A unit that never changes has no spread to divide by.
    least = 1e-6 * covariance.diagonal().mean() + 1e-12
    spread = torch.linalg.cholesky(covariance + least * torch.eye(len(covariance)))
    directions = torch.linalg.eigh(spread.T @ energy @ spread).eigenvectors.flip(1)
    # An eigenvector's sign is free: its largest entry becomes positive.
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    return torch.linalg.solve_triangular(spread.T, directions * largest.sign(), upper=True)
