"""Cross-entropy, with label smoothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class Affine(NamedTuple):
    """Slopes of a loss that is linear in (s, t, u): the same for every row, so loss and gradient need one pass."""

    s: float
    t: float
    u: float


@dataclass(frozen=True)
class CrossEntropy:
    """``l = s - (1 - e) t - (e / K) u``, in nats.

    The cross-entropy of the target q with the softmax p is ``-sum_j q_j log p_j = s - t``. Label smoothing mixes q with
    the uniform distribution over the K classes: ``q' = (1 - e) q + e / K``
    (Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7).

    Parameters
    ----------
    classes : int
        K.
    label_smoothing : float in [0, 1]
        e.

    Examples
    --------
    >>> CrossEntropy(classes=2).value(s=0.6931471805599453, t=0.0)
    0.6931471805599453
    """

    classes: int
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"label_smoothing must be in [0, 1], not {self.label_smoothing}")

    @property
    def slopes(self) -> Affine:
        """``dl/ds, dl/dt, dl/du``."""
        e = self.label_smoothing
        return Affine(1.0, -(1.0 - e), -e / self.classes if e else 0.0)

    @property
    def needs_u(self) -> bool:
        """Whether the sum of the logits enters."""
        return self.label_smoothing > 0

    def value(self, s: Any, t: Any, u: Any = None) -> Any:
        """The loss of each row from its statistics (any array kind)."""
        slopes = self.slopes
        loss = s
        if slopes.t:  # a slope of 0 takes its statistic out, even where that is infinite
            loss = loss + slopes.t * t
        if slopes.u:
            loss = loss + slopes.u * u
        return loss
