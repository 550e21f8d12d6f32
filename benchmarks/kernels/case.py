"""What a case, a candidate and the truth about their answers are."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

# The largest error of a gradient over the largest entry of the true one, and of a loss over the true one.
HALF = ("bfloat16", "float16")
TOLERANCE = {"float64": 1e-10, "float32": 5e-4, "bfloat16": 0.05, "float16": 0.01}
MIB = 2**20


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes
    ----------
    family : the module of this package that knows how
    shape : (N, K) of logits, (N, D, K) of layers, (N, D, K, entries a row) of sparse ones
    dtype : of the logits, or of x and w
    what : "loss and gradient" or "loss" of logits; "gradients in w" or "all gradients" of layers, each with the loss
    within : the target for the time over the limit's, or None
    ahead : the targets for a peer's time over ours, by the peer's name
    spare : the target for peak memory beyond the gradients, in MiB, or None
    peers : the candidates to run, or None for all
    peaks : the candidates whose memory is measured, or None for all that say so
    """

    family: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    what: str = "loss and gradient"
    within: float | None = None
    ahead: Mapping[str, float] = field(default_factory=dict)
    spare: float | None = None
    peers: tuple[str, ...] | None = None
    peaks: tuple[str, ...] | None = ()

    @property
    def name(self) -> str:
        """For people, and for ``--only``."""
        return f"{self.family} {' x '.join(map(str, self.shape))} {self.dtype}, {self.what}"

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return {"float64": 8, "float32": 4}.get(self.dtype, 2)

    def tiny(self) -> Case:
        """The same with few rows: what its first call loads and starts is then no part of its memory."""
        return dataclasses.replace(self, shape=(min(64, self.shape[0]), *self.shape[1:]))


class AbsentError(Exception):
    """Why a candidate does not take part."""


@dataclass
class Candidate:
    """Something that computes a case: `run` does it once, `answer` gives what came out by name, unscaled.

    Gradients are those of the sum over the rows, "loss" is the mean.
    """

    run: Callable[[], Any]
    answer: Callable[[Any], dict[str, tuple[Any, float]]]


class Maker(NamedTuple):
    """How a candidate is made: ``make(case, data, threads)``, which raises `AbsentError` or ImportError if it cannot.

    `logits` is how many arrays of the size of the logits it needs at once, `ours` whether it is xent's, `compiled`
    whether its first call compiles, `peak` whether its memory is measured (which takes a process and seconds).
    """

    make: Callable[[Case, Any, int], Candidate]
    ours: bool = False
    logits: float = 0
    compiled: bool = False
    peak: bool = True


class Part(NamedTuple):
    """A part of the truth: the rows of a gradient that are checked, and what they are, in float64."""

    rows: Any
    value: Any


class Family(Protocol):
    """What a module of cases has."""

    CANDIDATES: dict[str, Maker]

    def data(self, case: Case) -> Any:
        """The inputs."""

    def truth(self, case: Case, data: Any) -> dict[str, Part]:
        """The right answer, or a sample of it."""

    def limits(self, case: Case, data: Any, threads: int) -> dict[str, Any]:
        """What the machine allows: each a table of runs of which the best counts, or seconds; the largest is it."""

    def gradient_bytes(self, case: Case) -> int:
        """The size of what is asked for."""


def family(case: Case) -> Family:
    """The module of a case."""
    module: Any = importlib.import_module(f".{case.family}", __package__)
    return module


def make(case: Case, name: str, data: Any, threads: int, most: float) -> Candidate:
    """A candidate, unless it is not installed, can't do the case, or would need more than `most` GB for logits."""
    check_size(case, name, most)
    try:
        return family(case).CANDIDATES[name].make(case, data, threads)
    except ImportError as error:
        raise AbsentError(f"not installed: {error.name or error}") from None


def check_size(case: Case, name: str, most: float) -> None:
    """Raise where a candidate would need more than `most` GB for its arrays of logits."""
    arrays = family(case).CANDIDATES[name].logits
    needs = arrays * case.shape[0] * case.shape[2 if len(case.shape) > 2 else 1] * case.itemsize / 1e9
    if needs > most:
        raise AbsentError(f"needs some {needs:.1f} GB for {arrays:g} arrays of logits, more than the {most:g} allowed")


def errors(truth: Mapping[str, Part], answer: Mapping[str, tuple[Any, float]]) -> dict[str, float]:
    """The largest error of each part over the largest number in it."""
    found = {}
    for name, part in truth.items():
        if name not in answer:
            continue
        array, scale = answer[name]
        got = numbers(array[part.rows] if part.rows is not None else array) * scale
        found[name] = float(np.max(np.abs(got - part.value)) / max(float(np.max(np.abs(part.value))), 1e-300))
    return found


def numbers(array: Any) -> Any:
    """Any library's array in NumPy's float64."""
    if hasattr(array, "detach"):
        array = array.detach().double().numpy()
    return np.asarray(array).astype(np.float64)


def numpy_dtype(name: str) -> Any:
    """A dtype by its name."""
    if name == "bfloat16":
        import ml_dtypes  # comes with JAX; NumPy has no bfloat16 of its own

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def tensor(array: Any) -> Any:
    """A PyTorch tensor on the memory of an array."""
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def sample(total: int, most: int = 64) -> Any:
    """At most `most` indices, spread over all."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).astype(np.int64))
