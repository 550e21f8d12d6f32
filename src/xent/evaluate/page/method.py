"""The last panel: how everything was computed, and the figures to copy."""

from __future__ import annotations

import json
import math
from typing import Any

from .markup import Html, clip, el, number
from .parts import Page, behind

_NOTES = (
    "Cross-entropy: the mean over rows of −log p(label), in nats, exactly as given: nothing is clipped, and an "
    "impossible event that happened costs infinity. Intervals: Student’s t after Hall’s "
    "transformation, which removes skewness; of two classes with fewer than five rows against the likeliest one the "
    "upper end also allows for those that chance kept away. Other intervals of so few costly "
    "rows may be too short, and say so.",
    "Label entropy: what always predicting the rows' own class shares costs. Skill: 1 − cross-entropy / label entropy.",
    "Decomposition (CORP): isotonic regression in hindsight; Dimitriadis, Gneiting and Jordan (2021). Bands, the "
    "calibration error of a calibrated model and p: outcomes drawn from the predictions themselves.",
    "ROC and precision-recall: ties exact; average precision without interpolation.",
)
_WEIGHTS = (
    "Rows have weights: a mean is Σ w v / Σ w, its error the sandwich's, and no scale of the weights changes a figure. "
    "Panels that count rows take no weights and are left out."
)
_SKIPPED = ("versions", "seed", "simulations", "exact_scores")


def method(page: Page, d: dict[str, Any]) -> Html:
    """Tell versions, draws, the input and its hash."""
    m = d["method"]
    rows = [("Versions", ", ".join(f"{k} {v}" for k, v in m["versions"].items()))]
    if "simulations" in m:
        rows += [
            ("Draws of a calibrated model", f"{number(m['simulations'])}, seed {m['seed']}"),
            ("Scores", "each as it is" if m["exact_scores"] else "counted in narrow cells, for there are many"),
        ]
    labels = {"input": "Input", "input_sha256": "SHA-256 of the input", "took": "Taken for",
              "weights_sha256": "SHA-256 of the weights"}  # fmt: skip
    rows += [
        (labels.get(k, clip((k[:1].upper() + k[1:]).replace("_", " "), 60)), clip(v, 500))
        for k, v in m.items()
        if k not in _SKIPPED
    ]
    flat = {
        k: _strict(v) for k, v in d.items() if not isinstance(v, (dict, list)) or k in ("interval", "interval_bits")
    }
    return page.section(
        "method",
        "Method",
        el("ul", [el("li", n) for n in (_NOTES if d["calibration"] else (*_NOTES[:2], _WEIGHTS))], class_="notes"),
        page.table("How this was computed", ("", ""), rows, text=(0, 1), class_="pairs"),
        behind(
            "Figures as JSON, to copy",
            el("pre", json.dumps(flat, ensure_ascii=False, indent=1), tabindex="0", aria_label="Figures as JSON"),
        ),
    )


def _strict(value: Any) -> Any:
    if isinstance(value, list):
        return [_strict(v) for v in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value
