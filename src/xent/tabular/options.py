"""How to train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import TableError
from .schema import MAX_LEVELS


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Parameters
    ----------
    test : float
        Share of the rows held out for the final figures, 0 <= test < 1. With 0 the figures come from cross-validation.
    folds : int
        Folds of the cross-validation, at least 2.
    grid : tuple of float, optional
        Values of C to try, and no others. One value fixes C, and nothing is tuned. By default ten from 1e-4 to 1e4,
        then six more on both sides of the best.
    select : int, optional
        Keep only this many features of the matrix, those with the largest ANOVA F in training.
    min_category, max_levels : int
        Levels of a category seen fewer times, or beyond so many, share one level.
    seed : int
        Of the split and the folds.
    types : mapping of str to str
        Column name to ``number``, ``category``, ``date`` or ``drop``.
    drop, drop_class : tuple of str
        Columns, and classes by their text, to leave out.
    drop_missing : bool
        Leave rows without a label out, instead of refusing them.
    report : bool
        Keep what `TrainResult.to_html` needs: the judged rows and the training matrix.
    """

    test: float = 0.2
    folds: int = 5
    grid: tuple[float, ...] | None = None
    select: int | None = None
    min_category: int = 2
    max_levels: int = MAX_LEVELS
    seed: int = 0
    types: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    drop_class: tuple[str, ...] = ()
    drop_missing: bool = False
    report: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not 0 <= self.test < 1:
            raise TableError(f"the test part must be a share from 0 to below 1, not {self.test:g}")
        if self.folds < 2:
            raise TableError(f"cross-validation needs at least 2 folds, not {self.folds}")
        for c in self.grid or ():
            if not 0 < c < float("inf"):
                raise TableError(f"C must be a positive number, not {c:g}")
        if self.grid is not None and not self.grid:
            raise TableError("there is no C to try")
        if not 0 <= self.seed < 2**32:
            raise TableError(f"the seed must be a whole number from 0 to 2^32 - 1, not {self.seed}")
        for name in ("select", "min_category", "max_levels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise TableError(f"{name.replace('_', '-')} must be at least 1, not {value}")
        if self.grid is not None:
            object.__setattr__(self, "grid", tuple(sorted(set(self.grid))))
