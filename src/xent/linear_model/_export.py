"""Linear classifiers as PyTorch layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from ._array_api import in_numpy


def layer(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weights (V, D) and intercepts (V,) of a fitted model, dense, in one dtype."""
    check_is_fitted(model)
    model = in_numpy(model)
    coef = model.coef_.toarray() if sparse.issparse(model.coef_) else np.asarray(model.coef_)
    return np.ascontiguousarray(coef), np.asarray(model.intercept_, coef.dtype)


def to_torch(model: Any) -> Any:
    """What `to_torch` of the estimators documents."""
    try:
        import torch
    except ImportError:
        raise ImportError('to_torch needs PyTorch: pip install "xent[torch]"') from None
    if model._export_kind in ("ordinal", "margin"):
        from . import _torch_layers

        check_is_fitted(model)
        make = {"ordinal": _torch_layers.OrdinalLayer, "margin": _torch_layers.MarginLayer}[model._export_kind]
        return make(model)
    coef, intercept = layer(model)
    W = torch.from_numpy(coef.copy())
    out = torch.nn.Linear(W.shape[1], W.shape[0], bias=bool(model.fit_intercept), dtype=W.dtype)
    with torch.no_grad():
        out.weight.copy_(W)
        if out.bias is not None:
            out.bias.copy_(torch.from_numpy(intercept.copy()))
    return out
