"""Panels as matplotlib pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .report import Evaluation

PANELS = ("reliability", "losses", "decomposition", "roc", "pr")


def draw(e: Evaluation, panel: str, ax: Any) -> Any:
    """Draw a panel; see `Evaluation.plot`."""
    if panel not in PANELS:
        raise ValueError(f"panel must be one of {', '.join(PANELS)}, got {panel!r}")
    if panel in ("roc", "pr") and e.curves is None:
        if not e.calibration:
            raise ValueError(f"the panel {panel!r} takes no weights, and these rows have some")
        raise ValueError(f"the panel {panel!r} is of two classes; these predictions have {e.figures['classes']}")
    of = e.losses if panel == "losses" else e.calibration
    if panel not in ("roc", "pr") and not of:
        raise ValueError(f"the panel {panel!r} takes no weights, and these rows have some")
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(5, 5), layout="constrained")
    {"reliability": _reliability, "losses": _losses, "decomposition": _decomposition, "roc": _roc, "pr": _pr}[panel](
        e, ax
    )
    return ax


def _main(e: Evaluation) -> tuple[str, dict[str, Any]]:
    if "event" in e.calibration:
        return f"probability of {e.figures['positive']}", e.calibration["event"]
    return "probability of the likeliest class", e.calibration["top_label"]


def _reliability(e: Evaluation, ax: Any) -> None:
    name, panel = _main(e)
    points = panel["reliability"]["points"]
    x = [p["predicted"] for p in points]
    ax.fill_between(x, [p["low"] for p in points], [p["high"] for p in points], alpha=0.25, lw=0,
                    label=f"{100 * panel['reliability']['level']:g} % of calibrated models")  # fmt: skip
    ax.plot([0, 1], [0, 1], color="grey", lw=0.8)
    ax.plot(x, [p["observed"] for p in points], marker=".", label="observed (isotonic)")
    ax.set(xlabel=name, ylabel="share that happened", xlim=(0, 1), ylim=(0, 1))
    ax.legend(loc="upper left")


def _losses(e: Evaluation, ax: Any) -> None:
    bars = e.losses["histogram"]
    names = [f"{b['from_bits']:g}" for b in bars]
    ax.bar(range(len(bars)), [b["rows"] for b in bars])
    ax.set_yscale("symlog")
    ax.set_xticks(range(len(bars)), names)
    ax.set(xlabel="loss in bits, from", ylabel="rows")


def _decomposition(e: Evaluation, ax: Any) -> None:
    _, panel = _main(e)
    d = panel["decomposition"]
    names = ("uncertainty", "discrimination", "miscalibration")
    ax.bar(names, [d[n] if math.isfinite(d[n]) else 0.0 for n in names])
    ax.axhline(d["expected_miscalibration"], xmin=0.68, color="black", lw=1, label="miscalibration by chance")
    ax.set(ylabel="nats a row")
    ax.legend()


def _roc(e: Evaluation, ax: Any) -> None:
    assert e.curves is not None
    ax.plot([r["fpr"] for r in e.curves["roc"]], [r["tpr"] for r in e.curves["roc"]])
    ax.plot([0, 1], [0, 1], color="grey", lw=0.8)
    ax.set(xlabel="false positive rate", ylabel="true positive rate", title=f"AUC {e.curves['auc']:.4f}")


def _pr(e: Evaluation, ax: Any) -> None:
    assert e.curves is not None
    ax.plot([r["recall"] for r in e.curves["pr"]], [r["precision"] for r in e.curves["pr"]])
    ax.set(xlabel="recall", ylabel="precision", title=f"average precision {e.curves['average_precision']:.4f}")
