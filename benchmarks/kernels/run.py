"""One case: its candidates built, checked, timed in turn, and measured for memory."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..harness import pinned, times_in_turn
from .case import MIB, TOLERANCE, AbsentError, Candidate, Case, errors, family, make
from .memory import peak

LEAST = 3  # runs of xent's kernel and of the best limit, however long they take
MORE = 3  # times the budget of a peer for these
CLOSE = 1.5  # a way of the limit further than this from the best, in its first run, is a peer
LONG = 4  # times the budget: beyond, a peer's first run is its only one
WARM = 4.0  # seconds: what a first run has to warm up is nothing beside as many, and it counts


@dataclass(frozen=True)
class Options:
    """How to measure: threads, most runs of a candidate, seconds for a peer's runs, GB a candidate may need for logits,
    whether to measure memory, and which peers to leave out.
    """

    threads: int = 2
    repeats: int = 7
    budget: float = 1.5
    most: float = 14.0
    memory: bool = True
    without: tuple[str, ...] = ()


def measure(case: Case, options: Options) -> dict[str, Any]:
    """Everything about one case, as a record."""
    start = time.perf_counter()
    cases = family(case)
    data = cases.data(case)
    found: dict[str, dict[str, Any]] = {}
    ready, first = _build(case, data, options, found)
    with pinned(options.threads):
        limits = cases.limits(case, data, options.threads)
        times = _times(case, ready, first, limits, options)
    for name in ready:
        spent = times[name]
        found[name] |= {"ms": 1e3 * statistics.median(spent), "fastest ms": 1e3 * min(spent), "runs": len(spent)}
    del ready  # lest they take the memory that the next measurements need
    row: dict[str, Any] = {"case": case.name, "family": case.family, "shape": list(case.shape), "dtype": case.dtype}
    row |= {"what": case.what, **_limit(limits, times), "gradients MiB": cases.gradient_bytes(case) / MIB}
    del limits, data
    row["seconds"] = round(time.perf_counter() - start, 1)
    if options.memory:
        _memory(case, options, found, row["gradients MiB"])
    row["seconds with memory"] = round(time.perf_counter() - start, 1)
    _ratios(found, row)
    row["candidates"] = {name: found[name] for name in cases.CANDIDATES}
    row["targets"] = targets(case, row)
    return row


def _times(
    case: Case, ready: dict[str, Candidate], first: dict[str, float], limits: dict[str, Any], options: Options
) -> dict[Any, list[float]]:
    """The seconds of all runs that count, of each candidate and of each way (limit, name) of the limits, in turn."""
    ways = {(label, way): run for label, some in limits.items() if isinstance(some, dict) for way, run in some.items()}
    ours = next((n for n in ready if family(case).CANDIDATES[n].ours), None)
    turns: dict[Any, int] = {n: _turns(first[n], n == ours, options) for n in ready}
    once = {key: _seconds(run) for key, run in ways.items()}
    for key in ways:
        best = min(once[k] for k in ways if k[0] == key[0])
        turns[key] = _turns(once[key], once[key] < CLOSE * best, options)
    runs: dict[Any, Callable[[], Any]] = {**ways, **{n: c.run for n, c in ready.items()}}
    times = times_in_turn(runs, turns)
    for key in times:
        seconds = once[key] if key in once else first[key]
        if seconds > WARM or not times[key]:
            times[key].append(seconds)
    return times


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _turns(first: float, counts: bool, options: Options) -> int:
    """How many runs, from the seconds of the first; `counts` for xent's kernel and the best limit."""
    if not counts and first > LONG * options.budget:
        return 0
    affordable = int(options.budget * (MORE if counts else 1) / first)
    return min(options.repeats, max(LEAST if counts else 1, affordable)) - (first > WARM)


def _build(
    case: Case, data: Any, options: Options, found: dict[str, dict[str, Any]]
) -> tuple[dict[str, Candidate], dict[str, float]]:
    """The candidates that can run, each checked against the truth, and the seconds of a first run that compiles not."""
    cases, truth = family(case), family(case).truth(case, data)
    ready, first = {}, {}
    for name, maker in cases.CANDIDATES.items():
        found[name] = {"ours": maker.ours}
        if name in options.without or (case.peers is not None and name not in case.peers):
            found[name]["absent"] = "left out by --without" if name in options.without else "left out: it takes long"
            continue
        try:
            with pinned(options.threads), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what a peer says of itself is not ours
                candidate = make(case, name, data, options.threads, options.most)
                start = time.perf_counter()
                result = candidate.run()
                first[name] = time.perf_counter() - start
                wrong = errors(truth, candidate.answer(result))
                del result
                if maker.compiled:
                    found[name]["compile s"] = first[name]
                    first[name] = _seconds(candidate.run)
        except AbsentError as reason:
            found[name]["absent"] = str(reason)
        except Exception as error:  # a peer that fails is a result, and ends no run
            lines = str(error).strip().splitlines() or [""]
            found[name]["failed"] = f"{type(error).__name__}: {lines[0]}"[:200]
        else:
            agrees = bool(wrong) and all(e <= TOLERANCE[case.dtype] for e in wrong.values())
            found[name] |= {"errors": wrong, "agrees": agrees}
            ready[name] = candidate
    return ready, first


def _limit(limits: dict[str, Any], times: dict[Any, list[float]]) -> dict[str, Any]:
    """The best way of each limit, and the largest limit."""
    each = {}
    for label, some in limits.items():
        if isinstance(some, dict):
            medians = {way: 1e3 * statistics.median(times[label, way]) for way in some}
            way = min(medians, key=medians.__getitem__)
            each[label] = {"ms": medians[way], "way": way, "ways ms": medians}
        else:
            each[label] = {"ms": 1e3 * some}
    largest = max(each, key=lambda label: each[label]["ms"])
    return {"limit": largest, "limit ms": each[largest]["ms"], "limits": each}


def _memory(case: Case, options: Options, found: dict[str, dict[str, Any]], gradients: float) -> None:
    for name, maker in family(case).CANDIDATES.items():
        asked = maker.peak if case.peaks is None else name in case.peaks
        if asked and "ms" in found[name]:
            found[name] |= peak(case, name, options.threads, options.most)
            if "peak MiB" in found[name]:
                found[name]["spare MiB"] = found[name]["peak MiB"] - gradients


def _ratios(found: dict[str, dict[str, Any]], row: dict[str, Any]) -> None:
    """Over the limit, and over the first of xent's candidates that ran."""
    ours = next((v["ms"] for v in found.values() if v["ours"] and "ms" in v), None)
    for values in found.values():
        if "ms" in values:
            values["/ limit"] = values["ms"] / row["limit ms"]
            values["/ xent"] = None if ours is None else values["ms"] / ours


def targets(case: Case, row: dict[str, Any]) -> list[dict[str, Any]]:
    """What the case must show, and whether it does; what could not be measured is left out."""
    candidates = row["candidates"]
    ours: dict[str, Any] = next((v for v in candidates.values() if v["ours"] and "ms" in v), {})
    most = [(f"time / {row['limit']}", case.within, "/ limit"), ("MiB beyond the gradients", case.spare, "spare MiB")]
    found = [
        {"what": what, "asked": f"<= {bound:g}", "got": ours[key], "met": ours[key] <= bound}
        for what, bound, key in most
        if bound is not None and key in ours
    ]
    for peer, least in case.ahead.items():
        got = candidates[peer].get("/ xent")
        if got is not None:
            found.append({"what": f"{peer} / xent", "asked": f">= {least:g}", "got": got, "met": got >= least})
    return found
