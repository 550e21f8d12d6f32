"""Cross-entropy, with label smoothing and z-loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat as compat

from .._arrays import Array
from .formula import Affine, Curvatures, check_smoothing


@dataclass(frozen=True)
class CrossEntropy:
    """``l = s - (1 - e) t - (e / K) u + w (m + s)^2``, in nats.

    The cross-entropy of the target q with the softmax p is ``-sum_j q_j log p_j = s - t``. Label smoothing mixes q with
    the uniform distribution over the K classes: ``q' = (1 - e) q + e / K``
    (Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7). The z-loss keeps the log-sum-exp of the
    logits near zero (Chowdhery et al., "PaLM", 2022, section 5, with w = 1e-4).

    Parameters
    ----------
    classes : int
        K.
    label_smoothing : float in [0, 1]
        e.
    z_loss : float
        w >= 0.

    Examples
    --------
    >>> CrossEntropy(classes=2).value(s=0.6931471805599453, t=0.0)
    0.6931471805599453
    """

    classes: int
    label_smoothing: float = 0.0
    z_loss: float = 0.0

    linear = True

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)
        if not 0 <= self.z_loss < float("inf"):
            raise ValueError(f"z_loss must be a finite number >= 0, not {self.z_loss}")

    @property
    def _linear(self) -> Affine:
        e = self.label_smoothing
        return Affine(1.0, -(1.0 - e), -e / self.classes if e else 0.0)

    @property
    def affine(self) -> Affine | None:
        """``dl/ds, dl/dt, dl/du``, which are constants without a z-loss."""
        return None if self.z_loss else self._linear

    @property
    def needs_u(self) -> bool:
        """Whether the sum of the logits enters."""
        return self.label_smoothing > 0

    def f(self, d: Array) -> Array:
        """The loss of a label with the cross-entropy `d`: d itself."""
        return d

    def df(self, d: Array) -> Array:
        """One."""
        return compat.array_namespace(d).ones_like(d)

    def d2f(self, d: Array) -> Array:
        """Zero."""
        return compat.array_namespace(d).zeros_like(d)

    def value(self, s: Any, t: Any, u: Any = None, m: Any = None) -> Any:
        """The loss of each row from its statistics (any array kind)."""
        slopes = self._linear
        loss = s
        if slopes.t:  # a slope of 0 takes its statistic out, even where that is infinite
            loss = loss + slopes.t * t
        if slopes.u:
            loss = loss + slopes.u * u
        if self.z_loss:
            loss = loss + self.z_loss * (m + s) ** 2
        return loss

    def slopes(self, s: Any, t: Any, u: Any = None, m: Any = None) -> Affine:
        """Its derivatives in the statistics, (N,) each."""
        ones = 0.0 * s + 1.0
        linear = self._linear
        l_s = ones + 2.0 * self.z_loss * (m + s) if self.z_loss else ones
        return Affine(l_s, linear.t * ones, linear.u * ones)

    def curvatures(self, s: Any, t: Any, m: Any = None) -> Curvatures:
        """Its second derivatives."""
        zeros = 0.0 * s
        return Curvatures(zeros + 2.0 * self.z_loss, zeros, zeros)
