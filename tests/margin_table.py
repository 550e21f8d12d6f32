"""The margins that are tested, and rows to test them on."""

from __future__ import annotations

import math

import numpy as np

from xent.functional.margin import read_margin_cross_entropy
from xent.losses.margins import (
    AdaFace,
    AMSoftmax,
    ArcFace,
    ASoftmax,
    CombinedMargin,
    CosFace,
    CurricularFace,
    LSoftmax,
    MagFace,
    SMSoftmax,
)

CLASSES, FEATURES = 3, 3
PER_CLASS = (0.1, 0.3, 0.4)
MARGINS = {
    "SM": SMSoftmax(0.7),
    "SM per class": SMSoftmax(PER_CLASS),
    "L 1": LSoftmax(1),
    "L 2": LSoftmax(2),
    "L 4": LSoftmax(4),
    "L 3 annealed": LSoftmax(3, annealing=0.75),
    "A 2": ASoftmax(2),
    "A 3": ASoftmax(3),
    "A 4 annealed": ASoftmax(4, annealing=5.0),
    "AM": AMSoftmax(),
    "AM per class": AMSoftmax(np.array(PER_CLASS), scale=8),
    "Cos": CosFace(),
    "Arc": ArcFace(),
    "Arc per class": ArcFace(PER_CLASS, scale=8),
    "Arc monotone": ArcFace(monotone=True),
    "Arc easy": ArcFace(easy=True),
    "Arc detach": ArcFace(detach=True),
    "Arc monotone detach": ArcFace(monotone=True, detach=True),
    "combined": CombinedMargin(),
    "combined 0.9": CombinedMargin(0.9, 0.4, 0.15, scale=16),
    "combined detach": CombinedMargin(1.35, 0.3, 0.2, detach=True),
    "Curricular": CurricularFace(t=0.3),
    "Curricular t=0": CurricularFace(PER_CLASS, scale=16),
    "Curricular monotone": CurricularFace(t=0.3, monotone=True),
    "Curricular easy": CurricularFace(t=0.3, easy=True),
    "Mag": MagFace(1.0, 5.0),
    "Mag monotone": MagFace(1.0, 5.0, monotone=True),
    "Mag easy": MagFace(1.0, 5.0, easy=True, weight=0.5),
    "Ada": AdaFace(mean=2.0, std=0.25),
    "Ada inside": AdaFace(mean=2.0, std=3.0),
}
NOT_NORMALISED = ("SM", "L", "A ")
HOLDS_CONSTANT = [name for name, margin in MARGINS.items() if getattr(margin, "detach", False) or "Ada" in name]


def with_gradients(x, w, target, margin, bias=None, **options):
    wrt = ("x", "w") if bias is None else ("x", "w", "bias")
    return read_margin_cross_entropy(x, w, target, margin, bias=bias, **options).gradients(wrt)


def ordinary(seed, theta=None, x_length=1.7, w_length=0.6, features=FEATURES):
    """An embedding, centres and a label, the embedding `theta` away from its centre."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(CLASSES, features))
    w *= rng.uniform(0.5, 2, CLASSES)[:, None]
    label = int(rng.integers(CLASSES))
    x = rng.normal(size=features)
    if theta is not None:
        centre = w[label] / np.linalg.norm(w[label])
        away = x - x @ centre * centre
        x = math.cos(theta) * centre + math.sin(theta) * away / np.linalg.norm(away)
        w[label] *= w_length / np.linalg.norm(w[label])
    return x * x_length / np.linalg.norm(x), w, label


def batch(name, centres=1, seed=0):
    rng = np.random.default_rng([seed, centres])
    x = rng.normal(size=(6, FEATURES)) * 1.5
    w = rng.normal(size=(CLASSES, centres, FEATURES))
    y = rng.integers(0, CLASSES, 6)
    x[2], y[2] = np.nan, -100
    options = {
        "weight": rng.uniform(0.5, 2, CLASSES),
        "sample_weight": rng.uniform(0.5, 2, 6),
        "label_smoothing": 0.1,
    }
    return x, w[:, 0] if centres == 1 else w, y, rng.normal(size=CLASSES), options
