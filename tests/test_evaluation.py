"""The whole report on arrays: its figures, its layout, its words, its forms."""

import json
import math

import numpy as np
import pytest
from sklearn import metrics

from xent.evaluate import Collector, Evaluation, evaluate, log_loss


def calibrated(rows, classes, seed, concentration=0.6):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(classes, concentration), rows)
    y = (p.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    return y, p


def binary(rows, seed, slope=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, rows)
    y = (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(int)
    return y, 1 / (1 + np.exp(-(slope * z + shift)))


def test_figures_agree_with_scikit_learn():
    y, p = calibrated(700, 4, 0)
    e = evaluate(y, p)
    assert e.rows == 700
    assert e.cross_entropy == pytest.approx(metrics.log_loss(y, p))
    assert e.accuracy == metrics.accuracy_score(y, p.argmax(axis=1))
    assert e.figures["brier"] == pytest.approx(metrics.brier_score_loss(y, p, scale_by_half=False))
    assert e.skill == pytest.approx(metrics.d2_log_loss_score(y, p))
    assert e.figures["perplexity"] == pytest.approx(math.exp(e.cross_entropy))
    assert e.interval[0] < e.cross_entropy < e.interval[1]
    for k, c in enumerate(e.per_class):
        assert c["auc"] == pytest.approx(metrics.roc_auc_score(y == k, p[:, k]))
        assert c["brier"] == pytest.approx(metrics.brier_score_loss(y == k, p[:, k]))
        assert c["recall"] == pytest.approx(metrics.recall_score(y, p.argmax(axis=1), labels=[k], average="macro"))
        assert c["cross_entropy"] == pytest.approx(-np.log(p[y == k, k]).mean())
        assert c["loss_share"] == pytest.approx(-np.log(p[y == k, k]).sum() / (700 * e.cross_entropy))


def test_saving_is_the_paired_difference_to_the_shares():
    y, p = calibrated(500, 3, 1)
    e = evaluate(y, p)
    difference = -np.log(np.bincount(y) / 500)[y] + np.log(p[np.arange(500), y])
    error = difference.std(ddof=1) / math.sqrt(500)
    assert e.figures["saving"] == pytest.approx(difference.mean())
    assert e.figures["saving_high"] - e.figures["saving"] == pytest.approx(1.9647 * error, rel=1e-3)


def test_every_form_of_the_same_predictions_gives_the_same_report():
    y, p = binary(300, 2)
    z = np.log(p) - np.log1p(-p)
    two = np.column_stack([1 - p, p])
    forms = [
        evaluate(y, p),
        evaluate(y.astype(bool), p),
        evaluate(y, np.log(p), kind="log"),
        evaluate(y, z, kind="logits"),
        evaluate(y, two),
        evaluate(y, np.log(two), kind="log"),
        evaluate(y, np.log(two) + 7.0, kind="logits"),
        evaluate(np.where(y, "yes", "no"), p, classes=["no", "yes"]),
    ]
    first = forms[0]
    for e in forms[1:]:
        for name, value in first.figures.items():
            if isinstance(value, float):
                assert e.figures[name] == pytest.approx(value, rel=1e-9), name
        one, other = e.calibration["event"]["decomposition"], first.calibration["event"]["decomposition"]
        assert one["miscalibration"] == pytest.approx(other["miscalibration"], rel=1e-6)
        assert e.curves["auc"] == pytest.approx(first.curves["auc"])
    assert forms[-1].per_class[1]["class"] == "yes"


def test_many_classes_from_logits():
    y, p = calibrated(200, 5, 3)
    one, other = evaluate(y, p), evaluate(y, np.log(p) - 3.0, kind="logits")
    assert other.cross_entropy == pytest.approx(one.cross_entropy, rel=1e-12)
    assert other.per_class[2]["miscalibration"] == pytest.approx(one.per_class[2]["miscalibration"], rel=1e-6)


def test_digits_survive_where_probabilities_round_to_one():
    z = np.array([60.0, 60.0, -60.0, 60.0])  # sigmoid(60) is 1 - 9e-27
    e = evaluate([1, 0, 0, 1], z, kind="logits")
    assert e.cross_entropy == pytest.approx(15.0)
    assert e.calibration["event"]["decomposition"]["loss"] == pytest.approx(15.0)
    assert e.per_class[0]["miscalibration"] < math.inf
    assert e.data["impossible"] == 0


def test_impossible_events_are_told_and_never_clipped():
    e = evaluate([0, 1, 1], [[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    assert e.cross_entropy == math.inf
    assert e.data["impossible_rows"] == [1]
    said = "The cross-entropy is infinite: 1 event that was given probability 0 happened. The other rows cost 0.3466 "
    assert e.verdict[0] == said + "nats each."
    assert e.figures["finite_cross_entropy"] == pytest.approx(math.log(2) / 2)
    assert "The other rows" not in str(evaluate([1], [0.0]))
    assert e.surprise["rows"][0]["bits"] == math.inf
    assert e.surprise["rows"][0]["expected"] == 0.0
    assert e.calibration["event"]["decomposition"]["miscalibration"] == math.inf
    assert '"cross_entropy": "inf"' in e.to_json()


@pytest.mark.parametrize(
    ("y", "p", "says"),
    [
        (*binary(4000, 4), ["it saves", "show no miscalibration"]),
        (*binary(4000, 4, slope=2.0), ["clearly miscalibrated, overconfident", "temperature with T = 1.97"]),
        (*binary(4000, 4, slope=0.5), ["clearly miscalibrated, underconfident"]),
        (*binary(4000, 4, shift=1.0), ["clearly miscalibrated, too high"]),
        (*binary(4000, 4, shift=-1.0), ["clearly miscalibrated, too low"]),
        (*binary(4000, 4, slope=-1.0), ["That is worse than knowing nothing but"]),
        (np.arange(40) % 2, np.full(40, 0.5), ["These rows cannot tell it from"]),
        (np.ones(40, int), np.full(40, 0.9), ["All rows have the same label"]),
        (np.array([1]), np.array([0.9]), ["All rows have the same label"]),
    ],
)
def test_the_verdict_in_words(y, p, says):
    text = str(evaluate(y, p))
    for words in says:
        assert words in text, text


def test_the_verdict_of_calibrated_predictions_is_right_at_its_level():
    wrong = sum("miscalibrated" in str(evaluate(*calibrated(300, 3, seed))) for seed in range(60))
    assert wrong <= 8


def test_chunks_are_the_whole():
    y, p = calibrated(500, 3, 5)
    group = np.arange(500) % 4
    whole = evaluate(y, p, by={"g": group}, carried={"id": np.arange(500)})
    collector = Collector(["0", "1", "2"])
    for start in range(0, 500, 70):
        part = slice(start, start + 70)
        collector.add(y[part], p[part], by={"g": group[part]}, carried={"id": np.arange(500)[part]})
    one, other = whole.to_dict(), collector.finish({k: whole.method[k] for k in ("input", "input_sha256")}).to_dict()

    def same(a, b):
        if isinstance(a, dict):
            assert a.keys() == b.keys()
            for k in a:
                same(a[k], b[k])
        elif isinstance(a, list):
            assert len(a) == len(b)
            for x, y in zip(a, b, strict=True):
                same(x, y)
        elif isinstance(a, float):
            assert a == pytest.approx(b, rel=1e-9, nan_ok=True)
        else:
            assert a == b

    same(one, other)
    assert whole.surprise["rows"][0]["carried"]["id"] == whole.surprise["rows"][0]["row"]


def test_the_dictionary_is_plain_stable_and_strict_in_json():
    y, p = binary(200, 6)
    e = evaluate(y, p, by={"half": np.arange(200) % 2})
    document = e.to_dict()
    assert document["schema"] == "xent.evaluation/1"
    panels = set(Evaluation.__dataclass_fields__) - {"figures"}
    assert panels <= set(document)

    def refuse(text):
        raise AssertionError(text)

    read = json.loads(e.to_json(), parse_constant=refuse)
    assert read["curves"]["roc"][0]["threshold"] == "inf"
    assert read["rows"] == 200
    assert json.dumps(document)  # nothing of NumPy's is in it
    assert len(e.to_json()) < 200_000
    assert evaluate(y, p, by={"half": np.arange(200) % 2}).to_json() == e.to_json()
    assert evaluate(y, p, seed=1).to_json() != e.to_json()


def test_the_report_is_as_small_for_many_rows():
    y, p = binary(30_000, 7)
    assert len(evaluate(y, p).to_json()) < 200_000


def test_markdown_and_rows():
    y, p = calibrated(300, 3, 8)
    names = ["a|b", "c", "d"]
    e = evaluate(np.array(names)[y], p, classes=names)
    text = e.to_markdown()
    assert text.startswith("# Evaluation\n")
    assert "a\\|b" in text
    for line in text.splitlines():
        assert not line.startswith("|") or line.endswith("|")
    rows = {(panel, item): value for panel, item, value in e.to_rows()}
    assert float(rows["cross_entropy", ""]) == e.cross_entropy
    assert rows["per_class", "0.class"] == "a|b"
    assert ("calibration", "top_label.reliability.points.0.low") in rows


def test_many_classes_beyond_the_limit_of_one_against_the_rest(monkeypatch):
    from xent.evaluate import per_class

    y, p = calibrated(200, 5, 9)
    full = evaluate(y, p)
    monkeypatch.setattr(per_class, "MOST", 4)
    e = evaluate(y, p)
    assert e.per_class[0]["auc"] is None
    assert e.cross_entropy == full.cross_entropy
    assert e.figures["expected_cross_entropy"] == pytest.approx(full.figures["expected_cross_entropy"])
    assert e.surprise["tail"][2]["expected"] == pytest.approx(full.surprise["tail"][2]["expected"])


@pytest.mark.parametrize("panel", ["reliability", "losses", "decomposition", "roc", "pr"])
def test_pictures(panel):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    e = evaluate(*binary(300, 10))
    ax = e.plot(panel)
    assert ax.get_xlabel() or ax.get_ylabel()
    if panel == "roc":
        x, y = ax.lines[0].get_data()
        assert np.trapezoid(y, x) == pytest.approx(e.curves["auc"], abs=2e-3)
    _, mine = plt.subplots()
    assert e.plot(panel, ax=mine) is mine
    plt.close("all")


def test_pictures_that_are_not_there():
    e = evaluate(*calibrated(50, 3, 11))
    with pytest.raises(ValueError, match="two classes"):
        e.plot("roc")
    with pytest.raises(ValueError, match="panel must be one of"):
        e.plot("pie")


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((["a", "b"], [0.1, 0.2]), {}, "give classes="),
        ((["a", "c"], [0.1, 0.2]), {"classes": ["a", "b"]}, r"label 'c' \(1 rows\) is none of the classes"),
        (([0, 1], [0.1, 0.2]), {"classes": ["a"]}, "2 distinct classes are needed"),
        (([0, 1], [0.1, 0.2]), {"by": {"g": [1]}}, r"by\['g'\] of shape \(2,\) is needed, got \(1,\)"),
        (([0, 1, 1], [0.1, 0.2]), {}, "of shape"),
        (([0, 1], [0.1, 1.2]), {}, "probabilities lie in"),
    ],
)
def test_errors(args, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate(*args, **options)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0]])
def test_log_probabilities_sum_to_one_too(weights):
    for logs in ([[0.5, 0.2], [0.3, 0.7]], [[0.5, 0.3, 0.1], [0.3, 0.6, 0.1]]):
        with pytest.raises(ValueError, match=r"log-probabilities of row 0 are 0\.[13] away from a sum of one"):
            evaluate([0, 1], np.log(logs), kind="log", sample_weight=weights)
    near = np.log([[0.5, 0.3, 0.2], [0.3, 0.6, 0.1]])
    near[0, 0] += 1e-6
    found = evaluate([0, 1], near, kind="log", sample_weight=weights)
    assert found.data["farthest_sum"] == pytest.approx(5e-7, rel=1e-3)
    evaluate([0, 1], near.astype(np.float16), kind="log", sample_weight=weights)  # as far as its digits go


def test_nothing_added():
    with pytest.raises(ValueError, match="no rows"):
        Collector(["a", "b"]).finish()


def test_loss_and_report_agree():
    y, p = binary(1000, 12)
    assert evaluate(y, p).cross_entropy == pytest.approx(log_loss(y, p).mean, rel=1e-14)


def test_markdown_hands_no_label_on_as_html():
    names = np.array(["<script>alert(1)</script>", "a|b\nc &lt;"])
    p = np.random.default_rng(2).dirichlet([1, 1], 100)
    y = names[(p[:, 1] > 0.4).astype(int)]
    text = evaluate(y, p, classes=names.tolist(), by={"<i>": np.repeat(["<b>", "u"], 50)}).to_markdown()
    assert "<" not in text
    assert "| &lt;script>alert(1)&lt;/script> |" in text
    assert "| a\\|b c &amp;lt; |" in text
