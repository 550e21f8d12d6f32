"""The benchmarks' machinery: what they run, that answers are checked, what a record holds. Never a time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import __main__ as command
from benchmarks import harness
from benchmarks.harness import RESULTS, finish, times_in_turn
from benchmarks.kernels import case as cases
from benchmarks.kernels import logits, memory, suite
from benchmarks.kernels.case import Case, Part
from benchmarks.kernels.growth import slope
from benchmarks.kernels.run import Options, measure

ROOT = Path(__file__).parent.parent
# left out of a process that other tests use: they change JAX and torch for good
LEFT_OUT = tuple(n for n in logits.CANDIDATES if n.startswith(("torch", "JAX", "optax")) or "PyTorch" in n)
TINY = Options(threads=1, repeats=1, budget=0.01, memory=False, without=LEFT_OUT)


@pytest.fixture(scope="module")
def measured():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    run = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "benchmark_cases.py")]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(run, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_installed_peer_gives_the_right_answer(measured):
    assert len(measured["rows"]) == 13
    for row in measured["rows"]:
        ran = {n for n, v in row["candidates"].items() if "ms" in v}
        wrong = {n: row["candidates"][n]["errors"] for n in ran if not row["candidates"][n]["agrees"]}
        assert not wrong, row["case"]
        failed = {n: v["failed"] for n, v in row["candidates"].items() if "failed" in v}
        assert not failed, row["case"]
        assert ran & {"xent", "xent for PyTorch", "xent's objective"}, row["case"]
        assert "torch eager" in ran
        assert set(row["candidates"]) - ran == {n for n, v in row["candidates"].items() if v.get("absent")}


def test_a_record_holds_what_the_table_and_the_picture_show(measured):
    for row in measured["rows"]:
        assert row["limit ms"] == row["limits"][row["limit"]]["ms"] == max(v["ms"] for v in row["limits"].values())
        first = next(v for v in row["candidates"].values() if v["ours"] and "ms" in v)
        assert first["/ xent"] == 1
        for values in row["candidates"].values():
            if "ms" in values:
                assert values["/ limit"] == pytest.approx(values["ms"] / row["limit ms"])
                assert values["/ xent"] == pytest.approx(values["ms"] / first["ms"])
                assert values["runs"] >= 1
                assert 0 < values["fastest ms"] <= values["ms"]
    met = {t["what"]: t["met"] for t in measured["rows"][0]["targets"]}
    assert met == {"time / a copy of the logits": True, "torch eager / xent": True, "SciPy / xent": False}
    few = measured["few"]["candidates"]
    assert {n for n, v in few.items() if "ms" in v} == {"xent"}
    assert [r["candidate"] for r in measured["scaling"] if r["speed-up"] == 1] == [
        "xent",
        "torch eager",
        "scikit-learn",
    ]


def test_the_picture_is_drawn_from_the_record(measured, tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.kernels.picture import draw

    axis = {"fixed": {"K": 9}, "sizes": [1, 2, 4], "ms": [1.0, 2.0, 4.0], "slope": 1.0}
    about = {"machine": {"cpu": "some"}, "threads": 1, "date": "a day", "commit": "one"}
    draw({**measured, **about, "growth": {"logits": {"N": axis}}}, tmp_path / "kernels.png")
    assert (tmp_path / "kernels.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_kept_is_the_record_and_its_picture(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    axis = {"fixed": {"K": 9}, "sizes": [1, 2, 4], "ms": [1.0, 2.0, 4.0], "slope": 1.0}
    monkeypatch.setattr(suite, "everything", lambda: [Case("logits", (30, 5))])
    monkeypatch.setattr(suite, "_extras", lambda *given: {"growth": {"logits": {"N": axis}}, "scaling": []})
    monkeypatch.setattr(suite, "pin", lambda threads: None)  # of this process, which other tests use
    for module in (suite, harness):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    left_out = [part for name in LEFT_OUT for part in ("--without", name)]
    suite.main(["--keep", "--no-memory", "--threads", "1", "--budget", "0.01", *left_out])
    kept = json.loads((tmp_path / "results" / "kernels.json").read_text())
    assert kept == json.loads(capsys.readouterr().out.splitlines()[-1])
    assert kept["growth"]["logits"]["N"] == axis
    assert [r["case"] for r in kept["rows"]] == ["logits 30 x 5 float32, loss and gradient"]
    assert {"date", "commit", "machine", "versions", "threads"} <= set(kept)
    assert (tmp_path / "results" / "kernels.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_answer_and_a_failure_are_told_and_end_nothing(monkeypatch, capsys):
    def off(case, given, threads):
        right = logits.scipy_formula(case, given, threads)
        return cases.Candidate(lambda: (right.run()[0], right.run()[1] * 1.01), right.answer)

    def fails(case, given, threads):
        def run():
            raise RuntimeError("no such\ninstruction")

        return cases.Candidate(run, lambda found: {})

    made = {**logits.CANDIDATES, "off": cases.Maker(off), "fails": cases.Maker(fails)}
    monkeypatch.setattr(logits, "CANDIDATES", made)
    row = measure(Case("logits", (30, 5)), TINY)
    assert row["candidates"]["xent"]["agrees"]
    assert not row["candidates"]["off"]["agrees"]
    assert row["candidates"]["off"]["errors"]["logits"] == pytest.approx(0.01, rel=0.1)
    assert row["candidates"]["fails"]["failed"] == "RuntimeError: no such"
    suite.show(row)
    shown = capsys.readouterr().out
    assert "inexact: logits off by 1.0e-02" in shown
    assert "RuntimeError: no such" in shown


def test_a_case_that_fails_is_a_row_that_says_so(monkeypatch):
    monkeypatch.setattr(logits, "data", lambda case: 1 / 0)
    row = suite._one(Case("logits", (30, 5)), TINY)
    assert row["failed"] == "ZeroDivisionError: division by zero"


def test_what_needs_too_much_is_left_out_with_the_reason():
    with pytest.raises(cases.AbsentError, match=r"some 12.6 GB for 3 arrays of logits, more than the 12 allowed"):
        cases.make(Case("logits", (8192, 128_000)), "torch eager", None, 1, 12.0)


def test_errors_are_measured_against_the_largest_number():
    truth = {"a": Part(np.array([0, 2]), np.array([[1.0], [4.0]])), "loss": Part(None, np.float64(2.0))}
    found = cases.errors(truth, {"a": (np.array([[2.0], [np.nan], [8.2]]), 0.5), "loss": (np.float32(2), 1.0)})
    assert found == {"a": pytest.approx(0.025), "loss": 0}
    assert np.isnan(cases.errors(truth, {"loss": (np.nan, 1.0)})["loss"])  # and NaN agrees with nothing


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak since a moment")
def test_peak_memory_is_what_a_call_takes():
    found = memory.peak(Case("logits", (4000, 1000)), "SciPy", 1, 14.0)
    logits_mib = 4000 * 1000 * 4 / cases.MIB
    # NumPy's differences and exponentials beside the gradient: two or three arrays, never ten
    assert 1.9 * logits_mib < found["peak MiB"] < 6 * logits_mib
    wrong = memory.peak(Case("logits", (8192, 128_000)), "torch eager", 1, 12.0)
    assert "more than the 12 allowed" in wrong["peak failed"]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak since a moment")
@pytest.mark.parametrize("name", ["xent for NumPy", "xent for PyTorch"])
def test_half_precision_logits_are_not_widened(name):
    found = memory.peak(Case("logits", (16384, 2000), "bfloat16"), name, 1, 14.0)
    gradient = 16384 * 2000 * 2 / cases.MIB
    assert 0.9 * gradient < found["peak MiB"] < 1.25 * gradient  # a widened copy would be twice as much by itself


def test_runs_are_taken_in_turn():
    order = []
    runs = {n: lambda n=n: order.append(n) for n in "abc"}
    times = times_in_turn(runs, {"a": 3, "b": 1, "c": 0})
    assert order == ["a", "b", "a", "a"]
    assert {n: len(t) for n, t in times.items()} == {"a": 3, "b": 1, "c": 0}


def test_slope_is_the_power():
    sizes = [1, 10, 100, 1000]
    assert slope(sizes, [5.0, 5.0, 3e-3 * 100**1.5, 3e-3 * 1000**1.5]) == pytest.approx(1.5)


def test_the_json_line_is_the_last(capsys):
    finish({"benchmark": "x", "rows": []}, keep=False)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"benchmark": "x", "rows": []}
    assert not (RESULTS / "x.json").exists()


def test_the_command_lists_every_case(capsys):
    command.main(["--list"])
    listed = capsys.readouterr().out.splitlines()
    for shape in ("4096 x 32000", "65536 x 1000", "400000 x 100", "1000000 x 10", "4000000 x 2"):
        assert f"logits {shape} float32, loss and gradient" in listed
        assert f"logits {shape} float32, loss" in listed
    layers = ("20000 x 256 x 1000", "4096 x 1024 x 32000", "8192 x 512 x 128000", "50000 x 128 x 100")
    for shape in (*layers, "60000 x 784 x 10", "500000 x 30 x 16", "1000000 x 50 x 2"):
        assert f"linear {shape} float32, all gradients" in listed
        assert f"linear {shape} float32, gradients in w" in listed
    assert listed[-2:] == ["threads", "growth"]
    command.main(["kernels", "--list", "--only", "sparse"])
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "no benchmark nonsense: there are kernels, fits"),
        (["--only", "nonsense"], "no case matches 'nonsense'"),
        (["--keep", "--quick"], "--keep is for the whole run"),
        (["--threads", "100000"], "--threads is from 1 to"),
    ],
)
def test_the_command_refuses(arguments, says):
    run = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode
    assert says in done.stderr


def test_verdicts_of_real_predictions_in_words_and_in_a_picture(tmp_path, monkeypatch, capsys):
    from benchmarks import verdicts

    monkeypatch.setattr(verdicts, "DOCS", tmp_path)
    verdicts.main(["--sets", "iris,wine", "--kinds", "naive,decision", "--keep", "--pages", str(tmp_path / "pages")])
    said = capsys.readouterr().out
    assert said.count("**naive Bayes** (rank 1). The cross-entropy is 0.1") == 2
    assert said.count("given probability 0 happened") == 2  # of the trees
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == said.removesuffix("\n")
    assert (tmp_path / "verdicts.png").read_bytes()[1:4] == b"PNG"
    assert len(list((tmp_path / "pages").glob("*.html"))) == 4


def test_cases_measured_again_stand_beside_the_kept_ones(tmp_path, monkeypatch):
    from benchmarks import harness

    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(harness, "commit", lambda: "new")
    found = [{"case": "b", "s": 2}, {"case": "b", "s": 3}]
    assert [r["s"] for r in harness.beside_kept("fits", found, "case", ["a", "b"])] == [2, 3]
    old = {"benchmark": "fits", "commit": "old", "rows": [{"case": c, "s": 0} for c in ("c", "b", "a", "gone")]}
    harness.finish(old, keep=True)
    rows = harness.beside_kept("fits", found, "case", ["a", "b", "c"])
    assert [(r["case"], r["s"], r["commit"]) for r in rows] == [
        ("a", 0, "old"),
        ("b", 2, "new"),
        ("b", 3, "new"),
        ("c", 0, "old"),
    ]
