"""Divergences of a target and a softmax as losses, and distillation from a teacher's logits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, TypedDict, Unpack

import numpy as np

from ..losses import CrossEntropy
from ..rows import LabelRows, SoftRows
from ..rows.divergence import JSRows, KLRows
from ._arguments import REDUCTIONS, Reduction, check_choice, namespace, shows_options_of
from ._problem import read_rows
from ._softmax import spell_out
from ._terms import SumLoss, Term, check_temperature, flat_logits, refuse_top_k, suspect_probs

# How each is made of the temperature, and of whether the target is given as logits.
_DIVERGENCES: dict[str, Callable[[float, bool], KLRows | JSRows]] = {
    "kl": KLRows,
    "reverse_kl": functools.partial(KLRows, reverse=True),
    "js": JSRows,
}


def kl_loss(
    logits: Any,
    target: Any,
    *,
    reverse: bool = False,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
) -> Any:
    """Kullback-Leibler divergence of a target from the softmax of logits, ``sum_j q_j log(q_j / p_j)``, in nats.

    The cross-entropy less the entropy of the target: of the same gradient in the logits, and 0 where p is q. Nearly
    equal distributions keep their digits.

    Parameters
    ----------
    logits : array (..., K)
        ``p = softmax(logits / temperature)``. -inf masks a class.
    target : floating array (..., K), or integer array (...)
        The distribution q of each row, or its class.
    reverse : bool
        ``sum_j p_j log(p_j / q_j)`` instead, which seeks a mode of q where the other covers all of them.
    sample_weight : array that broadcasts to (...), optional
        A weight for each row; 0 leaves it out, and nothing in it is read.
    ignore_index : int
        The label of rows to leave out.
    reduction : "mean", "sum" or "none"
        "mean" divides by the sum of the weights kept (0 where nothing is); "none" gives each row's weighted loss.
    temperature : float
        Divides the logits. The value is not multiplied by its square; `distillation_loss` does that.

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float64 for float64 (and NumPy's integers), else float32

    Raises
    ------
    ValueError
        Shapes that do not fit, a label outside 0 ... K - 1, a target that is no distribution.
    TypeError
        Labels that are not integers, arrays of different libraries.

    Warns
    -----
    UserWarning
        When every row of the logits looks like a probability distribution, whose logarithms would be logits.

    Notes
    -----
    Infinite where q is above 0 on a class whose logit is -inf, with the finite gradient p - q; reversed, where q is 0
    on any other class, with an infinite gradient. PyTorch's ``kl_div`` with "mean" divides by the number of entries;
    its "batchmean" is the mean here.

    Off the distributions it is ``sum_j q_j log(q_j / p_j) - q_j + p_j``, so that the gradient in q is
    ``log(q_j / p_j)``, 0 where q is 0. The textbook's is larger by 1 in each entry, which no step that keeps the sum
    of q can tell.

    References
    ----------
    Kullback & Leibler, "On information and sufficiency" (1951); Csiszar, "Why least squares and maximum entropy?"
    (1991) for the form off the distributions.

    Examples
    --------
    >>> import numpy as np
    >>> logits, q = np.log([[0.5, 0.5]]), [[0.7, 0.3]]
    >>> print(kl_loss(logits, q).round(4), kl_loss(logits, q, reverse=True).round(4))
    0.0823 0.0872
    """
    return read_kl(
        logits,
        target,
        reverse=reverse,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        reduction=reduction,
        temperature=temperature,
    ).value()


def read_kl(logits: Any, target: Any, *, reverse: bool = False, **options: Any) -> SumLoss:
    """The arguments of `kl_loss`, checked."""
    return _read("reverse_kl" if reverse else "kl", logits, target, **options)


class DivergenceOptions(TypedDict, total=False):
    """What `js_loss` shares with `kl_loss`."""

    sample_weight: Any
    ignore_index: int
    reduction: Reduction
    temperature: float


@shows_options_of(kl_loss, DivergenceOptions)
def js_loss(logits: Any, target: Any, **options: Unpack[DivergenceOptions]) -> Any:
    """Jensen-Shannon divergence of a target and the softmax of logits, in nats: at most log 2 a row.

    ``(KL(q || m) + KL(p || m)) / 2`` with ``m = (p + q) / 2``. A row that is sure and wrong costs no more than log 2
    and has next to no gradient, a help where labels may be wrong. Nearly equal distributions keep their digits.

    Parameters
    ----------
    logits, target
        As for `kl_loss`.
    **options
        As for `kl_loss`.

    Returns
    -------
    As `kl_loss`.

    Notes
    -----
    Finite whatever is 0, in value and gradient.

    References
    ----------
    Lin, "Divergence measures based on the Shannon entropy" (1991); Englesson & Azizpour, "Generalized Jensen-Shannon
    Divergence Loss for Learning with Noisy Labels" (2021).

    Examples
    --------
    >>> import numpy as np
    >>> round(float(js_loss([[1000.0, 0.0]], [[0.0, 1.0]])), 4)  # log 2
    0.6931
    """
    return read_js(logits, target, **options).value()


def read_js(logits: Any, target: Any, **options: Any) -> SumLoss:
    """The arguments of `js_loss`, checked."""
    return _read("js", logits, target, **options)


def _read(
    divergence: str,
    logits: Any,
    target: Any,
    *,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
) -> SumLoss:
    check_choice("reduction", reduction, REDUCTIONS)
    op = _DIVERGENCES[divergence](check_temperature(temperature), False)
    refuse_top_k(target)
    xp, like = namespace(logits=logits, target=target, sample_weight=sample_weight)
    a, leading = flat_logits("logits", logits, xp, like)
    rows = read_rows(target, leading, a, xp=xp, sample_weight=sample_weight, ignore_index=ignore_index)
    rows = spell_out(rows, a)
    suspect_probs(xp, "logits", a, "pass their logarithms", stacklevel=5)
    assert rows.probs is not None
    term = Term(op, (a, rows.probs, rows.label), ("logits", "target", None))
    return SumLoss((term,), rows, reduction, a.dtype, {"logits": logits, "target": target})


def distillation_loss(
    logits: Any,
    teacher_logits: Any,
    *,
    target: Any = None,
    alpha: float = 1.0,
    temperature: float = 1.0,
    divergence: Literal["kl", "reverse_kl", "js"] = "kl",
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Any:
    """Divergence of a student's softmax from a teacher's, both of logits, and cross-entropy with a target, in nats.

    ``alpha T^2 KL(softmax(teacher / T) || softmax(logits / T)) + (1 - alpha) cross_entropy(logits, target)``. The
    factor T^2 keeps the gradients of the two parts in proportion whatever T is.

    Parameters
    ----------
    logits : array (..., K)
        The student's. -inf masks a class.
    teacher_logits : array (..., K)
        The teacher's. Detach them where the teacher is not to learn.
    target : integer array (...) or floating array (..., K), optional
        The class of each row, or the probability of each class. With ``alpha=1`` it only says which rows to leave out.
    alpha : float in [0, 1]
        The share of the teacher; below 1 a target is needed.
    temperature : float
        T. The cross-entropy with the target is at temperature 1.
    divergence : "kl", "reverse_kl" or "js"
        KL(teacher || student); KL(student || teacher), which seeks the teacher's modes; or Jensen-Shannon.
    sample_weight, ignore_index, reduction
        As for `kl_loss`.

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float64 for float64 (and NumPy's integers), else float32

    Raises
    ------
    ValueError
        Shapes that do not fit, a label outside 0 ... K - 1, a target that is no distribution, or none with alpha < 1.
    TypeError
        Labels that are not integers, arrays of different libraries.

    Warns
    -----
    UserWarning
        When every row of either looks like a probability distribution, whose logarithms would be logits.

    Notes
    -----
    No logarithm of a rounded probability enters: the ratio of the two is made of differences of logits. A student that
    has all but become its teacher keeps all digits of loss and gradient, in float32 too.

    References
    ----------
    Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2; Agarwal et al., "On-Policy
    Distillation of Language Models" (2024) for the other divergences.

    Examples
    --------
    >>> import numpy as np
    >>> teacher, student = np.array([[4.0, 1.0, 0.0]]), np.array([[2.0, 2.0, 0.0]])
    >>> round(float(distillation_loss(student, teacher, temperature=2.0)), 4)
    0.8386
    >>> round(float(distillation_loss(student, teacher, temperature=2.0, target=[0], alpha=0.5)), 4)
    0.7986
    """
    return read_distillation(
        logits,
        teacher_logits,
        target=target,
        alpha=alpha,
        temperature=temperature,
        divergence=divergence,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        reduction=reduction,
    ).value()


def read_distillation(
    logits: Any,
    teacher_logits: Any,
    *,
    target: Any = None,
    alpha: float = 1.0,
    temperature: float = 1.0,
    divergence: str = "kl",
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> SumLoss:
    """The arguments of `distillation_loss`, checked."""
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("divergence", divergence, tuple(_DIVERGENCES))
    T = check_temperature(temperature)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], not {alpha}")
    if target is None and alpha < 1:
        raise ValueError(f"alpha = {alpha} gives the target a share of {1 - alpha:g}, and there is none")
    refuse_top_k(target)
    given = {"logits": logits, "teacher_logits": teacher_logits, "target": target}
    xp, like = namespace(**given, sample_weight=sample_weight)
    a, leading = flat_logits("logits", logits, xp, like)
    b, theirs = flat_logits("teacher_logits", teacher_logits, xp, like)
    if theirs != leading or b.shape != a.shape:
        shapes = f"{(*leading, a.shape[1])} and {(*theirs, b.shape[1])}"
        raise ValueError(f"logits and teacher_logits must have the same shape: {shapes}")
    labels = np.zeros(leading, np.int64) if target is None else target
    index = -1 if target is None else ignore_index
    rows = read_rows(labels, leading, a, xp=xp, sample_weight=sample_weight, ignore_index=index)
    for name, each in (("logits", a), ("teacher_logits", b)):
        suspect_probs(xp, name, each, "pass their logarithms", stacklevel=4)
    terms = []
    if alpha > 0:
        op = _DIVERGENCES[divergence](T, True)
        arrays = (a, xp.astype(b, a.dtype), rows.label)
        terms.append(Term(op, arrays, ("logits", "teacher_logits", None), alpha * T**2))
    if alpha < 1:
        ce = (LabelRows if rows.probs is None else SoftRows)(CrossEntropy(a.shape[1]))
        names = ("logits", None) if rows.probs is None else ("logits", "target", None)
        terms.append(Term(ce, (a, *rows.target), names, 1.0 - alpha))
    return SumLoss(tuple(terms), rows, reduction, a.dtype, given)
