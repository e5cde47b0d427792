"""Order the new units of a trained residual student."""

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
    """Rotate the new units so that they are uncorrelated, have variance 1 and change the images in descending order.

    This is a PCA of the decoder to first order, that is, of J z, with J the Jacobian in z at each image.
    Reconstructions and swaps do not change. A model without new units stays as it is.

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
    # For a single unit, cov returns a number.
    model.turn(_basis(units[:, known:].T.cov().reshape(added, added), energy).to(model.basis))


def _mean_product(model: ResidualAutoencoder, codes: Code) -> Float[Tensor, "u u"]:
    """The mean of J^T J over some codes, where J is the decoder's Jacobian in all units."""
    total = torch.zeros(())
    for units in codes.units.split(JACOBIAN_CHUNK):
        rows = decoder_jacobian(model, Code.of_units(units), model.num_units)
        total = total + torch.einsum("ibp,jbp->ij", rows, rows).cpu().double()
    return total / len(codes.units)


def _basis(covariance: Float[Tensor, "u u"], energy: Float[Tensor, "u u"]) -> Float[Tensor, "u u"]:
    """The matrix B with which the units z B have covariance 1 and a diagonal energy in descending order."""
    covariance = covariance.cpu().double()
    # A unit that never changes would have a spread of 0, by which it cannot be divided.
    least = 1e-6 * covariance.diagonal().mean() + 1e-12
    spread = torch.linalg.cholesky(covariance + least * torch.eye(len(covariance)))
    directions = torch.linalg.eigh(spread.T @ energy @ spread).eigenvectors.flip(1)
    # The sign of an eigenvector is arbitrary: its largest entry is made positive.
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    return torch.linalg.solve_triangular(spread.T, directions * largest.sign(), upper=True)
