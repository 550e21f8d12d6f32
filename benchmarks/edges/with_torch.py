"""PyTorch's own functions for the rows, torchvision's, timm's and those of pytorch-metric-learning."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

from .case import NotOfferedError


def kl(z: Any, q: Any, *, reduction: str = "sum") -> Any:
    return functional.kl_div(z.log_softmax(-1), q, reduction=reduction)


def adaptive(x: Any, y: Any, *, w: Any) -> Any:
    torch.manual_seed(0)
    layer = torch.nn.AdaptiveLogSoftmaxWithLoss(w.shape[1], w.shape[0], cutoffs=[w.shape[0] - 1])
    return layer(x, y).loss


TORCH = {
    "binary, probabilities": lambda p, y: functional.binary_cross_entropy(p, y, reduction="sum"),
    "binary": lambda z, y, pos_weight=None, reduction="sum": functional.binary_cross_entropy_with_logits(
        z, y, pos_weight=pos_weight, reduction=reduction
    ),
    "logistic": lambda z, y: functional.soft_margin_loss(z, y, reduction="sum"),
    "multi-label": lambda z, y: functional.multilabel_soft_margin_loss(z, y),
    "labels": lambda z, y, reduction="sum", **o: functional.cross_entropy(z, y, reduction=reduction, **o),
    "soft": lambda z, q, reduction="sum", **o: functional.cross_entropy(z, q, reduction=reduction, **o),
    "kl": kl,
    "distill": lambda z, t: functional.kl_div(z.log_softmax(-1), t.log_softmax(-1), reduction="sum", log_target=True),
    "layer": lambda w, y, x, reduction="sum": functional.linear_cross_entropy(x, w, y, reduction=reduction),
    "adaptive": adaptive,
}


def torchvision() -> dict[str, Any]:
    """The focal loss is plain Python: where the wheel's native operators do not load, their names are enough."""
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{operator}", signature)
    from torchvision.ops import sigmoid_focal_loss

    return {"binary focal": lambda z, y, gamma: sigmoid_focal_loss(z, y, alpha=-1, gamma=gamma, reduction="sum")}


def timm() -> dict[str, Any]:
    torchvision()
    from timm import loss

    def soft(z: Any, q: Any, *, reduction: str = "sum") -> Any:
        if reduction != "sum":
            raise NotOfferedError
        return loss.SoftTargetCrossEntropy()(z, q) * len(z)

    def poly(z: Any, q: Any, *, epsilon: float) -> Any:
        return loss.PolyCrossEntropy(epsilon, reduction="sum")(z, q)

    return {"soft": soft, "poly": poly}


def metric_learning() -> dict[str, Any]:
    from pytorch_metric_learning import losses

    def use(kind: Any, **options: Any) -> Any:
        def loss(x: Any, y: Any, *, w: Any) -> Any:
            layer = kind(num_classes=len(w), embedding_size=w.shape[1], **options)
            layer.W.data = w.T.clone()
            return layer(x, y)

        return loss

    return {
        "arcface": use(losses.ArcFaceLoss, margin=math.degrees(0.5), scale=1.0),
        "sphereface": use(losses.SphereFaceLoss, margin=4),
    }
