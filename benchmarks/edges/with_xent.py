"""xent's functions for the rows, one table for NumPy, PyTorch and JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xent import functional as f
from xent.functional.margin import margin_cross_entropy
from xent.losses.margins import ArcFace, SphereFace

PACKAGES = ("xent", "numpy", "torch", "jax")


@dataclass(frozen=True)
class Use:
    """A function of xent, the names of what is differentiated and of the target, and the options that it has always."""

    function: Callable[..., Any]
    wrt: str = "logits"
    target: str = "target"
    options: Mapping[str, Any] = field(default_factory=lambda: {"reduction": "sum"})
    read: Callable[[Any], Any] = lambda target: target

    def arguments(self, x: Any, target: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments by name."""
        return {self.wrt: x, self.target: self.read(target), **self.options, **options}

    def __call__(self, x: Any, target: Any, /, **options: Any) -> Any:
        return self.function(**self.arguments(x, target, options))


SUM = {"reduction": "sum"}
PROBS = {"from_probs": True, **SUM}
LOSSES = {
    "binary, probabilities": Use(f.binary_cross_entropy, options=PROBS),
    "binary": Use(f.binary_cross_entropy),
    "logistic": Use(f.binary_cross_entropy, read=lambda y: (y + 1) / 2),
    "multi-label": Use(f.binary_cross_entropy, options={"reduction": "mean"}),
    "probabilities": Use(f.cross_entropy, options=PROBS),
    "labels": Use(f.cross_entropy),
    "soft": Use(f.cross_entropy),
    "soft, safe": Use(f.cross_entropy),
    "kl": Use(f.kl_loss),
    "distill": Use(f.distillation_loss, target="teacher_logits"),
    "binary focal": Use(f.binary_focal_loss),
    "focal": Use(f.focal_loss),
    "poly": Use(f.poly_loss),
    "generalized": Use(f.generalized_cross_entropy),
    "layer": Use(f.linear_cross_entropy, "w"),
    "adaptive": Use(f.linear_cross_entropy, "x", options={"reduction": "mean"}),
    "arcface": Use(margin_cross_entropy, "x", options={"margin": ArcFace(0.5, scale=1.0, monotone=True)}),
    "arcface as in the paper": Use(margin_cross_entropy, "x", options={"margin": ArcFace(0.5, scale=1.0)}),
    "sphereface": Use(margin_cross_entropy, "x", options={"margin": SphereFace(4)}),
}
