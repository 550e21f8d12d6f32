"""Values with gradients, and Hessian-vector products, of the loss functions."""

from __future__ import annotations

import functools
import inspect
from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any

import array_api_compat as compat
import numpy as np

from .._arrays import is_jax, is_torch
from ._arguments import namespace
from ._linear import LinearLoss
from ._registry import Entry, entry
from ._softmax import SoftmaxLoss
from ._topk import TopK


def value_and_grad(function: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """A function that returns the value of a loss and its gradients in one pass.

    Parameters
    ----------
    function : a loss function of xent, such as `cross_entropy`

    Returns
    -------
    callable
        Takes the same arguments, and ``wrt``: the names of the arguments to differentiate in, by default all floating
        ones that have a derivative (``logits``, or ``x, w, bias``, and a ``target`` of probabilities). Returns
        ``(value, gradients)``, the gradients a named tuple in that order, each in its argument's shape and floating
        dtype. Weights are constants. For PyTorch and JAX arrays the gradients are theirs.

        For NumPy's logits of `cross_entropy`, `focal_loss`, `poly_loss` and `generalized_cross_entropy` also ``out``:
        an array like the logits that their gradient is written to. It may be the logits themselves, which are then
        overwritten: nothing of their size is made beside them, unless softcap, temperature, prior, mask,
        confidence_penalty, from_probs, a `TopK` target or a target's gradient ask for it. A PyTorch tensor in the CPU's
        memory is such an array too, by ``logits.detach().numpy()``. For `linear_cross_entropy` it is an array like x,
        for the gradient in x: a large new array costs more to get than to fill.

    Raises
    ------
    TypeError
        For any other function.
    ValueError
        For ``reduction="none"``, whose result is not one number, for names in ``wrt`` that can't be, and for an ``out``
        of another shape or dtype.

    Examples
    --------
    >>> import numpy as np, xent
    >>> value, grads = value_and_grad(xent.cross_entropy)(np.zeros((1, 2)), [1])
    >>> grads.logits.tolist()
    [[0.5, -0.5]]
    >>> z = np.zeros((1, 2))
    >>> value_and_grad(xent.cross_entropy)(z, [1], out=z)[1].logits is z
    True
    """
    known = entry(function)

    @functools.wraps(function)
    def with_gradients(
        *args: Any, wrt: tuple[str, ...] | str | None = None, out: Any = None, **options: Any
    ) -> tuple[Any, Any]:
        given = _bind(function, args, options)
        if given.get("reduction") == "none":
            raise ValueError('a gradient needs one number: use reduction="mean" or "sum"')
        wanted = _wanted(known, given, wrt)
        xp, _ = namespace(**{n: given[n] for n in known.differentiable if not isinstance(given.get(n), TopK)})
        if out is not None:
            value, grads = _into(function, known, given, wanted, xp, out)
        elif is_torch(xp):
            value, grads = _torch_gradients(function, given, wanted)
        elif is_jax(xp):
            value, grads = _jax_gradients(function, given, wanted)
        else:
            value, grads = known.read(**given).gradients(wanted)
        return value, namedtuple("Gradients", wanted)(*(grads[n] for n in wanted))

    return with_gradients


def hvp(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that returns the Hessian of a softmax loss in its logits times a vector, by the formula's curvatures.

    Of `linear_cross_entropy` it is the Hessian in x, w and bias together, or in those of them that are named; the
    logits are never stored.

    Parameters
    ----------
    function : `cross_entropy`, `focal_loss`, `poly_loss`, `generalized_cross_entropy` or `linear_cross_entropy`

    Returns
    -------
    callable
        Takes the same NumPy arguments and ``vector``, an array of the logits' shape; returns ``H vector`` in it. For
        `linear_cross_entropy` a dict of directions by name, such as ``{"x": vx, "w": vw}``, in the arguments' shapes;
        it returns a dict of the same names. For PyTorch and JAX arrays use their own second derivatives.

    Examples
    --------
    >>> import numpy as np, xent
    >>> hvp(xent.cross_entropy)(np.zeros((1, 2)), [1], vector=np.array([[1.0, 0.0]])).tolist()
    [[0.25, -0.25]]
    >>> x, w = np.ones((1, 1)), np.zeros((2, 1))
    >>> hvp(xent.linear_cross_entropy)(x, w, [1], vector={"w": np.array([[1.0], [0.0]])})["w"].tolist()
    [[0.25], [-0.25]]
    """
    known = entry(function)

    @functools.wraps(function)
    def product(*args: Any, vector: Any, **options: Any) -> Any:
        given = _bind(function, args, options)
        loss: Any = known.read(**given)
        if not hasattr(loss, "hvp"):
            raise TypeError(f"hvp is there for losses of logits and linear_cross_entropy, not for {function.__name__}")
        if given.get("reduction") == "none" or given.get("from_probs"):
            raise ValueError('hvp needs logits and one number: use reduction="mean" or "sum", without from_probs')
        if "logits" not in given:
            if not isinstance(vector, Mapping) or not vector:
                raise TypeError(
                    f"vector must be a dict of directions by the arguments' names, not {type(vector).__name__}"
                )
            return loss.hvp(vector)
        shape = np.shape(given["logits"])
        if compat.is_torch_array(vector) or compat.is_jax_array(vector) or np.shape(vector) != shape:
            raise ValueError(f"vector must be a NumPy array of the logits' shape {shape}, not {np.shape(vector)}")
        v = np.asarray(vector, dtype=loss.dtype).reshape(loss.z.shape)
        return loss.hvp(v).reshape(shape).astype(loss.dtype, copy=False)

    return product


def _into(function: Any, known: Entry, given: dict[str, Any], wanted: tuple[str, ...], xp: Any, out: Any) -> Any:
    """NumPy: the value and the gradients, the logits' or a layer's in x in `out`."""
    if is_torch(xp) or is_jax(xp):
        kind = "PyTorch" if is_torch(xp) else "JAX"
        raise TypeError(f"out= is for NumPy arrays; {kind} makes its own gradients")
    if not {"logits", "x"} & set(wanted):
        raise ValueError(f"out= is for the gradient in the logits, or in x of a layer; wrt names {', '.join(wanted)}")
    loss = known.read(**given)
    if not isinstance(loss, SoftmaxLoss | LinearLoss):
        raise TypeError(f"out= is there for losses of a softmax's logits, not for {function.__name__}")
    return loss.gradients(wanted, out)


def _bind(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """All arguments by name, with defaults."""
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*args, **options)
    except TypeError as error:
        first = ", ".join(p.name for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY)
        message = f"{function.__name__}: {error}; it takes {first} by position and the rest by name"
        raise TypeError(message) from None
    bound.apply_defaults()
    return dict(bound.arguments)


def _wanted(known: Entry, given: dict[str, Any], wrt: tuple[str, ...] | str | None) -> tuple[str, ...]:
    """The arguments to differentiate in."""
    possible = tuple(n for n in known.differentiable if given.get(n) is not None and _floating(given[n], n))
    if wrt is None:
        return possible
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    wrong = [n for n in names if n not in possible]
    if wrong or not names:
        raise ValueError(f"wrt names {', '.join(wrong) or 'nothing'}; here it can name {', '.join(possible)}")
    return names


def _floating(value: Any, name: str) -> bool:
    """Whether an argument can be differentiated in: all but targets of labels."""
    if name != "target":
        return True
    if isinstance(value, TopK):
        return False
    if compat.is_array_api_obj(value) and not compat.is_numpy_array(value):
        return bool(compat.array_namespace(value).isdtype(value.dtype, "real floating"))
    return np.asarray(value).dtype.kind not in "iub"


def _torch_gradients(function: Any, given: dict[str, Any], wanted: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    import torch

    with torch.enable_grad():
        leaves = {n: torch.as_tensor(given[n]).detach().requires_grad_() for n in wanted}
        value = _call(function, {**given, **leaves})
        grads = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    found = {n: torch.zeros_like(leaf) if g is None else g for (n, leaf), g in zip(leaves.items(), grads, strict=True)}
    return value.detach(), found


def _jax_gradients(function: Any, given: dict[str, Any], wanted: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    import jax

    value, grads = jax.value_and_grad(lambda some: _call(function, {**given, **some}))({n: given[n] for n in wanted})
    return value, grads


def _call(function: Any, given: dict[str, Any]) -> Any:
    """Call with what can be given by position in its place."""
    bound = inspect.signature(function).bind_partial()
    bound.arguments.update(given)
    return function(*bound.args, **bound.kwargs)
