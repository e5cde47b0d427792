"""Autoencoders: the interface that they share, the backbones of this package, and the file that stores one."""

from jacsup.models.autoencoder import (
    BACKBONES,
    Autoencoder,
    Model,
    TrainableAutoencoder,
    build,
    decoding,
    device_of,
    name_of,
    num_parameters,
    pick_device,
)
from jacsup.models.file import (
    LEARNED,
    Factor,
    ModelInfo,
    Typical,
    factor_statistics,
    load,
    load_info,
    load_metadata,
    model_file,
    save_model,
)

__all__ = [
    "BACKBONES",
    "LEARNED",
    "Autoencoder",
    "Factor",
    "Model",
    "ModelInfo",
    "TrainableAutoencoder",
    "Typical",
    "build",
    "decoding",
    "device_of",
    "factor_statistics",
    "load",
    "load_info",
    "load_metadata",
    "model_file",
    "name_of",
    "num_parameters",
    "pick_device",
    "save_model",
]
