"""The results of a contest as a section of RESULTS.md."""

import statistics
from pathlib import Path

from contest import Result, ratio


def section(title: str, notes: str, results: list[Result]) -> str:
    """Scorehouse, if it takes part, is the first; everybody's time is divided by its."""
    measure = results[0] if results and results[0].name.startswith("Scorehouse") and results[0].runs else None
    lines = [title, "", notes, ""]
    lines += ["| | form | seconds | from – to | times Scorehouse | peak memory | |", "|---|---|---|---|---|---|---|"]
    lines += [row(result, measure) for result in results]
    parts = [f"{name} {seconds:.1f} s" for name, seconds in (measure.runs[-1].parts if measure else {}).items()]
    if parts:
        lines += ["", f"Of Scorehouse's last turn: {', '.join(parts)}."]
    return "\n".join(lines) + "\n"


def publish(section: str, results: Path | None) -> None:
    """Prints a section, and appends it to a file where one is named."""
    print(section, flush=True)
    if results:
        with results.open("a") as file:
            file.write(f"\n{section}")


def row(result: Result, measure: Result | None) -> str:
    if not result.runs:
        return f"| {result.name} | {result.form} | | | | | {result.note} |"
    seconds = [run.seconds for run in result.runs]
    times = f"{ratio(result.runs, measure.runs):.2f}" if measure else ""
    peaks = [run.peak for run in result.runs if run.peak]
    cells = [
        result.name,
        result.form,
        f"{statistics.median(seconds):.2f}",
        f"{min(seconds):.2f} – {max(seconds):.2f}",
        times,
        size(max(peaks)) if peaks else "",
        result.note,
    ]
    return f"| {' | '.join(cells)} |"


def size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"
