"""Drawn faces, whose attributes are known exactly, as is the true image of every edit."""

from jacsup.data.drawn.dataset import DATA_SET, counterfactual, load_faces, num_train, test_faces

__all__ = ["DATA_SET", "counterfactual", "load_faces", "num_train", "test_faces"]
