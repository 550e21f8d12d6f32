"""What a fitted linear classifier can be asked beyond predictions; each answer's code loads when it is asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._summary import Summary


class Inference:
    """The summary of a fit: standard errors and tests."""

    def summary(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        covariance: str = "model",
        groups: Any = None,
        weights: str = "frequency",
        reference: Any = None,
        level: float = 0.95,
        likelihood_ratio: bool = False,
        penalized: bool = False,
        offset: Any = None,
    ) -> Summary:
        """Coefficients with standard errors, intervals and tests, of a fit to these rows.

        The rows are asked for again, since a model keeps none; those of another fit are refused.

        Parameters
        ----------
        X, y, sample_weight
            What the model was fitted to.
        covariance : "model", "HC0", "HC1" or "cluster"
            Standard errors from the inverse Hessian, right where the model is; or robust ones (the sandwich), right
            for the best linear rule whatever is true: HC0 plain, HC1 times n / (n - coefficients), "cluster" for rows
            that depend on each other within `groups`.
        groups : array (N,), optional
            The cluster of each row, for ``covariance="cluster"``.
        weights : "frequency" or "probability"
            What ``sample_weight`` means: a row of weight 2 is two rows, or stands for twice as much of the population
            as others. The second has no likelihood (nor has class_weight), and needs robust standard errors.
        reference : class, optional
            The class that others are compared with, by default the first. Without a penalty only differences of
            classes are determined; ``coef_`` holds the ones that sum to zero over classes.
        level : float
            Of the intervals.
        likelihood_ratio : bool
            Also test each column by a fit without it.
        penalized : bool
            Take a fit with an L2 penalty too: the spread of its coefficients around their own mean, and no tests.
        offset : array (N,) or (N, K), optional
            What the model was fitted with. It stays in the null model too.

        Returns
        -------
        Summary
            Printed, it is a table; `to_dict()`, `wald_test(columns)`. The table is of the exact maximum, to which
            Newton's method goes from ``coef_``.

        Raises
        ------
        ValueError
            Rows of another fit; classes that are separated, or columns that repeat each other, with the names of the
            columns; a penalty that leaves no honest standard errors (always L1; L2 unless `penalized`); model-based
            standard errors for weights that are no frequencies.

        Notes
        -----
        For K > 2 classes and P coordinates each, memory for some matrices of ``8 (K P)^2`` bytes is taken.

        References
        ----------
        White, "Maximum likelihood estimation of misspecified models", Econometrica 50, 1982 (the sandwich). Gray,
        "Flexible methods for analyzing survival data using splines", JASA 87, 1992 (effective degrees of freedom).

        Examples
        --------
        >>> import numpy as np
        >>> from xent.linear_model import LogisticRegression
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(500, 2))
        >>> y = X[:, 0] + rng.logistic(size=500) > 0
        >>> found = LogisticRegression(C=np.inf).fit(X, y).summary(X, y)
        >>> found.standard_error.round(3).tolist(), bool(found.p[0, 0] < 1e-9), bool(found.p[0, 1] > 0.05)
        ([[0.136, 0.107, 0.103]], True, True)
        """
        from .inference import summarize

        return summarize(
            self,
            X,
            y,
            sample_weight,
            covariance=covariance,
            groups=groups,
            weights=weights,
            reference=reference,
            level=level,
            likelihood_ratio=likelihood_ratio,
            penalized=penalized,
            offset=offset,
        )


class Savable:
    """A file that holds a fitted estimator."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the estimator to a file of numbers and text, which `xent.linear_model.load_estimator` reads.

        It holds the parameters and the fitted attributes, in safetensors' format, and nothing that could run. It is
        written whole or not at all; a file of that name is replaced.

        Parameters
        ----------
        path : path of the file

        Raises
        ------
        FileError
            When the folder does not exist or cannot be written to. (A ValueError.)
        TypeError
            When a parameter is neither numbers nor text (a function, say): it is named.
        """
        from ._store import save_estimator

        save_estimator(self, path)


class Graphs(Savable):
    """A classifier for ONNX runtimes."""

    _export_kind: str

    def to_onnx(self, path: str | os.PathLike[str] | None = None, *, dtype: Any = None) -> Any:
        """An ONNX model with the input "X" (N, D) and the outputs "label" and "probabilities".

        They are `predict`'s, (N,) or of several labels (N, L), and `predict_proba`'s, (N, K). Names and shapes are
        those of sklearn-onnx without its ZipMap. The operators are ONNX's own (opset 17). The probit link's error
        function is computed in float32 even in a float64 graph: runtimes have no other.

        Parameters
        ----------
        path : optional
            A file to write, whole or not at all.
        dtype : float32 or float64, optional
            Of the input, the arithmetic and the probabilities; by default that of the fitted numbers.

        Returns
        -------
        onnx.ModelProto

        Raises
        ------
        ImportError
            Without the package onnx.
        TypeError
            Classes that are neither numbers, booleans nor text.
        """
        from ._onnx import to_onnx

        return to_onnx(self, path, dtype=dtype)


class Exports(Graphs):
    """A linear classifier for other libraries: ``coef_``, ``intercept_`` and ``classes_`` are all it needs."""

    _export_kind = "linear"

    def to_torch(self) -> Any:
        """A `torch.nn.Linear` whose outputs are `decision_function`'s: logits, for a loss that takes them.

        Returns
        -------
        torch.nn.Linear
            D inputs; K outputs, or one for two classes (the second one's logit, for
            ``torch.nn.BCEWithLogitsLoss``). In the dtype of ``coef_``, on the CPU, with copies of the numbers.

        Raises
        ------
        ImportError
            Without PyTorch.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from xent.linear_model import LogisticRegression
        >>> X, y = load_iris(return_X_y=True)
        >>> LogisticRegression().fit(X, y).to_torch()  # doctest: +SKIP
        Linear(in_features=4, out_features=3, bias=True)
        """
        from ._export import to_torch

        return to_torch(self)
