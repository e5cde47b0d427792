"""Principal component analysis: the linear code with the least squared error, whose units come in order."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jacsup.baselines.fit import own_random_state
from jacsup.code import UNIT, to_float
from jacsup.config import MLP, Recipe
from jacsup.data.dataset import Dataset
from jacsup.models.linear import Layers
from jacsup.models.mlp import MLPAutoencoder


def train_pca(data: Dataset, recipe: Recipe) -> MLPAutoencoder:
    """Return scikit-learn's PCA of the training images as an autoencoder of two linear layers.

    Args:
        data: Data set; the pixels are scaled to [0, 1].
        recipe: Seed and, in its last stage, the number of units.

    Returns:
        The autoencoder, on the device of the data and in evaluation mode.
    """
    from sklearn.decomposition import PCA

    num_units = recipe.stages[-1].num_units
    pixels = to_float(data.train.images, UNIT).flatten(1).cpu().numpy()
    solved = PCA(num_units, random_state=recipe.seed).fit(pixels)
    components, mean = torch.from_numpy(solved.components_), torch.from_numpy(solved.mean_)
    with own_random_state(data, recipe.seed):
        model = MLPAutoencoder(MLP(hidden=(1,)), data.image_shape, num_units)
        model.encoder = Layers(_linear(components, -components @ mean))
        model.decoder = Layers(_linear(components.T, mean))
    return model.to(data.train.images.device).eval()


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer
