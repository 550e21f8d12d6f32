"""The record as a picture: over the limit, peers over xent, growth, threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure

INK, OURS, SOFT = "#222222", "#0b6e4f", "#b8b8b8"
STYLES = {
    "torch eager": ("o", "#c44536"),
    "torch.compile": ("s", "#e28413"),
    "torch chunks": ("v", "#8d5a97"),
    "torch best chunks": ("^", "#8d5a97"),
    "JAX": ("D", "#3f6cb5"),
    "optax": ("x", "#3f6cb5"),
    "scikit-learn": ("P", "#6c8f2f"),
    "SciPy": ("+", "#777777"),
}


def draw(record: dict[str, Any], path: Path) -> None:
    """Write the picture of a record that `suite` made."""
    rows = [r for r in record["rows"] if any(v["ours"] and "ms" in v for v in r.get("candidates", {}).values())]
    height = 1.6 + 0.27 * len(rows)
    figure = Figure(figsize=(15, height + 4.4), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(height, 4.2))
    limit, peers = upper.subplots(1, 2, sharey=True)
    _limits(limit, rows)
    _peers(peers, rows)
    panels = lower.subplots(1, 3)
    for axes, name in zip(panels, ("logits", "linear"), strict=False):
        _growth(axes, name, record.get("growth", {}).get(name, {}))
    _threads(panels[2], record.get("scaling", []))
    machine = record["machine"]
    figure.suptitle(
        f"xent on {machine['cpu']}, {record['threads']} threads; {record['date']}, commit {record['commit']}",
        fontsize=11,
    )
    figure.savefig(path, dpi=110)


def _first(row: dict[str, Any]) -> dict[str, Any]:
    return next(v for v in row["candidates"].values() if v["ours"] and "ms" in v)


def _limits(axes: Any, rows: list[dict[str, Any]]) -> None:
    """Bars of xent's time over the limit's, with a mark at the target."""
    for i, row in enumerate(rows):
        axes.barh(i, _first(row)["/ limit"], color=OURS, height=0.6)
        axes.text(_first(row)["/ limit"], i, f" {_first(row)['/ limit']:.2f}", va="center", fontsize=7, color=INK)
        for target in row["targets"]:
            if target["what"].startswith("time"):
                bound = float(target["asked"].removeprefix("<= "))
                axes.plot([bound, bound], [i - 0.42, i + 0.42], color="#c44536", lw=1.6)
    axes.axvline(1, color=INK, lw=0.8)
    axes.set_yticks(range(len(rows)), [f"{r['case']}" for r in rows], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, None)
    axes.set_title("xent's time over the machine's limit (red: the target)", fontsize=9)


def _peers(axes: Any, rows: list[dict[str, Any]]) -> None:
    """Each peer's time over xent's."""
    seen = set()
    for i, row in enumerate(rows):
        for name, values in row["candidates"].items():
            if values["ours"] or "ms" not in values:
                continue
            marker, colour = STYLES.get(name, (".", SOFT))
            axes.plot(values["/ xent"], i, marker, color=colour, ms=5, label=None if name in seen else name)
            seen.add(name)
    axes.axvline(1, color=OURS, lw=1.2)
    axes.set_xscale("log")
    axes.grid(axis="x", which="both", color="#eeeeee", lw=0.6)
    axes.set_axisbelow(True)
    axes.set_title("peers' time over xent's (right of the line: slower)", fontsize=9)
    if seen:
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _growth(axes: Any, name: str, found: dict[str, Any]) -> None:
    """Time against each size, on logarithmic scales."""
    for (letter, axis), colour in zip(found.items(), (OURS, "#c44536", "#3f6cb5"), strict=False):
        axes.loglog(
            axis["sizes"], axis["ms"], "o-", color=colour, ms=4, label=f"{letter} grows: slope {axis['slope']:.2f}"
        )
    axes.set_title(f"{name}: milliseconds as one size grows", fontsize=9)
    axes.grid(which="both", color="#eeeeee", lw=0.6)
    if found:
        axes.legend(fontsize=7)


def _threads(axes: Any, rows: list[dict[str, Any]]) -> None:
    """How many times faster the most threads are than one."""
    rows = [r for r in rows if "speed-up" in r]
    for i, row in enumerate(rows):
        axes.barh(i, row["speed-up"], color=OURS if row["candidate"] == "xent" else SOFT, height=0.6)
    names = [f"{r['candidate']}: {r['case'].split(' float')[0]}" for r in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set_title("times faster on all threads than on one", fontsize=9)
