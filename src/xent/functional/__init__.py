"""The loss functions, for NumPy, PyTorch and JAX arrays alike, and their gradients.

All share one set of rules. The last axis of logits is the classes, any axes may come before it. ``reduction="mean"`` is
the weighted sum over the sum of the weights kept, for labels and probabilities alike, and 0 where nothing is kept. A
row left out (``ignore_index``, or a weight of 0) costs nothing and nothing in it is read, NaN included. Values are in
nats; half precisions are computed and returned in float32.

PyTorch's tensors are differentiated by autograd, twice and more, and by `torch.func`; JAX arrays by its
transformations; NumPy arrays by `value_and_grad` and `hvp`. Invalid values are errors wherever they can be read: in a
call that is traced (``jax.jit``, `torch.func.vmap`) or on an accelerator, an invalid label makes its row NaN instead.
"""

from __future__ import annotations

from ._registry import register
from ._topk import TopK
from .adversarial import discriminator_loss, generator_loss, read_discriminator, read_generator
from .binary import binary_cross_entropy, binary_focal_loss, read_binary_cross_entropy, read_binary_focal
from .distance import (
    absolute_error,
    binary_absolute_error,
    binary_squared_error,
    read_absolute_error,
    read_binary_absolute_error,
    read_binary_squared_error,
    read_squared_error,
    squared_error,
)
from .divergence import distillation_loss, js_loss, kl_loss, read_distillation, read_js, read_kl
from .gradients import hvp, value_and_grad
from .linear import linear_cross_entropy, read_linear_cross_entropy
from .margin import margin_cross_entropy, margin_logits, read_margin_cross_entropy, target_angles
from .ordinal import ordinal_cross_entropy, read_ordinal
from .softmax import (
    cross_entropy,
    focal_loss,
    generalized_cross_entropy,
    poly_loss,
    read_cross_entropy,
    read_focal,
    read_generalized,
    read_poly,
)

__all__ = [
    "TopK",
    "absolute_error",
    "binary_absolute_error",
    "binary_cross_entropy",
    "binary_focal_loss",
    "binary_squared_error",
    "cross_entropy",
    "discriminator_loss",
    "distillation_loss",
    "focal_loss",
    "generalized_cross_entropy",
    "generator_loss",
    "hvp",
    "js_loss",
    "kl_loss",
    "linear_cross_entropy",
    "margin_cross_entropy",
    "margin_logits",
    "ordinal_cross_entropy",
    "poly_loss",
    "squared_error",
    "target_angles",
    "value_and_grad",
]

register(cross_entropy, read_cross_entropy, "logits", "target")
register(focal_loss, read_focal, "logits", "target")
register(poly_loss, read_poly, "logits", "target")
register(generalized_cross_entropy, read_generalized, "logits", "target")
register(linear_cross_entropy, read_linear_cross_entropy, "x", "w", "bias", "target")
register(binary_cross_entropy, read_binary_cross_entropy, "logits", "target")
register(binary_focal_loss, read_binary_focal, "logits", "target")
register(kl_loss, read_kl, "logits", "target")
register(js_loss, read_js, "logits", "target")
register(distillation_loss, read_distillation, "logits", "teacher_logits")
register(squared_error, read_squared_error, "logits", "target")
register(absolute_error, read_absolute_error, "logits", "target")
register(binary_squared_error, read_binary_squared_error, "logits", "target")
register(binary_absolute_error, read_binary_absolute_error, "logits", "target")
register(margin_cross_entropy, read_margin_cross_entropy, "x", "w", "bias")
register(ordinal_cross_entropy, read_ordinal, "scores", "thresholds")
register(discriminator_loss, read_discriminator, "real_logits", "fake_logits")
register(generator_loss, read_generator, "fake_logits")
