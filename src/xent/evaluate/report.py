"""The report on predictions as one object: figures, a dictionary, text, pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from ._maps import json_plain
from .measures import Figures
from .sections import sections

SCHEMA = "xent.evaluation/1"


@dataclass(frozen=True)
class Evaluation:
    """How good predicted probabilities are. Built by `xent.evaluate.evaluate`.

    Losses are in nats unless a name ends in ``_bits``. None stands where a figure is not defined, infinity where an
    event of probability 0 happened.

    Attributes
    ----------
    figures : dict
        The flat figures; in `to_dict` they are top-level keys: ``rows``, ``classes``, ``class_names``, ``positive`` (of
        two classes; else None), ``level`` (of intervals), ``cross_entropy``,
        ``finite_cross_entropy`` (of the rows where it is finite), ``interval`` [low, high],
        ``standard_error``, ``perplexity``, the first three with ``_bits`` too, ``label_entropy`` (the cost of always
        predicting the rows' own class shares), ``skill`` (1 - cross_entropy / label_entropy), ``saving`` with
        ``saving_low`` and ``saving_high`` (label_entropy - cross_entropy and its interval), ``accuracy``,
        ``confidence`` (mean probability of the likeliest class) with ``confidence_z``, ``brier`` (sum over classes, 0
        to 2), ``expected_cross_entropy`` (what the predictions themselves expect), ``impossible`` and
        ``impossible_rows`` (the first ten, from 0), ``misses`` (rows that were not of their likeliest class).
    verdict : list of str
        What they say in words, a sentence each.
    data : dict
        ``rows``, ``classes``, ``kind``, ``farthest_sum`` (largest distance of a sum from one; NaN is refused),
        ``repeated`` (rows that equal an earlier one in label and all predictions; None of more than four million rows,
        and where rows have weights),
        ``impossible``, ``impossible_rows``, ``classes_never_seen`` (at most 50) and their count.
    calibration : dict
        ``event`` (two classes), ``top_label``, ``classes`` (by name; 3 to 12 classes): each with ``decomposition``
        (`xent.evaluate.decomposition.decomposition_panel`) and ``reliability`` (`reliability.reliability_panel`).
    per_class : list of dict
        See `per_class.per_class_panel`.
    losses : dict
        See `surprise.distribution_panel`.
    surprise : dict
        See `surprise.surprise_panel`.
    confusion : dict
        See `confusion.Confusion.panel`.
    curves : dict or None
        Of two classes, see `curves.curves_panel`.
    thresholds : list of dict or None
        Of two classes, see `curves.thresholds_panel`.
    coverage : list of dict
        See `curves.coverage_panel`.
    slices : list of dict
        One for each column asked for, see `slices.SliceSums.panel`.
    recalibration : dict or None
        The loss before and after cross-fitted recalibration, see `mended.recalibration_panel`; None where it was not
        tried, and ``method["recalibration"]`` says why.
    method : dict
        ``versions``, ``seed``, ``simulations``, ``exact_scores`` (False where scores were counted in cells), ``input``,
        ``input_sha256``, ``recalibration`` (on which rows it was judged), and what the caller adds. Where rows have
        weights, ``weights`` says so and ``left_out`` which panels are empty ({}, [] or None): those that take none.
    """

    figures: dict[str, Any]
    verdict: list[str]
    data: dict[str, Any]
    calibration: dict[str, Any]
    per_class: list[dict[str, Any]]
    losses: dict[str, Any]
    surprise: dict[str, Any]
    confusion: dict[str, Any]
    curves: dict[str, Any] | None
    thresholds: list[dict[str, Any]] | None
    coverage: list[dict[str, Any]]
    slices: list[dict[str, Any]]
    recalibration: dict[str, Any] | None
    method: dict[str, Any]

    @property
    def summary(self) -> Figures:
        """The few figures that every command prints."""
        values = {f.name: self.figures[f.name] for f in fields(Figures)}
        return Figures(**{**values, "impossible_rows": tuple(values["impossible_rows"])})

    @property
    def rows(self) -> int:
        """How many rows were judged."""
        return int(self.figures["rows"])

    @property
    def cross_entropy(self) -> float:
        """Mean of -log p(label), in nats."""
        return float(self.figures["cross_entropy"])

    @property
    def interval(self) -> tuple[float, float]:
        """Its interval, in nats."""
        low, high = self.figures["interval"]
        return low, high

    @property
    def skill(self) -> float:
        """``1 - cross_entropy / label_entropy``."""
        return float(self.figures["skill"])

    @property
    def accuracy(self) -> float:
        """Share of rows whose likeliest class (the first among equals) is the label."""
        return float(self.figures["accuracy"])

    def to_dict(self) -> dict[str, Any]:
        """Everything as dictionaries, lists, numbers and text; ``schema`` names the layout.

        The flat figures are top-level keys, the panels follow under their attributes' names. Infinities and NaN stay
        floats; `to_json` writes them as the texts "inf", "-inf" and "nan".
        """
        panels = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "figures"}
        return {"schema": SCHEMA, **self.figures, **panels}

    def to_json(self) -> str:
        """`to_dict` as strict JSON text, with infinities and NaN as texts."""
        return json.dumps(json_plain(self.to_dict()), ensure_ascii=False, indent=1)

    def to_markdown(self) -> str:
        """The report as text with tables; names are escaped, so that no label is taken for HTML."""
        lines = ["# Evaluation", ""]
        lines += [f"- {_escape(sentence)}" for sentence in self.verdict]
        for title, header, rows in sections(self):
            lines += [
                "",
                f"## {_escape(title)}",
                "",
                _line(header or ("",) * len(rows[0])),
                _line(("---",) * len(rows[0])),
            ]
            lines += [_line(row) for row in rows]
        return "\n".join(lines) + "\n"

    def to_rows(self) -> list[tuple[str, str, str]]:
        """Every number and text as (panel, item, value): what ``-o report.csv`` writes.

        The item is the way to it below the panel, such as ``top_label.reliability.points.3.low``.
        """
        found: list[tuple[str, str, str]] = []
        for name, value in self.to_dict().items():
            _flatten(value, name, (), found)
        return found

    def to_html(self, *, title: str | None = None, model: dict[str, Any] | None = None) -> str:
        """The report as one web page that needs nothing else: no network, works from disk.

        Parameters
        ----------
        title : str, optional
            By default the name of the input.
        model : dict, optional
            What a model tells of itself, see `xent.evaluate.page.model.pages`.

        Returns
        -------
        str
            At most 400 kB as UTF-8, however many rows and classes there are: longer tables are cut, and say so.
            Where rows have weights, the panels that take none are left out, and the page says so.
        """
        from .page import render

        return render(self.to_dict(), title=title, model=model)

    def _repr_html_(self) -> str:
        """The page in a frame, for notebooks."""
        from .page import framed

        return framed(self.to_html())

    def plot(self, panel: str = "reliability", *, ax: Any = None) -> Any:
        """Draw a panel with matplotlib (``pip install "xent[plot]"``).

        Parameters
        ----------
        panel : {"reliability", "losses", "decomposition", "roc", "pr"}
            The curves are of two classes only.
        ax : matplotlib Axes, optional
            Where to draw; a new figure's by default.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ValueError
            No such panel, or one that these predictions do not have.
        """
        from .draw import draw

        return draw(self, panel, ax)

    def __str__(self) -> str:
        return "\n".join(self.verdict)


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(_escape(c).replace("|", "\\|") for c in cells) + " |"


def _escape(text: str) -> str:
    """One line of text, with what Markdown would hand on as HTML written out."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").splitlines())


def _flatten(value: Any, panel: str, way: tuple[str, ...], found: list[tuple[str, str, str]]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(inner, panel, (*way, str(key)), found)
    elif isinstance(value, (list, tuple)):
        for place, inner in enumerate(value):
            _flatten(inner, panel, (*way, str(place)), found)
    else:
        found.append((panel, ".".join(way), "" if value is None else str(value)))
