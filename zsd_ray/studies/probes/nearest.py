"""The vote of the nearest training images.

Shapes: N training images, M others, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

_NUMBERS_AT_ONCE = 1 << 25  # of the table of similarities: 256 MB


def votes(
    train_ND: NDArray[np.float32],
    labels_N: NDArray[np.int64],
    others_MD: NDArray[np.float32],
    ks: Sequence[int],
    metric: Literal["cosine", "euclidean"],
    n_classes: int,
    device: torch.device,
) -> list[NDArray[np.int64]]:
    """Return the number of the k nearest training images of each class, (M, K), for each k.

    The largest count, and of equal ones the first class, is scikit-learn's KNeighborsClassifier of
    uniform weights. Distances are float64.

    Args:
        ks: none above N.
    """
    train = torch.from_numpy(train_ND).to(device, torch.float64)
    if metric == "cosine":
        train = torch.nn.functional.normalize(train)
    squares = train.square().sum(dim=1)
    labels = torch.from_numpy(labels_N).to(device)
    parts: list[list[NDArray[np.int64]]] = [[] for _ in ks]
    at_once = max(1, _NUMBERS_AT_ONCE // len(train))
    for start in range(0, len(others_MD), at_once):
        some = torch.from_numpy(others_MD[start : start + at_once]).to(device, torch.float64)
        # The nearest have the largest x.y, or x.y - |x|^2 / 2; their own |y| changes no order.
        near = some @ train.T
        if metric == "euclidean":
            near -= squares / 2
        of_nearest = labels[near.topk(max(ks), dim=1).indices]
        for part, k in zip(parts, ks, strict=True):
            counts = of_nearest.new_zeros(len(some), n_classes)
            counts.scatter_add_(1, of_nearest[:, :k], torch.ones_like(of_nearest[:, :k]))
            part.append(counts.cpu().numpy())
    return [np.concatenate(part) for part in parts]
