"""Losses of softmaxes, from logits or probabilities: what their public functions share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._arrays import NUMPY, Array, constant, is_jax, is_torch, where
from ..autodiff import rows as row_values
from ..autodiff import weighted
from ..kernels.arrays import single
from ..losses import Formula
from ..rows import EntropyRows, LabelRows, ProbsRows, SoftRows, TopKRows
from ._arguments import (
    REDUCTIONS,
    Reduction,
    as_floats,
    check_choice,
    check_distributions,
    holds,
    namespace,
    read_weights,
    tolerance,
)
from ._problem import Rows, read_rows
from ._topk import TopK
from ._transform import Transform, read_transform


@dataclass(frozen=True, eq=False)
class SoftmaxLoss:
    """A loss of a softmax, read and checked: ``sum_i weight_i (formula_i - penalty entropy_i)``.

    Attributes
    ----------
    z : array (N, K)
        Logits as given, or probabilities. Half precisions stay what they are where the native kernels take them, and
        are float32 elsewhere.
    dtype : the dtype to compute in and of the result
    transform : Transform
    op : row function of ``(a, *rows.target)``
    confidence_penalty : float
    given : the arguments, by name, as they were given
    """

    xp: Any
    z: Array
    dtype: Any
    transform: Transform
    op: Any
    rows: Rows
    reduction: Reduction
    confidence_penalty: float
    given: Mapping[str, Any]

    @property
    def _entropy(self) -> EntropyRows | None:
        return EntropyRows() if self.confidence_penalty else None

    def value(self) -> Any:
        """The loss, differentiable by the library of its arrays."""
        if self.xp is NUMPY and self.reduction != "none" and (known := self._at_once((), None)) is not None:
            return known[0]
        a = self.transform(self.xp, self.z) if self.transform.changes else self.z
        loss = row_values(self.op, a, *self.rows.target)
        if self._entropy:
            loss = loss - self.confidence_penalty * row_values(self._entropy, a, self.rows.label)
        return self.rows.reduce(loss, self.reduction, self.dtype)

    def gradients(self, wrt: tuple[str, ...], out: Array | None = None) -> tuple[Any, dict[str, Array]]:
        """NumPy: the value, and its gradients in the arguments named, in their shapes and dtypes.

        The logits' gradient is written to `out` where that is given, by the kernels themselves where they can.
        """
        logits, target = self.given["logits"], self.given["target"]
        if isinstance(target, TopK) and "target" in wrt:
            raise ValueError("a TopK target has no gradient in NumPy; take it from PyTorch or JAX arrays")
        into = None if out is None else room(out, logits, self.z, name="the logits")
        value, grads = self._at_once(wrt, into) or self._gradients(wrt, into)
        if "target" in grads:
            grads["target"] = cast(target_gradient(grads["target"], value, self), target)
        if "logits" in grads:
            grads["logits"] = cast(grads["logits"].reshape(np.shape(logits)), logits)
        if out is not None:
            if not np.may_share_memory(grads["logits"], out):
                out[...] = grads["logits"]
            grads["logits"] = out
        return value, grads

    def _at_once(self, wrt: tuple[str, ...], into: Array | None) -> tuple[Any, dict[str, Array]] | None:
        """The plain case in one pass, without the losses of the rows: value, and the logits' gradient at most."""
        if wrt not in ((), ("logits",)) or self.transform.changes or self._entropy or not hasattr(self.op, "total"):
            return None
        scale = self.rows.scale(self.reduction, plain=True)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            found = self.op.total(scale, self.z, *self.rows.target, gradient=bool(wrt), out=into)
        if found is None:
            return None
        return self.dtype.type(found[0]), {} if found[1] is None else {"logits": found[1]}

    def _gradients(self, wrt: tuple[str, ...], into: Array | None) -> tuple[Any, dict[str, Array]]:
        """The value, ``dl / dz`` (N, K) under "logits", and what each label costs in each row under "target"."""
        grads: dict[str, Array] = {}
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            a = self.transform(NUMPY, self.z) if self.transform.changes else self.z
            label, target, scale = self.rows.label, self.rows.target, self.rows.scale(self.reduction)
            each = np.ones(len(a)) if scale is None else scale
            da = None
            if "logits" not in wrt:
                loss = self.op.value(NUMPY, a, *target)
            elif hasattr(self.op, "fused"):
                alone = a is self.z and not self._entropy and "target" not in wrt  # nobody reads the logits again
                loss, da = self.op.fused(scale, a, *target, out=into if alone else None)
            else:
                loss = self.op.value(NUMPY, a, *target)
                da = weighted(self.op, NUMPY, each, (True,) + (False,) * len(target), a, *target)[0]
            if "target" in wrt:
                grads["target"] = self.op.label_costs(NUMPY, a, label)
            if self._entropy:
                loss = loss - self.confidence_penalty * self._entropy.value(NUMPY, a, label)
                if da is not None:
                    slope = self._entropy.grads(NUMPY, (True, False), a, label)[0]
                    assert slope is not None
                    da = da - (self.confidence_penalty * each)[:, None] * slope
            if da is not None:
                # float64 slopes may have widened it
                da = da.astype(self.z.dtype, copy=False)
                grads["logits"] = self.transform.pull_back(self.z, da) if self.transform.changes else da
            return self.rows.reduce(loss, self.reduction, self.dtype), grads

    def hvp(self, v: Array) -> Array:
        """NumPy: the Hessian of the loss in z times `v` (N, K)."""
        if self._entropy or self.transform.softcap is not None:
            raise ValueError("Hessian-vector products are not there for confidence_penalty and softcap")
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            T = self.transform.temperature
            v = v / T if self.transform.mask is None else np.where(self.transform.mask, v / T, 0)
            a = self.transform(NUMPY, self.z) if self.transform.changes else self.z
            product = self.op.hvp(NUMPY, v, a, *self.rows.target)
            scale = self.rows.scale(self.reduction)
            product = product if scale is None else np.where(scale == 0, 0, scale)[:, None] * product
            return self.transform.pull_back(self.z, product)


def read_softmax(
    formula: Any,
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    from_probs: bool = False,
    eps: float = 0.0,
    confidence_penalty: float = 0.0,
    temperature: float = 1.0,
    softcap: float | None = None,
    prior: Any = None,
    mask: Any = None,
) -> SoftmaxLoss:
    """Check the arguments of a loss; `formula` is made for a number of classes."""
    check_choice("reduction", reduction, REDUCTIONS)
    parts = (target.indices, target.probs) if isinstance(target, TopK) else (target, None)
    xp, like = namespace(logits=logits, target=parts[0], probs=parts[1], weight=weight, sample_weight=sample_weight)
    a = as_floats("logits", logits, xp, like, halves=not is_jax(xp))
    if a.ndim == 0 or a.shape[-1] == 0:
        raise ValueError(f"logits need a last axis of at least one class; the shape is {tuple(a.shape)}")
    leading, K = tuple(a.shape[:-1]), a.shape[-1]
    flat = xp.reshape(a, (-1, K)) if a.size != 0 else xp.reshape(a, (0, K))
    arguments = {"logits": logits, "target": target, "weight": weight, "sample_weight": sample_weight}
    weights = {"weight": weight, "sample_weight": sample_weight}
    beside = single(xp, flat[:0])  # what the rest is read beside
    rows = read_rows(target, leading, beside, xp=xp, ignore_index=ignore_index, classes=K, **weights)
    formula = formula(K)
    shift = not getattr(formula, "z_loss", 0.0)
    transform = read_transform(xp, beside, leading, temperature, softcap, prior, mask, shift)
    if from_probs or transform.changes or confidence_penalty or not _takes_halves(xp, flat, rows, formula):
        flat = single(xp, flat)
    if mask is not None and formula.label_smoothing:
        rows, formula = _smooth_over_mask(rows, formula, transform, flat)
    if not 0 <= confidence_penalty < float("inf"):
        raise ValueError(f"confidence_penalty must be a finite number >= 0, not {confidence_penalty}")
    if not from_probs:
        if eps:
            raise ValueError("eps is a floor under probabilities: it goes with from_probs=True")
        if not transform.changes:
            _suspect_probs(xp, flat)
        if rows.top is None and formula.label_smoothing and not formula.linear:
            rows = spell_out(rows, flat)
        op = row_function(formula, rows)
        return SoftmaxLoss(xp, flat, beside.dtype, transform, op, rows, reduction, confidence_penalty, arguments)
    if transform.changes or confidence_penalty or getattr(formula, "z_loss", 0.0):
        raise ValueError(
            "temperature, softcap, prior, mask, z_loss and confidence_penalty need logits, not from_probs=True"
        )
    if isinstance(target, TopK):
        raise ValueError("a TopK target needs logits, not from_probs=True")
    given = getattr(logits, "dtype", None) or np.asarray(logits).dtype
    p = _check_probs(xp, flat, rows, eps, given)
    op = ProbsRows(formula, float(eps))
    return SoftmaxLoss(xp, p, beside.dtype, transform, op, rows, reduction, 0.0, arguments)


def _takes_halves(xp: Any, flat: Array, rows: Rows, formula: Formula) -> bool:
    """Whether logits go to the native kernels, which read half precisions, as they are."""
    mixed = rows.probs is not None or formula.label_smoothing > 0
    in_memory = not is_torch(xp) or flat.device.type == "cpu"
    return in_memory and rows.top is None and (formula.linear or not mixed)


def room(out: Array, like: Any, z: Array, *, name: str) -> Array | None:
    """Where kernels may write the gradient in an argument: `out` as (N, K), or None where it must be copied there."""
    shape = np.shape(like)
    given = np.asarray(like).dtype
    dtype = z.dtype if given.kind in "iub" else given
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype:
        what = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out must be a NumPy array like the gradient in {name}, {dtype} {shape}, not {what}")
    if not out.flags.writeable:
        raise ValueError("out is read-only: give an array that can be written to")
    if out.dtype != z.dtype or not out.flags.c_contiguous:
        return None
    into = out.reshape(z.shape)
    itself = into.ctypes.data == z.ctypes.data and into.strides == z.strides
    return into if itself or not np.may_share_memory(into, z) else None


def row_function(formula: Formula, rows: Rows) -> Any:
    """The row function for a target of this kind."""
    if rows.top is not None:
        if rows.spread and not formula.linear:
            raise ValueError('rest="spread" is there for cross_entropy only: give a target of shape (..., K) instead')
        if formula.label_smoothing:
            raise ValueError('label smoothing has no TopK form: use rest="spread" with what the smoothing leaves')
        return TopKRows(formula, rows.spread)
    return LabelRows(formula) if rows.probs is None else SoftRows(formula)


def _smooth_over_mask(rows: Rows, formula: Any, transform: Transform, like: Array) -> tuple[Rows, Any]:
    """Smoothing over the classes that are kept: the mixture written out, as the even part differs from row to row."""
    xp, e = rows.xp, formula.label_smoothing
    if rows.top is not None:
        raise ValueError("label smoothing has no TopK form")
    rows = spell_out(rows, like)
    assert transform.mask is not None
    kept = xp.astype(transform.mask, like.dtype) + xp.zeros_like(like)
    assert rows.probs is not None
    even = kept / xp.sum(kept, axis=1, keepdims=True)
    return replace(rows, probs=(1.0 - e) * rows.probs + e * even), replace(formula, label_smoothing=0.0)


def spell_out(rows: Rows, like: Array) -> Rows:
    """Labels as probabilities (N, K)."""
    if rows.probs is not None:
        return rows
    from ..kernels.arrays import one_hot

    xp = rows.xp
    probs = where(xp, one_hot(xp, rows.label, like), 1.0, xp.zeros_like(like))
    # an invalid label of a traced call has no class: its row must stay NaN
    probs = where(xp, (rows.label >= like.shape[1])[:, None], float("nan"), probs)
    return replace(rows, probs=probs, label=xp.where(rows.label < 0, rows.label, 0 * rows.label))


def _check_probs(xp: Any, p: Array, rows: Rows, eps: float, given: Any) -> Array:
    if not 0 <= eps < 1:
        raise ValueError(f"eps must be in [0, 1), not {eps}")
    p = where(xp, (rows.label < 0)[:, None], 1.0 / p.shape[1], p)
    hint = ". If these are logits, leave from_probs out"
    inside = holds(xp, xp.all((p >= 0) & (p <= 1)))
    given = None if "float" not in str(given) else given
    check_distributions(xp, "probabilities", p, rows.leading, "" if inside else hint, given=given)
    return p


def _suspect_probs(xp: Any, a: Array) -> None:
    """Warn when the first rows are all distributions: logits that happen to be are rare, the mistake is not."""
    head = constant(xp, single(xp, a[:16, :]))
    if 0 in head.shape or head.shape[1] < 2:
        return
    with np.errstate(invalid="ignore"):
        sums = xp.abs(xp.sum(head, axis=1) - 1) < tolerance(xp, head.dtype)
        inside = xp.all((head >= 0) & (head <= 1)) & xp.all(sums)
    if holds(xp, inside):
        warnings.warn(
            "logits look like probabilities (not negative, rows sum to one): pass from_probs=True if they are",
            UserWarning,
            stacklevel=5,
        )


def cast(gradient: Array, like: Any) -> Array:
    """A gradient in the floating dtype of its argument."""
    dtype = np.asarray(like).dtype
    return gradient.astype(dtype) if dtype.kind not in "iub" and dtype != gradient.dtype else gradient


def target_gradient(costs: Array, value: Any, loss: Any) -> Array:
    """The loss is linear in q: its gradient is what each class would cost, ``w_j l_j``, less the mean's share."""
    rows, K = loss.rows, costs.shape[1]
    weight, samples = loss.given["weight"], loss.given["sample_weight"]
    kept = (rows.label >= 0)[:, None]
    each = np.where(kept, costs, 0)
    if weight is not None:
        w = read_weights(NUMPY, "weight", weight, (K,), costs)
        with np.errstate(invalid="ignore"):  # an infinite cost in an infinite mean
            if loss.reduction == "mean":
                each = each - float(value)  # the divisor, sum of W, depends on q too
            each = np.where(w == 0, 0, each * w)
    total = (rows.total or np.inf) if loss.reduction == "mean" else 1.0
    # not rows.weight, which has W in it
    share = np.ones(1) if samples is None else read_weights(NUMPY, "sample_weight", samples, rows.leading, costs)
    grad = np.where(kept, each * (share / total)[:, None], 0)
    return grad.reshape(*rows.leading, K)
