"""The losses of a generator and its discriminator: binary cross-entropies of the discriminator's logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .._arrays import Array
from ._arguments import REDUCTIONS, Reduction, as_floats, check_choice, namespace
from ._binary import BinaryLoss
from .binary import read_binary_cross_entropy

Kind = Literal["non-saturating", "minimax"]


def discriminator_loss(
    real_logits: Any, fake_logits: Any, *, real_target: float = 1.0, reduction: Reduction = "mean"
) -> Any:
    """What a discriminator minimises, ``-E log D(x) - E log(1 - D(G(z)))`` with ``D = 1 / (1 + exp(-logit))``, in nats.

    Parameters
    ----------
    real_logits, fake_logits : arrays (...)
        The discriminator's logits of real examples and of generated ones, of any two shapes: their numbers may differ.
    real_target : float in [0, 1]
        The target of real examples, 0.9 for one-sided label smoothing. That of generated ones stays 0: smoothing it
        would reward the generator for staying where it is.
    reduction : "mean", "sum" or "none"
        "mean" is the mean over the real examples plus the mean over the generated ones (not half of that, and not the
        mean over both together); a side without examples counts 0. "none" is the pair of their losses.

    Returns
    -------
    scalar, or for ``reduction="none"`` a pair of arrays in the shapes of the logits; float64 for float64 (and NumPy's
    integers), else float32

    Raises
    ------
    ValueError
        real_target outside [0, 1].
    TypeError
        Arrays of different libraries.

    References
    ----------
    Goodfellow et al., "Generative Adversarial Nets" (2014), eq. 1; Salimans et al., "Improved Techniques for Training
    GANs" (2016), section 3.4, for one-sided smoothing.

    Examples
    --------
    >>> round(float(discriminator_loss([0.0, 0.0, 0.0], [0.0])), 4)  # it cannot tell: log 4
    1.3863
    >>> round(float(discriminator_loss([2.0], [-1.0], real_target=0.9)), 4)
    0.6402
    """
    return read_discriminator(real_logits, fake_logits, real_target=real_target, reduction=reduction).value()


def generator_loss(fake_logits: Any, *, kind: Kind = "non-saturating", reduction: Reduction = "mean") -> Any:
    """What a generator minimises, ``-E log D(G(z))`` or ``E log(1 - D(G(z)))``, in nats.

    ``D = 1 / (1 + exp(-logit))`` is the discriminator's probability that an example is real.

    Parameters
    ----------
    fake_logits : array (...)
        The discriminator's logits of generated examples.
    kind : "non-saturating" or "minimax"
        "non-saturating", ``-log D``, has the slope ``-(1 - D)``: most where the discriminator is not fooled. "minimax",
        ``log(1 - D)``, is minus the discriminator's own loss (the game of the theory) and has the slope ``-D``, which
        vanishes there; it is negative, and -inf where the discriminator is certain and wrong.
    reduction : "mean", "sum" or "none"

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float64 for float64 (and NumPy's integers), else float32

    Raises
    ------
    ValueError
        An unknown kind.

    References
    ----------
    Goodfellow et al., "Generative Adversarial Nets" (2014), section 3.

    Examples
    --------
    >>> generator_loss([-3.0, 3.0], reduction="none").round(4).tolist()
    [3.0486, 0.0486]
    >>> generator_loss([-3.0, 3.0], kind="minimax", reduction="none").round(4).tolist()
    [-0.0486, -3.0486]
    """
    return read_generator(fake_logits, kind=kind, reduction=reduction).value()


@dataclass(frozen=True, eq=False)
class AdversarialLoss:
    """``sign`` times the sum of binary losses, by the name of the argument that each is of."""

    parts: Mapping[str, BinaryLoss]
    sign: float
    given: Mapping[str, Any]

    def value(self) -> Any:
        """The loss, differentiable by the library of its arrays; a pair where two parts are not reduced."""
        values = [part.value() for part in self.parts.values()]
        if len(values) > 1 and next(iter(self.parts.values())).reduction == "none":
            return tuple(values)
        total = sum(values[1:], values[0])
        return total if self.sign > 0 else 0.0 - total  # not the -0.0 of nothing

    def gradients(self, wrt: tuple[str, ...]) -> tuple[Any, dict[str, Array]]:
        """NumPy: the value, and its gradients in the arguments named, in their shapes and dtypes."""
        grads = {}
        for name in wrt:
            gradient = self.sign * self.parts[name].gradients(("logits",))[1]["logits"]
            own = np.asarray(self.given[name]).dtype
            grads[name] = gradient if own.kind in "iub" else gradient.astype(own)
        return self.value(), grads


def read_discriminator(
    real_logits: Any, fake_logits: Any, *, real_target: float = 1.0, reduction: Reduction = "mean"
) -> AdversarialLoss:
    """The arguments of `discriminator_loss`, checked."""
    if not 0 <= real_target <= 1:
        raise ValueError(f"real_target must be in [0, 1], not {real_target}")
    given = {"real_logits": real_logits, "fake_logits": fake_logits}
    return _read({"real_logits": real_target, "fake_logits": 0.0}, 1.0, reduction, given)


def read_generator(
    fake_logits: Any, *, kind: Kind = "non-saturating", reduction: Reduction = "mean"
) -> AdversarialLoss:
    """The arguments of `generator_loss`, checked."""
    check_choice("kind", kind, ("non-saturating", "minimax"))
    target, sign = (1.0, 1.0) if kind == "non-saturating" else (0.0, -1.0)
    return _read({"fake_logits": target}, sign, reduction, {"fake_logits": fake_logits})


def _read(targets: dict[str, float], sign: float, reduction: Reduction, given: dict[str, Any]) -> AdversarialLoss:
    check_choice("reduction", reduction, REDUCTIONS)
    xp, like = namespace(**given)
    parts = {}
    for name, target in targets.items():
        logits = as_floats(name, given[name], xp, like)
        parts[name] = read_binary_cross_entropy(logits, xp.full_like(logits, target), reduction=reduction)
    return AdversarialLoss(parts, sign, given)
