"""The data of the cases, made once and kept in a folder for the processes that fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage, sparse


@dataclass(frozen=True)
class Case:
    """One problem.

    Attributes
    ----------
    make : its name in `MAKERS`
    options : its options
    l1 : the penalty is ``lambda |w|_1`` with this share of the least lambda that gives no coefficients; 0: L2 with C=1
    points : above 1: a path of this many lambdas, down to the last
    """

    make: str
    options: dict[str, Any]
    l1: float = 0.0
    points: int = 1


CASES = {
    "a: binary 200000 x 50": Case("binary", {}),
    "a2: binary, badly scaled": Case("binary", {"scaled": True}),
    "b: pixels 60000 x 784, 10 classes": Case("pixels", {}),
    "c: correlated 50000 x 128, 100 classes": Case("correlated", {}),
    "d: sparse 100000 x 50000, L2": Case("words", {}),
    "d1: sparse 100000 x 50000, L1": Case("words", {}, l1=1 / 30),
    "e: binary 20000 x 500, L1": Case("few", {}, l1=0.1),
    "e100: binary 20000 x 500, L1 path of 100": Case("few", {}, l1=0.1, points=100),
    "f: embeddings 100000 x 768, 1000 classes": Case("embeddings", {}),
    "digits 1797 x 64, 10 classes": Case("digits", {}),
    "cancer 569 x 30, unscaled": Case("cancer", {}),
}


def binary(rng: np.random.Generator, N: int = 200_000, D: int = 50, scaled: bool = False) -> tuple[Any, Any]:
    """Features with correlation 0.7; `scaled`: in units that span four orders of magnitude."""
    X = np.sqrt(0.3) * rng.normal(size=(N, D)) + np.sqrt(0.7) * rng.normal(size=(N, 1))
    y = rng.random(N) < 1 / (1 + np.exp(-X @ rng.normal(size=D) / 3))
    return (X * np.logspace(-2, 2, D) if scaled else X), y.astype(np.int64)


def pixels(rng: np.random.Generator, N: int = 60_000) -> tuple[Any, Any]:
    """scikit-learn's digits drawn 28 pixels wide, each time turned, moved and with other noise; values 0 to 1."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    chosen = rng.integers(len(labels), size=N)
    X = np.empty((N, 784))
    for row, source in zip(X, chosen, strict=True):
        angle, grow = rng.normal(scale=0.15), 8 / 28 * rng.uniform(0.9, 1.2)
        turn = grow * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shift = np.array([3.5, 3.5]) - turn @ (np.array([13.5, 13.5]) + rng.normal(size=2))
        image = ndimage.affine_transform(images[source].reshape(8, 8) / 16, turn, shift, (28, 28), order=1)
        row[:] = np.clip(image + rng.normal(scale=0.05, size=(28, 28)) * (image > 0), 0, 1).ravel()
    return X, labels[chosen]


def correlated(rng: np.random.Generator, N: int = 50_000, D: int = 128, K: int = 100) -> tuple[Any, Any]:
    """Features that share directions, and classes drawn from a softmax of them."""
    X = rng.normal(size=(N, D)) @ (rng.normal(size=(D, D)) / np.sqrt(D) + np.eye(D))
    z = X @ rng.normal(size=(D, K)) / np.sqrt(D) + rng.gumbel(size=(N, K))
    return X, z.argmax(axis=1)


def words(rng: np.random.Generator, N: int = 100_000, D: int = 50_000, each: int = 120) -> tuple[Any, Any]:
    """Counts of words with Zipf's frequencies, each row scaled to length 1: about 100 entries a row."""
    share = 1 / np.arange(10, D + 10)
    drawn = np.searchsorted(np.cumsum(share) / share.sum(), rng.random((N, each)))
    X = sparse.csr_matrix((np.ones(N * each), drawn.ravel(), np.arange(0, N * each + 1, each)), shape=(N, D))
    X.sum_duplicates()
    X.data = 1 + np.log(X.data)
    X = sparse.diags_array(1 / np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel())) @ X
    w = rng.normal(size=D) * 4
    y = rng.random(N) < 1 / (1 + np.exp(-(X @ w)))
    return sparse.csr_matrix(X), y.astype(np.int64)


def few(rng: np.random.Generator, N: int = 20_000, D: int = 500) -> tuple[Any, Any]:
    """Correlated features of which 30 matter."""
    X = np.sqrt(0.5) * rng.normal(size=(N, D)) + np.sqrt(0.5) * rng.normal(size=(N, 1))
    w = np.where(np.arange(D) < 30, rng.normal(size=D), 0)
    return X, (rng.random(N) < 1 / (1 + np.exp(-X @ w))).astype(np.int64)


def embeddings(rng: np.random.Generator, N: int = 100_000, D: int = 768, K: int = 1000) -> tuple[Any, Any]:
    """Rows of length 1 around a thousand centres, with a spectrum that falls as a trained network's does; float32."""
    label = rng.integers(K, size=N)
    spectrum = np.arange(1, D + 1) ** -0.5
    turn = np.linalg.qr(rng.normal(size=(D, D)))[0]
    X = (rng.normal(size=(K, D))[label] + 1.5 * rng.normal(size=(N, D))) * spectrum @ turn
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32), label


def digits(rng: np.random.Generator) -> tuple[Any, Any]:
    """scikit-learn's digits, as they are."""
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def cancer(rng: np.random.Generator) -> tuple[Any, Any]:
    """scikit-learn's breast cancer, as it is: columns from 1e-3 to 4e3."""
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(return_X_y=True)


MAKERS = {f.__name__: f for f in (binary, pixels, correlated, words, few, embeddings, digits, cancer)}


def make(case: Case, folder: Path) -> None:
    """Write a case's arrays, unless they are there."""
    path = folder / f"{key(case)}.npz"
    if path.exists():
        return
    X, y = MAKERS[case.make](np.random.default_rng(0), **case.options)
    if sparse.issparse(X):
        np.savez(path, data=X.data, indices=X.indices, indptr=X.indptr, shape=X.shape, y=y)
    else:
        np.savez(path, X=X, y=y)


def load(case: Case, folder: Path) -> tuple[Any, Any]:
    """X, dense or CSR, and y."""
    with np.load(folder / f"{key(case)}.npz") as kept:
        if "X" in kept:
            return kept["X"], kept["y"]
        return sparse.csr_matrix((kept["data"], kept["indices"], kept["indptr"]), shape=tuple(kept["shape"])), kept["y"]


def key(case: Case) -> str:
    """The name of a case's file."""
    return "_".join([case.make, *(f"{k}_{v}" for k, v in case.options.items())])
