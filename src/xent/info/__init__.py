"""Information measures of discrete distributions: entropy, cross-entropy, divergences and what is built of them.

Every function takes NumPy, PyTorch or JAX arrays (any array of the array API) and returns the same kind, or lists,
which become NumPy float64. ``kind`` says what the numbers are; nothing is guessed from them:

``"probs"``
    probabilities, which must sum to one along ``axis`` within the square root of their dtype's eps. What rounding
    leaves is not passed on: the result is that of the distribution divided by its sum. ``normalize=True`` allows any
    sum.
``"log_probs"``
    their natural logarithms; with ``normalize=True`` any logits.
``"counts"``
    numbers of observations, or any non-negative masses: normalised by nature. Integers beyond 2^53 keep their digits.
``"samples"``
    the observations themselves along ``axis``, of any sortable dtype, text included; the measure is that of their
    empirical distribution. They are counted in NumPy, and have no gradient.

Results are in nats, or in the unit of ``base`` (2 for bits, 10 for hartleys). 0 log 0 is 0, in value and in gradient.
Results have the floating dtype of the distributions given (integers and samples: the library's default). The arithmetic
is float64 inside, whatever the dtype (with JAX: if its x64 mode is on), and rounded once. Gradients are those of
the normalised distribution: they differ from the textbook's partial derivatives by a constant along ``axis``, which a
softmax, or a projection on the simplex, takes off anyway.

Checks read values, so they are left out where there are none to read: under ``jax.jit`` and ``torch.compile``. Invalid
input then gives a meaningless number or NaN.
"""

from __future__ import annotations

from .divergences import cross_entropy, js_divergence, kl_divergence, perplexity
from .entropies import conditional_entropy, entropy, information_content, joint_entropy, mutual_information

__all__ = [
    "conditional_entropy",
    "cross_entropy",
    "entropy",
    "information_content",
    "joint_entropy",
    "js_divergence",
    "kl_divergence",
    "mutual_information",
    "perplexity",
]
