"""Drawn faces: their attributes are known exactly, and the true image of every edit."""

from jacsup.data.drawn.dataset import counterfactual, load_faces, num_train, test_faces

__all__ = ["counterfactual", "load_faces", "num_train", "test_faces"]
