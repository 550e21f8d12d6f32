"""The gallery: curves against textbook formulas, layout, files, and the command."""

import io
import json
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from command import run
from xent import plot
from xent.losses.margins import ArcFace, MagFace

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.text import Text

GALLERY = Path(__file__).parent.parent / "docs" / "gallery"
DRAW = {name: getattr(plot, name) for name in plot.PICTURES}


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def kept_png(name):
    return (GALLERY / name).read_bytes()


def curves(ax):
    """The curves of a panel by their labels: x (N,), y (N,)."""
    return {c.get_label(): np.asarray(c.get_xydata()).T for c in ax.get_lines() if not c.get_label().startswith("_")}


def panel(draw, name, **options):
    return curves(draw(panel=name, **options).axes[0])


def same(found, wanted, rel=1e-12):
    np.testing.assert_allclose(found, wanted, rtol=rel, atol=1e-14)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_binary_losses():
    for (p, loss), sign in zip(panel(plot.binary_losses, "loss").values(), (1, -1), strict=True):
        q = p if sign == 1 else 1 - p
        same(loss, -np.log(q), 1e-9)
        assert p.min() < 2e-4
        assert p.max() > 1 - 2e-4
    slopes = panel(plot.binary_losses, "slope in p")
    same(slopes["answer yes"][1], 1 / slopes["answer yes"][0])
    same(slopes["answer no"][1], 1 / (1 - slopes["answer no"][0]), 1e-9)
    slopes = panel(plot.binary_losses, "slope in the logit")
    same(slopes["answer yes"][1], slopes["answer yes"][0] - 1, 1e-9)
    same(slopes["answer no"][1], slopes["answer no"][0])


PULLS = {  # minus the slope in the logit of yes, where yes is right
    "cross-entropy": lambda p: 1 - p,
    "squared error": lambda p: 2 * (1 - p) * p * (1 - p),
    "absolute error": lambda p: p * (1 - p),
}


def test_learning_speed():
    losses = {
        "cross-entropy": lambda p: -np.log(p),
        "squared error": lambda p: (1 - p) ** 2,
        "absolute error": lambda p: 1 - p,
    }
    drawn = panel(plot.learning_speed, "loss")
    assert drawn.keys() == losses.keys()
    for label, (z, loss) in drawn.items():
        same(loss, losses[label](sigmoid(z)))
    for label, (z, pull) in panel(plot.learning_speed, "pull").items():
        same(pull, PULLS[label](sigmoid(z)))


@pytest.mark.parametrize("options", [{}, {"start": -2.0, "rate": 0.5, "steps": 30}])
def test_the_neuron_learns_by_gradient_descent(options):
    start, rate, steps = {"start": -5.0, "rate": 0.25, "steps": 400, **options}.values()
    for label, (step, p) in panel(plot.learning_speed, "training", **options).items():
        same(step, np.arange(steps + 1))
        z, wanted = start, []
        for _ in step:
            wanted.append(sigmoid(z))
            z += 2 * rate * PULLS[label](sigmoid(z))  # weight and bias move alike, for the input is 1
        same(p, wanted, 1e-10)


def test_squared_error_stalls_as_the_gallery_says():
    half = {label: int(np.argmax(p > 0.5)) for label, (_, p) in panel(plot.learning_speed, "training").items()}
    assert half == {"cross-entropy": 12, "squared error": 168, "absolute error": 319}


def test_loss_family():
    losses = {
        "cross-entropy": (lambda p: -np.log(p), lambda p: 1 - p),
        "focal, γ = 2": (lambda p: -((1 - p) ** 2) * np.log(p), lambda p: (1 - p) ** 2 * (1 - p - 2 * p * np.log(p))),
        "poly-1, ε = 1": (lambda p: -np.log(p) + 1 - p, lambda p: (1 - p) * (1 + p)),
        "generalised, q = 0.7": (lambda p: (1 - p**0.7) / 0.7, lambda p: p**0.7 * (1 - p)),
    }
    drawn, pulls, weights = (panel(plot.loss_family, name) for name in ("loss", "pull", "weight"))
    assert drawn.keys() == pulls.keys() == weights.keys() == losses.keys()
    for label, (loss, pull) in losses.items():
        p, value = drawn[label]
        same(value, loss(p), 1e-8)
        same(pulls[label][1], pull(p), 1e-8)
        same(weights[label][1], pull(p) / (1 - p), 1e-8)


def test_label_smoothing():
    K = 10
    for name in ("loss", "pull"):
        figure = plot.label_smoothing(panel=name)
        drawn, goals = curves(figure.axes[0]), []
        for e in (0.0, 0.05, 0.1, 0.2):
            gap, y = drawn[f"e = {e:g}"]
            p = np.exp(gap) / (np.exp(gap) + K - 1)
            q = 1 - e + e / K
            same(y, -np.log(p) + (1 - q) * gap if name == "loss" else q - p, 1e-9)
            goals += [math.log(q * (K - 1) / (1 - q))] if e else []
        dots = [c.get_xydata()[0] for c in figure.axes[0].get_lines() if c.get_marker() == "o"]
        np.testing.assert_allclose([x for x, _ in dots], goals, atol=1e-3)
        if name == "loss":
            np.testing.assert_allclose([y for _, y in dots], [y.min() for _, y in list(drawn.values())[1:]], atol=1e-4)


def test_temperature_and_softcap():
    for name in ("temperature", "temperature pull"):
        for T in (0.5, 1.0, 2.0, 4.0):
            z, y = panel(plot.temperature_softcap, name)[f"T = {T:g}"]
            same(y, sigmoid(z / T) if name == "temperature" else sigmoid(-z / T) / T)
    for c in (math.inf, 50.0, 30.0, 10.0):
        label = "no cap" if c == math.inf else f"c = {c:g}"
        z, a = panel(plot.temperature_softcap, "softcap")[label]
        wanted = z if c == math.inf else c * np.tanh(z / c)
        same(a, wanted)
        z, pull = panel(plot.temperature_softcap, "softcap pull")[label]
        same(pull, sigmoid(-wanted) * (1 if c == math.inf else 1 / np.cosh(z / c) ** 2))


def multiplied(theta, m, share=0.0):
    k = np.minimum(np.floor(theta * m / np.pi), m - 1)
    return ((-1) ** k * np.cos(m * theta) - 2 * k + share * np.cos(theta)) / (1 + share)


def test_margins():
    formulas = {
        "softmax": np.cos,
        "SM-Softmax, m = 0.2 s": lambda t: np.cos(t) - 0.2,
        "AM-Softmax, m = 0.35": lambda t: np.cos(t) - 0.35,
        "L-Softmax, m = 2": lambda t: multiplied(t, 2),
        "A-Softmax, m = 4, λ = 5": lambda t: multiplied(t, 4, 5.0),
        "ArcFace, m = 0.5": lambda t: np.cos(t + 0.5),
        "combined (1, 0.3, 0.2)": lambda t: np.cos(t + 0.3) - 0.2,
    }
    drawn, slopes = panel(plot.margins, "logit"), panel(plot.margins, "slope")
    assert drawn.keys() == slopes.keys() == formulas.keys()
    for label, formula in formulas.items():
        theta, y = drawn[label]
        assert (theta[0], theta[-1]) == (0, math.pi)
        same(y, formula(theta))
        inner, h = theta[1:-1], 1e-6
        smooth = np.abs(np.sin(4 * inner)) > 1e-4  # off the corners of the slope
        difference = (formula(inner + h) - formula(inner - h)) / (2 * h)
        np.testing.assert_allclose(slopes[label][1][1:-1][smooth], difference[smooth], atol=1e-8)
    assert list(panel(plot.margins, "slope", shown={"mine": MagFace()})) == ["mine"]


def test_branches_of_arcface():
    def branches(exact, plain, lowered):
        return {
            "exact": lambda t: exact(t),
            "monotone": lambda t: np.where(t < math.pi - 0.5, exact(t), lowered(t)),
            "easy": lambda t: np.where(t < math.pi / 2, exact(t), plain(t)),
        }

    def minus_sin(t):
        return -np.sin(t)

    logits = branches(lambda t: np.cos(t + 0.5), np.cos, lambda t: np.cos(t) - 0.5 * math.sin(0.5))
    slopes = branches(lambda t: -np.sin(t + 0.5), minus_sin, minus_sin) | {"detach": minus_sin}
    logits["softmax"] = np.cos
    for name, wanted in (("ArcFace", logits), ("ArcFace's slope", slopes)):
        drawn = panel(plot.margins, name)
        assert drawn.keys() == wanted.keys()
        for label, (theta, y) in drawn.items():
            gaps = np.isnan(theta)
            same(y[~gaps], wanted[label](theta[~gaps]))
            jump = {"monotone": math.pi - 0.5, "easy": math.pi / 2}.get(label)
            # no line is drawn across a jump
            assert gaps.sum() == (jump is not None)
            assert jump is None or theta[np.flatnonzero(gaps) + 1] == jump


def test_coin_entropy():
    figure = plot.coin_entropy()
    p, bits = curves(figure.axes[0])["entropy"]
    inner = (p > 0) & (p < 1)
    assert bits[0] == bits[-1] == 0
    assert bits.max() == pytest.approx(1, abs=1e-12)
    x = p[inner]
    same(bits[inner], -x * np.log2(x) - (1 - x) * np.log2(1 - x), 1e-9)
    (nats,) = (ax for ax in figure.axes[0].child_axes if ax.get_ylabel() == "H(p) (nats)")
    figure.draw_without_rendering()
    same(nats.get_ylim(), np.multiply(figure.axes[0].get_ylim(), math.log(2)))
    drawn = curves(figure.axes[1])
    x, cross = drawn["cross-entropy H(fair, p)"]
    same(cross, -0.5 * np.log2(x * (1 - x)), 1e-9)
    same(drawn["entropy H(fair)"][1], 1.0)
    np.testing.assert_allclose(drawn["KL(fair || p)"][1], cross - 1, atol=1e-10)
    np.testing.assert_allclose(drawn["KL(p || fair)"][1], 1 - bits, atol=1e-10)


@pytest.mark.parametrize("name", DRAW)
def test_every_picture_fits_and_says_its_units(name):
    figure = DRAW[name]()
    assert figure.get_suptitle() == plot.PICTURES[name]
    figure.draw_without_rendering()
    said = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    titles = []
    for ax in figure.axes:
        wanted = {ax.get_title("left"), ax.get_xlabel(), ax.get_ylabel()}
        assert all(wanted)
        own = [t for t in said if t.get_text() in wanted]
        named = own + list(ax.texts) + (ax.get_legend().get_texts() if ax.get_legend() else [])
        for text in named:
            box = text.get_window_extent()
            assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text
            assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, text
        titles += [t.get_window_extent() for t in own if t.get_text() == ax.get_title("left")]
    assert not any(a.overlaps(b) for i, a in enumerate(titles) for b in titles[i + 1 :])
    whole = " ".join(t.get_text() for t in said)
    assert any(unit in whole for unit in ("nats", "bits", "radian"))


@pytest.mark.parametrize("name", DRAW)
def test_panels_on_axes_of_ones_own(name):
    panels = [ax.get_title("left") for ax in DRAW[name]().axes]
    figure, axes = pyplot.subplots(1, 2)
    assert DRAW[name](axes[1]) is figure
    assert axes[1].get_title("left") == panels[0]
    assert not axes[0].lines
    assert not figure.get_suptitle()
    with pytest.raises(ValueError, match=r"there is no panel 'lost'; there are '"):
        DRAW[name](panel="lost")


def test_a_panel_alone_has_its_legend():
    assert plot.loss_family(panel="loss").axes[0].get_legend()
    legend = plot.loss_family(panel="pull").axes[0].get_legend()
    assert legend.get_texts()[0].get_text() == "cross-entropy"
    assert not plot.loss_family().axes[1].get_legend()
    assert not plot.binary_losses(panel="loss").axes[0].get_legend()  # the curves are named beside them


def test_files_are_the_same_whatever_the_users_settings():
    png, svg = (plot.render("label_smoothing", kind) for kind in plot.FORMATS)
    assert Image.open(io.BytesIO(png)).size == (1440, 576)
    assert ElementTree.fromstring(svg).get("viewBox") == "0 0 720 288"
    with matplotlib.rc_context(
        {"lines.linewidth": 9, "axes.grid": False, "xtick.direction": "in", "savefig.bbox": "tight"}
    ):
        assert plot.render("label_smoothing", "png") == png
        assert plot.render("label_smoothing", "svg") == svg
    assert not pyplot.get_fignums()
    with pytest.raises(ValueError, match="no picture 'smoothing'; there are coin_entropy"):
        plot.render("smoothing")
    with pytest.raises(ValueError, match="png, svg, not 'pdf'"):
        plot.render("label_smoothing", "pdf")


def test_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for call in (*DRAW.values(), lambda: plot.render("margins")):
        with pytest.raises(ImportError, match=r'pip install "xent\[plot\]"'):
            call()
    failed = run("gallery", tmp_path / "new", code=2)
    assert failed.stderr == 'Error: pictures need matplotlib: pip install "xent[plot]"\n'
    assert not (tmp_path / "new").exists()


def test_matplotlib_is_imported_when_something_is_drawn():
    code = "import sys, xent.plot\nassert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_command(tmp_path):
    shown = run("gallery", tmp_path / "a" / "b")
    assert shown.stdout.startswith("14 files in ")
    assert plot.PICTURES["margins"] in shown.stdout
    names = sorted(f"{name}.{kind}" for name in plot.PICTURES for kind in ("png", "svg"))
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == names
    for name in names:
        content = (tmp_path / "a" / "b" / name).read_bytes()
        assert content.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")
        if name.endswith("png"):  # the pictures kept with the docs are those that are drawn now
            found, kept = (np.asarray(Image.open(io.BytesIO(c)).convert("L"), float) for c in (content, kept_png(name)))
            assert found.shape == kept.shape
            assert np.abs(found - kept).mean() < 0.1, f"{name} is out of date: xent gallery docs/gallery --format png"


def test_command_options_and_errors(tmp_path, monkeypatch):
    monkeypatch.setattr(plot, "PICTURES", {"coin_entropy": "x"})
    (tmp_path / "coin_entropy.svg").write_text("old")
    document = json.loads(run("gallery", tmp_path, "--format", "svg", "--format", "svg", "--json").stdout)
    assert document == {"folder": str(tmp_path), "files": ["coin_entropy.svg"], "pictures": {"coin_entropy": "x"}}
    assert (tmp_path / "coin_entropy.svg").read_bytes() == plot.render("coin_entropy", "svg")
    there = tmp_path / "coin_entropy.svg"
    assert "this is a file, a folder is needed" in run("gallery", there, code=2).stderr
    assert "'pdf' is not one of" in run("gallery", tmp_path, "--format", "pdf", code=2).stderr


def test_nothing_is_written_unless_all_is_drawn(tmp_path, monkeypatch):
    def fail(name, kind):
        if name == "margins":
            raise KeyboardInterrupt
        return b"picture"

    monkeypatch.setattr(plot, "render", fail)
    assert "nothing was written" in run("gallery", tmp_path / "new", code=130).stderr
    assert list(tmp_path.iterdir()) == []


def test_the_gallerys_page_shows_every_picture():
    page = (GALLERY / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"\]\((\w+)\.png\)", page)
    assert shown == [*plot.PICTURES, "open_set"]  # the last is drawn by `python -m benchmarks open_set`
    assert {path.stem for path in GALLERY.glob("*.png")} == set(shown)


def test_shown_margins_may_be_more_than_the_colours():
    shown = {f"ArcFace {i}": ArcFace(i / 10) for i in range(9)}
    assert list(panel(plot.margins, "logit", shown=shown)) == list(shown)
