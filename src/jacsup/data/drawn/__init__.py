"""Drawn faces, whose attributes are known exactly, as is the true image of every edit."""

from jacsup.data.drawn.dataset import (
    DATA_SET,
    counterfactual,
    load_faces,
    num_test,
    num_train,
    test_faces,
    true_edit,
)

__all__ = ["DATA_SET", "counterfactual", "load_faces", "num_test", "num_train", "test_faces", "true_edit"]
