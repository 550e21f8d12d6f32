"""A summary of a fitted model: coefficients with their errors, tests and figures; as text, HTML and a dictionary."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import special


class Test(NamedTuple):
    """A test: its chi-square statistic, its degrees of freedom and its p-value."""

    statistic: float
    df: int
    p: float


def chi_square(statistic: float, df: int) -> Test:
    """A statistic with its p-value."""
    return Test(float(statistic), int(df), float(special.chdtrc(df, max(statistic, 0.0))))


@dataclass(frozen=True, eq=False)
class Summary:
    """What `LogisticRegression.summary` gives; printed, it is a table.

    R contrasts of classes (one for two classes, else K - 1) and P coordinates (the columns, then the intercept).

    Attributes
    ----------
    classes : tuple of (class, reference class), one for each contrast
    names : tuple of P str
    coefficient, standard_error, z, p, lower, upper : float64 arrays (R, P)
        Changes of the log-odds of the class against the reference, in nats for one unit of the column. `p` is
        two-sided by the normal distribution; `lower` and `upper` are the ends of the interval of `level`. z and p are
        NaN for a penalised fit.
    covariance : float64 array (R P, R P)
        Of the coefficients, contrast by contrast.
    covariance_kind : str
    level : float
    n : float
        Rows, or the sum of the weights where they are frequencies.
    df_model, df_residual : float
        Coefficients but the intercepts (effective ones, the trace of the Hessian over the penalised one's, where there
        is a penalty), and n less all coefficients.
    log_likelihood : float
    null_log_likelihood, aic, bic, mcfadden : float
        That of the model with nothing but intercepts (or no coefficients, without an intercept), in nats; NaN where
        weights are no frequencies, so that there is no likelihood.
    likelihood_ratio, wald : Test or None
        All columns together against the null model.
    columns : dict of str to dict
        For each column, its "wald" test over all contrasts, and its "likelihood_ratio" test where asked for.
    notes : tuple of str
        What must be known to read the table.
    """

    classes: tuple[tuple[Any, Any], ...]
    names: tuple[str, ...]
    coefficient: np.ndarray
    standard_error: np.ndarray
    z: np.ndarray
    p: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    covariance: np.ndarray
    covariance_kind: str
    level: float
    n: float
    df_model: float
    df_residual: float
    log_likelihood: float
    null_log_likelihood: float
    aic: float
    bic: float
    mcfadden: float
    likelihood_ratio: Test | None
    wald: Test | None
    columns: dict[str, dict[str, Test]]
    notes: tuple[str, ...]

    def wald_test(self, columns: str | Sequence[str]) -> Test:
        """Whether the coefficients of these columns are zero, all of them in all contrasts.

        Parameters
        ----------
        columns : name, or names, out of `names`

        Returns
        -------
        Test
            The statistic is ``b' V^-1 b``, chi-square with as many degrees of freedom as there are coefficients.

        Raises
        ------
        ValueError
            A name that is not there; a penalised fit, whose estimates are biased towards zero.
        """
        names = [columns] if isinstance(columns, str) else list(columns)
        for name in names:
            if name not in self.names:
                raise ValueError(f"no column {name!r}: there are {', '.join(self.names)}")
        if not names:
            raise ValueError("no columns to test")
        if np.isnan(self.z).all():
            raise ValueError("a penalised fit has no Wald test: its coefficients are biased towards zero")
        at = [r * len(self.names) + self.names.index(name) for r in range(len(self.classes)) for name in names]
        b = self.coefficient.ravel()[at]
        return chi_square(float(b @ np.linalg.solve(self.covariance[np.ix_(at, at)], b)), len(at))

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python numbers, lists and dictionaries, ready for JSON (NaN is None)."""
        table = [dict(zip(("class", "reference", "column", *FIELDS), row, strict=True)) for row in self._rows()]
        figures = {name: _plain(getattr(self, name)) for name in FIGURES}
        tests = {name: _test(getattr(self, name)) for name in ("likelihood_ratio", "wald")}
        columns = {name: {kind: _test(t) for kind, t in each.items()} for name, each in self.columns.items()}
        about = {"covariance_kind": self.covariance_kind, "level": self.level, "notes": list(self.notes)}
        return {"coefficients": table, **figures, **tests, "columns": columns, **about}

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for r, (one, other) in enumerate(self.classes):
            for j, name in enumerate(self.names):
                numbers = (_plain(getattr(self, field)[r, j]) for field in FIELDS)
                yield (_plain(one), _plain(other), name, *numbers)

    def _figures(self) -> list[tuple[str, str]]:
        words = {
            "n": "observations",
            "df_model": "degrees of freedom, model",
            "df_residual": "degrees of freedom, residual",
            "log_likelihood": "log-likelihood (nats)",
            "null_log_likelihood": "log-likelihood, null",
            "mcfadden": "McFadden's R2",
            "aic": "AIC",
            "bic": "BIC",
        }
        out = [(word, f"{getattr(self, name):.6g}") for name, word in words.items() if not _missing(self, name)]
        for word, test in (("likelihood ratio", self.likelihood_ratio), ("Wald", self.wald)):
            if test is not None:
                out.append((f"{word} test of all columns", f"chi2({test.df}) = {test.statistic:.6g}, p = {test.p:.3g}"))
        return [*out, ("standard errors", self.covariance_kind)]

    def _table(self) -> tuple[list[str], list[list[str]]]:
        percent = f"{100 * self.level:g}%"
        head = ["", "coefficient", "std. error", "z", "p", f"{percent} from", "to"]
        shown = [
            [name, *(_text(f, v) for f, v in zip(FIELDS, rest, strict=True))] for _, _, name, *rest in self._rows()
        ]
        return head, shown

    def __str__(self) -> str:
        head, rows = self._table()
        width = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

        def line(row: list[str]) -> str:
            return "  ".join([row[0].ljust(width[0]), *(v.rjust(w) for v, w in zip(row[1:], width[1:], strict=True))])

        figures = self._figures()
        wide = max(len(word) for word, _ in figures)
        out = [f"{word.ljust(wide)}  {value}" for word, value in figures]
        for r, (one, other) in enumerate(self.classes):
            out += ["", f"log-odds of {one} against {other}", line(head).rstrip()]
            out += [line(row) for row in rows[r * len(self.names) : (r + 1) * len(self.names)]]
        return "\n".join([*out, *(f"note: {note}" for note in self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, rows = self._table()

        def row(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        parts = ["<table>", *(row(pair, "td") for pair in self._figures()), "</table>"]
        for r, (one, other) in enumerate(self.classes):
            caption = html.escape(f"log-odds of {one} against {other}")
            parts += [f"<table><caption>{caption}</caption>", row(head, "th")]
            parts += [row(cells, "td") for cells in rows[r * len(self.names) : (r + 1) * len(self.names)]]
            parts.append("</table>")
        return "".join([*parts, *(f"<p>{html.escape(note)}</p>" for note in self.notes)])


FIELDS = ("coefficient", "standard_error", "z", "p", "lower", "upper")
FIGURES = ("n", "df_model", "df_residual", "log_likelihood", "null_log_likelihood", "aic", "bic", "mcfadden")


def _missing(summary: Summary, name: str) -> bool:
    return bool(np.isnan(getattr(summary, name)))


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value


def _test(test: Test | None) -> Any:
    return None if test is None else test._asdict()


def _text(field: str, value: float | None) -> str:
    if value is None:
        return "-"
    if field == "p":
        return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
    return f"{value:.2f}" if field == "z" else f"{value:.4g}"
