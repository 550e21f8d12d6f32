"""The benchmark of judging predictions runs, small, and keeps what it says."""

import json

from benchmarks import evaluation, harness


def test_a_small_run_keeps_its_figures(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.chdir(tmp_path)
    evaluation.main(["--rows", "2000", "--repeats", "1", "--keep"])
    kept = json.loads((tmp_path / "evaluation.json").read_text())
    assert {"loss", "files", "machine", "commit", "versions"} <= set(kept)
    assert [r["rows"] for r in kept["loss"]] == [2000, 20]
    assert kept["loss"][0]["their error"] < 1e-9
    pages = [r["page kB"] for r in kept["files"] if r["page kB"] is not None]
    assert len(pages) == 2
    assert all(10 < kilobytes <= 400 for kilobytes in pages)
    assert kept["files"][3]["asked"] > 3
    peaks = [r["peak GB"] for r in kept["files"]]
    assert peaks[0] < 0.06 < peaks[1]  # its own, not that of the process that started it
    assert "compare two of 2000 rows" in capsys.readouterr().out
