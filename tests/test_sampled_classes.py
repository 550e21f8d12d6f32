"""Sampled softmax: every set of a few classes enumerated, PyTorch's gradients and SparseAdam, whole fits."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from scipy import sparse, special
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from xent.linear_model import LogisticRegression, StreamingClassifier
from xent.linear_model._sampled import SampledObjective, Sampler
from xent.solvers import Adam, GradientDescent

RNG = np.random.default_rng(0)


class Fixed:
    """A sampler that draws one set."""

    def __init__(self, drawn, chance):
        self.drawn, self.chance = np.asarray(drawn, int), np.asarray(chance, float)

    def draw(self):
        return self.drawn


def sets(kind, K, m, chance):
    """Every set and its probability."""
    if kind == "uniform":
        every = list(itertools.combinations(range(K), m))
        return [(s, 1 / len(every)) for s in every]
    inside = itertools.product((False, True), repeat=K)
    return [(np.flatnonzero(i), float(np.prod(np.where(i, chance, 1 - chance)))) for i in inside]


@pytest.mark.parametrize("kind", ["uniform", "log-uniform", "frequency"])
def test_at_the_true_weights_the_expected_gradient_is_zero_and_the_penalty_whole(kind):
    K, m, D = 5, 2, 3
    sampler = Sampler(kind, K, m, 0, [1, 20, 3, 4, 9])
    W, x = RNG.normal(size=(K, D + 1)), RNG.normal(size=D)
    p = special.softmax(W[:, :D] @ x + W[:, D])
    gradient, penalty, total = np.zeros((K, D + 1)), np.zeros((K, D)), 0.0
    for drawn, probability in sets(kind, K, m, sampler.chance):
        for y in range(K):
            for l2, out in ((0.0, gradient), (0.7, penalty)):
                f = SampledObjective(x[None], np.array([y]), np.ones(1), Fixed(drawn, sampler.chance), l2, True)
                slope = f.value_and_grad(W[f.touched])[1]
                out[f.touched] += probability * p[y] * slope[:, : out.shape[1]]
        total += probability
    assert total == pytest.approx(1)
    np.testing.assert_allclose(gradient, 0, atol=1e-14)
    np.testing.assert_allclose(penalty, 0.7 * W[:, :D], atol=1e-13)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_value_and_gradient_are_pytorchs(kind):
    torch = pytest.importorskip("torch")
    K, n, D = 40, 12, 6
    X, y, weight = RNG.normal(size=(n, D)), RNG.integers(K, size=n), RNG.uniform(0.5, 2, n)
    sampler = Sampler("log-uniform", K, 15, 3)
    drawn = sampler.draw()
    W = RNG.normal(size=(K, D + 1))
    f = SampledObjective(kind(X), y, weight, Fixed(drawn, sampler.chance), 0.1, True)
    value, slope = f.value_and_grad(W[f.touched])
    # TensorFlow's sampled_softmax_loss: the label first, then the drawn ones, its own among them removed
    t, x, log_q = torch.tensor(W, requires_grad=True), torch.tensor(X), torch.tensor(np.log(sampler.chance))
    z = x @ t[:, :D].T + t[:, D] - log_q
    hits = torch.tensor(y)[:, None] == torch.tensor(drawn)
    candidates = torch.cat([z[torch.arange(n), y][:, None], z[:, drawn].masked_fill(hits, -np.inf)], dim=1)
    each = torch.nn.functional.cross_entropy(candidates, torch.zeros(n, dtype=torch.long), reduction="none")
    q = torch.tensor(weight / weight.sum())
    expected = (q * each).sum() + 0.05 * (t[drawn, :D] ** 2 / torch.tensor(sampler.chance[drawn])[:, None]).sum()
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(slope, t.grad.numpy()[f.touched], rtol=1e-10, atol=1e-14)
    others = np.setdiff1d(np.arange(K), f.touched)
    assert not t.grad.numpy()[others].any()


@pytest.mark.parametrize("kind", ["uniform", "log-uniform", "frequency"])
def test_draws_have_their_chances(kind):
    K, m = 12, 4
    sampler = Sampler(kind, K, m, 1, RNG.integers(100, size=K) ** 2)
    assert sampler.chance.sum() == pytest.approx(m)
    assert sampler.chance.max() <= 1
    counts = np.zeros(K)
    for _ in range(4000):
        drawn = sampler.draw()
        assert (np.diff(drawn) > 0).all()
        counts[drawn] += 1
    error = np.sqrt(sampler.chance * (1 - sampler.chance) / 4000)
    assert (np.abs(counts / 4000 - sampler.chance) <= 5 * error + 1e-12).all()
    if kind == "log-uniform":  # TensorFlow's log_uniform_candidate_sampler, where none is certain
        k = np.arange(1000)
        zipf = (np.log(k + 2) - np.log(k + 1)) / np.log(1001)
        np.testing.assert_allclose(Sampler(kind, 1000, 2, 0).chance, np.minimum(2 * zipf, 1), rtol=1e-12)


def test_sparse_steps_are_pytorchs_sparse_adam():
    torch = pytest.importorskip("torch")
    ours, rule = RNG.normal(size=(8, 3)), Adam(0.8, 0.95, 1e-14)  # theirs adds epsilon before the bias is corrected
    theirs = torch.tensor(ours.copy(), requires_grad=True)
    optimizer = torch.optim.SparseAdam([theirs], lr=0.03, betas=(0.8, 0.95), eps=1e-14)
    for _ in range(15):
        rows = np.flatnonzero(RNG.random(8) < 0.5)
        gradient = RNG.normal(size=(len(rows), 3))
        theirs.grad = torch.sparse_coo_tensor(
            torch.tensor(rows)[None], torch.tensor(gradient), (8, 3), check_invariants=True
        )
        optimizer.step()
        ours[rows] += rule.step_rows(gradient, 0.03, rows, 8)
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(GradientDescent().step_rows(gradient, 0.1, rows, 8), -0.1 * gradient)
    with pytest.raises(ValueError, match="no momentum"):
        GradientDescent(0.9).step_rows(gradient, 0.1, rows, 8)


@pytest.mark.filterwarnings("ignore:.*ended after:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("sampling", ["uniform", "frequency"])
def test_all_classes_drawn_are_the_softmax(optimizer, sampling):
    X, y = load_digits(return_X_y=True)
    options = {"optimizer": optimizer, "max_iter": 3, "random_state": 0, "alpha": 1e-2, "learning_rate": 0.01}
    whole = StreamingClassifier(**options).fit(X / 16, y)
    drawn = StreamingClassifier(**options, sampled_classes=10, sampling=sampling).fit(X / 16, y)
    np.testing.assert_allclose(drawn.coef_, whole.coef_, rtol=1e-9, atol=1e-13)
    assert drawn.history_[-1]["loss"] == pytest.approx(whole.history_[-1]["loss"], rel=1e-10)
    np.testing.assert_allclose(drawn.convergence_, whole.convergence_, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*ended after:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("sampling", ["uniform", "frequency"])
def test_a_few_classes_come_near_the_minimum_of_all(sampling):
    """Where the model is right."""
    K, N, D = 60, 20000, 5
    W, b = RNG.normal(size=(K, D)), -1.5 * np.log1p(np.arange(K))
    X = RNG.normal(size=(N, D))
    y = np.argmax(X @ W.T + b + RNG.gumbel(size=(N, K)), axis=1)
    alpha = 1e-6
    best = LogisticRegression(C=1 / (alpha * N), tol=1e-4).fit(X, y)
    options = {"alpha": alpha, "batch_size": 128, "learning_rate": 0.05, "schedule": "cosine", "max_iter": 12}
    model = StreamingClassifier(**options, sampled_classes=8, sampling=sampling, random_state=0).fit(X, y)
    loss, least = (-m.predict_log_proba(X)[np.arange(N), np.searchsorted(m.classes_, y)].mean() for m in (model, best))
    assert loss - least < 0.02
    assert model.optimizer_ == "adam"


def test_streams_and_partial_fit():
    X, y = load_digits(return_X_y=True)
    model = StreamingClassifier(sampled_classes=4, random_state=0, learning_rate=0.02)
    for _ in range(25):
        model.partial_fit(X / 16, y, classes=np.arange(10))
    assert model.score(X / 16, y) > 0.8
    model.set_params(max_iter=15, early_stopping=True)
    model.fit(lambda: ((X[i : i + 300] / 16, y[i : i + 300]) for i in range(0, len(y), 300)))
    assert model.history_[-1]["validation_loss"] < 1.5


def test_what_is_refused():
    X, y = load_digits(return_X_y=True)
    for options, words in (
        ({"optimizer": "lbfgs"}, "needs optimizer='sgd' or 'adam', not 'lbfgs'"),
        ({"optimizer": "momentum"}, "needs optimizer='sgd' or 'adam', not 'momentum'"),
        ({"sampled_classes": 11}, "sampled_classes=11 of 10 classes"),
        ({"sampled_classes": 0}, "sampled_classes must be a number from 1"),
        ({"sampling": "often"}, "sampling must be one of uniform, log-uniform, frequency"),
    ):
        with pytest.raises(ValueError, match=words):
            StreamingClassifier(**{"sampled_classes": 3, **options}).fit(X, y)
    with pytest.raises(ValueError, match="more than 2 classes"):
        StreamingClassifier(sampled_classes=1).fit(X, y > 4)
    with pytest.raises(ValueError, match="counts the classes first"):
        StreamingClassifier(sampled_classes=3, sampling="frequency").partial_fit(X, y, classes=np.arange(10))


@pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")
def test_thousands_of_classes_never_hold_all_logits():
    N = K = 4000
    X = RNG.normal(size=(N, 8)).astype(np.float32)
    y = np.arange(K)
    logits = N * K * 8  # bytes
    tracemalloc.start()
    with pytest.warns(ConvergenceWarning):
        model = LogisticRegression(max_iter=2, C=1.0).fit(X, y)
    task, _ = model._task(X, y, None)
    theta = np.column_stack([model.coef_, model.intercept_]).astype(np.float64)
    task.objective().curvature(theta)
    model.predict(X)
    with pytest.warns(ConvergenceWarning):
        StreamingClassifier(max_iter=1, sampled_classes=100).fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.8 * logits  # pieces of 4 million logits with their temporaries; pairs of L-BFGS
