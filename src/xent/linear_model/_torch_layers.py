"""Fitted classifiers that are no linear layer, as PyTorch modules; loaded when one is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..functional.margin import margin_logits
from ..functional.ordinal import ordinal_cross_entropy


class OrdinalLayer(torch.nn.Module):
    """Scores (N,) of rows (N, D), to be cut at `thresholds` (K - 1,): arguments of `xent.ordinal_cross_entropy`.

    Parameters
    ----------
    model : OrdinalClassifier
        Fitted. `coef` (D,) and `thresholds` are parameters, copies of its numbers.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.link = model.link
        self.coef = torch.nn.Parameter(torch.from_numpy(np.array(model.coef_)))
        self.thresholds = torch.nn.Parameter(torch.from_numpy(np.array(model.thresholds_)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scores."""
        return x @ self.coef

    def log_proba(self, x: torch.Tensor) -> torch.Tensor:
        """Logarithms of the probabilities of the labels, (N, K)."""
        score, K = self(x), len(self.thresholds) + 1
        each = [torch.full(score.shape, k, dtype=torch.int64, device=score.device) for k in range(K)]
        options: dict[str, Any] = {"link": self.link, "reduction": "none"}
        return -torch.stack([ordinal_cross_entropy(score, self.thresholds, k, **options) for k in each], dim=1)


class MarginLayer(torch.nn.Module):
    """Logits (N, K) of rows (N, D) without the margin; `centres` is an argument of `xent.margin_cross_entropy`.

    Parameters
    ----------
    model : MarginClassifier
        Fitted. `centres` (K, C, D) is a parameter, a copy of its numbers.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.margin = model._margin()
        self.centres = torch.nn.Parameter(torch.from_numpy(np.array(model.centres_)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits."""
        return margin_logits(x, self.centres, None, self.margin)
