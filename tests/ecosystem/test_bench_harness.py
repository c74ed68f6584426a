"""The benchmarks' harness: turns, ratios, verdicts, and what it writes. No test of speed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import harness, page, run, runs
from bench.harness import Report, compare_calls, interleave


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let results go to a folder of the test's own, which is given."""
    monkeypatch.delenv("BENCH_ROUNDS", raising=False)
    for module in (harness, run):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "bench")
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    return tmp_path / "bench"


def test_contenders_run_in_alternating_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    contenders = {name: lambda name=name: calls.append(name) for name in "AB"}
    found = interleave(contenders, rounds=2, warmup=1)
    assert "".join(calls) == "ABBAAB"
    assert [len(found[name]) for name in "AB"] == [2, 2]
    monkeypatch.setenv("BENCH_ROUNDS", "3")  # a quick look
    assert interleave({"A": lambda: 1}, rounds=50)["A"] == [1, 1, 1]


def test_ratios_are_taken_round_by_round() -> None:
    report = Report("topic")
    result = report.ratio("ready", [1.0, 2.0, 9.0], [2.0, 4.0, 6.0], peer="other", at_most=0.5)
    assert (result.median, result.min, result.max) == (0.5, 0.5, 1.5)
    assert (result.ours, result.theirs, result.verdict) == (2.0, 4.0, "PASS")


@pytest.mark.parametrize(
    ("at_most", "at_least", "verdict"),
    [(0.9, None, "SLOWER"), (1.0, None, "PASS"), (None, 1.1, "SLOWER"), (None, 1.0, "PASS")],
)
def test_a_target_is_met_or_reported_as_missed(
    at_most: float | None, at_least: float | None, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report("topic")
    report.ratio("x", [3.0], [3.0], peer="other", at_most=at_most, at_least=at_least)
    assert capsys.readouterr().out.startswith(verdict)


def test_calls_are_compared_with_every_peer(results: Path) -> None:
    with Report("calls") as report:
        times = compare_calls(
            *(report, "nothing"),
            ours=lambda: None,
            peers={"pytest": lambda: None, "a dict": dict},
            rounds=3,
            seconds=0.001,
        )
    assert {name: len(rounds) for name, rounds in times.items()} == dict.fromkeys(
        ("sparts", "pytest", "a dict"), 3
    )
    assert min(map(min, times.values())) > 0
    written = json.loads((results / "calls.json").read_text(encoding="utf-8"))
    assert [result["peer"] for result in written["results"]] == ["pytest", "a dict"]
    assert written["versions"]["pytest"] == pytest.__version__
    assert "a dict" not in written["versions"]
    assert written["machine"]["cores"] > 0


def test_a_benchmark_that_breaks_leaves_no_results(results: Path) -> None:
    with pytest.raises(RuntimeError), Report("broken"):
        raise RuntimeError
    assert not results.exists()


def test_unknown_benchmark_is_named_with_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["lifecycles"]) == 2
    said = capsys.readouterr().out
    assert "No benchmark is named lifecycles" in said
    assert "lifecycle" in said


def test_every_result_and_missed_target_is_shown(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Report("one") as report:
        report.ratio("slow", [2.0, 4.0], [1.0, 1.0], peer="other", at_most=1.0, why="It waits.")
        report.value("quick | <1>", [1.0], unit="ms", at_most=2.0)
        report.value("only told", [0.0, 5.0, 9.0], unit="MB", note="ours 3.804e+04 /s")
    assert "5 MB [0..9]" in capsys.readouterr().out
    said = run.sum_up(["one"])
    assert "1 of 2 targets met" in said
    assert "one: slow / other 3 x, not at most 1 x" in said
    assert "quick" not in said
    page.write(["one"], results.parent / "performance.md")
    lines = (results.parent / "performance-table.md").read_text(encoding="utf-8").splitlines()
    assert "1 of 2 targets are met." in lines
    assert "It waits." in lines
    assert "- **one: slow / other**: 3 x (2 to 4), not at most 1 x" in lines
    assert any(line.startswith("| slow / other | 3 x (2 to 4) | at most 1 x |") for line in lines)
    assert any(
        line.startswith(r"| quick \| &lt;1> | 1 ms | at most 2 ms | met |") for line in lines
    )
    assert "| only told | 5 MB (0 to 9) |  |  | ours 38,040 /s |" in lines


def test_the_first_page_has_the_chosen_rows_alone(results: Path) -> None:
    with Report("counters") as report:
        peer = "prometheus-client"
        report.ratio("counter.increment", [1.0], [2.0], peer=peer, at_most=0.6)
        report.ratio("counter.read", [1.0], [2.0], peer=peer, at_most=0.6)
    path = results.parent / "performance.md"
    page.write(["counters"], path)
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if "0.5 x" in line]
    (row,) = rows
    assert row.startswith(f"| Counters: one increment | {peer} | 0.5 x | at most 0.6 x | met |")


def test_the_docs_have_all_ten_chosen_rows() -> None:
    rows = [
        line
        for line in page.PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| what")
    ]
    assert len(rows) == len(page.CHOSEN) == 10
    assert all(
        row[2:].startswith(words) for row, (words, *_) in zip(rows, page.CHOSEN, strict=True)
    )


@pytest.mark.parametrize(("kept", "written"), [(["one", "two"], True), (["one"], False)])
def test_the_page_is_made_of_kept_runs(
    kept: list[str], written: bool, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for topic in kept:  # on a day before, and in another checkout
        with Report(topic) as report:
            report.value("quick", [1.0], unit="ms", at_most=2.0)
        (results / f"{topic}.json").unlink()
    path = results.parent / "performance.md"
    monkeypatch.setattr(run, "find_topics", lambda: ["one", "two"])
    monkeypatch.setattr(run, "run_topic", lambda topic: True)
    monkeypatch.setattr(page, "PAGE", path)
    assert run.main(["one"]) == 0
    assert path.exists() is written


def run_on(day: str, monkeypatch: pytest.MonkeyPatch, ours: float = 1.0) -> None:
    monkeypatch.setattr("time.strftime", lambda *_: f"{day}T12:00:00Z")
    with Report("days") as report:
        report.ratio("calls", [ours], [1.0], peer="other", at_least=1.2)
        report.value("rest", [ours], unit="switches", at_most=0)


def test_a_ratio_that_differs_between_days_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_on("2026-01-01", monkeypatch, 2.06)
    run_on("2026-01-02", monkeypatch, 2.0)
    assert "DIFFERS" not in capsys.readouterr().out
    run_on("2026-01-03", monkeypatch, 1.15)
    assert "DIFFERS calls / other: 1.15 x, and 2.06 x on 2026-01-01" in capsys.readouterr().out


def test_the_page_states_the_worst_of_all_days(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = results.parent / "performance-table.md"
    for number, ours in enumerate((1.15, 2.0, 1.8), 1):
        run_on(f"2026-01-0{number}", monkeypatch, ours)
        page.write(["days"], results.parent / "performance.md")
        assert (f"{number} of 3 days" in path.read_text()) is (number < 3)
    text = path.read_text()
    assert "the worst of 3 days" in text
    assert "| calls / other | 1.15 x | at least 1.2 x | **missed** |" in text
    assert "| rest | 2 switches | at most 0 switches | **missed** |" in text


def test_newest_days_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 9):
        run_on(f"2026-01-0{number}", monkeypatch)
    monkeypatch.setenv("BENCH_ROUNDS", "1")
    run_on("2026-01-09", monkeypatch)
    assert [each["finished"][:10] for each in runs.runs_of("days")] == [
        f"2026-01-0{number}" for number in range(4, 9)
    ]
