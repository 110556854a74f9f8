"""Training and scoring beside Python LightGBM, from the same Parquet, side by side in one run.

    run.py --data DIR --scorehouse-bench PROGRAM [--repeat N] [--rounds N] [--threads N] [--results FILE]

Everybody trains with the same parameters on the same rows; before anything is timed, what the models say of the rows
they did not see must agree. Then the peer's fastest form and Scorehouse take turns, as in point_in_time/run.py.
Scorehouse's training does more: intervals by bootstrap, curves, importances, contributions and the distribution of
every input, which make its artifact.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl

sys.path.append(str(Path(__file__).parent.parent / "point_in_time"))
import report  # noqa: E402
from contest import Contestant, Peer, Program, contest  # noqa: E402

HERE = Path(__file__).parent
FORMS = {"train": ["numpy", "arrow"], "score": ["numpy", "arrow", "batches"]}
AGREE = 0.002
"""How far two ROC AUCs of the same training may lie apart: the numbers of a sum are added in different orders."""


def main(arguments: argparse.Namespace) -> int:
    arguments.work.mkdir(parents=True, exist_ok=True)
    said = json.loads((arguments.data / "data.json").read_text())
    for bench, rows in (("train", said["rows"]), ("score", said["score_rows"])):
        title = f"## {bench.capitalize()}: {int(rows):,} rows × {said['width']} features, {arguments.rounds} trees"
        print(f"\n{title}", file=sys.stderr)
        entrants = contestants(bench, arguments)
        fault = differ(bench, entrants, arguments)
        if fault:
            print(fault, file=sys.stderr)
            return 1
        results = contest(entrants, None, arguments.repeat, arguments.timeout, arguments.work)
        notes = f"`make bench-learning`, turns: {arguments.repeat}, threads: {arguments.threads}."
        report.publish(report.section(title, notes, results), arguments.results)
    return 0


def contestants(bench: str, arguments: argparse.Namespace) -> list[Contestant]:
    rows = arguments.data / {"train": "rows.parquet", "score": "score.parquet"}[bench]
    own, peer = arguments.work / "scorehouse", arguments.work / "peer.txt"
    common = [bench, "--rows", str(rows), "--rounds", str(arguments.rounds), "--threads", str(arguments.threads)]
    script = [sys.executable, str(HERE / "lightgbm_python.py")]
    return [
        Program("Scorehouse", [arguments.scorehouse_bench, *common, "--model", str(own), "--out", "{out}"]),
        Peer("Python LightGBM", [*script, *common, "--model", str(peer), "--out", "{out}"], FORMS[bench]),
    ]


def differ(bench: str, entrants: list[Contestant], arguments: argparse.Namespace) -> str | None:
    """What is wrong with the answers, if anything is."""
    answers = []
    for entrant in entrants:
        out = arguments.work / f"{bench}_{len(answers)}.parquet"
        entrant.run(entrant.forms[0], out, arguments.timeout, out.with_suffix(".log"))
        answers.append(pl.read_parquet(out).sort("_row"))
    ours, theirs = answers
    if not ours["_row"].equals(theirs["_row"]):
        return f"{len(ours):,} and {len(theirs):,} rows, or others"
    apart = float((ours["probability"] - theirs["probability"]).abs().max())
    print(f"  probabilities: at most {apart:.2g} apart", file=sys.stderr)
    if bench == "train":
        labels = pl.read_parquet(arguments.data / "rows.parquet", columns=["_row", "label"])
        areas = [auc(answer.join(labels, on="_row")) for answer in answers]
        print(f"  ROC AUC {areas[0]:.5f} and {areas[1]:.5f}", file=sys.stderr)
        if abs(areas[0] - areas[1]) > AGREE:
            return "the models differ"
    return None


def auc(rows: pl.DataFrame) -> float:
    ranks = rows["probability"].rank().to_numpy()
    positive = rows["label"].to_numpy()
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (np.size(positive) - count)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("/tmp/scorehouse-bench/learning-work"))
    parser.add_argument("--scorehouse-bench", required=True)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--timeout", type=int, default=1200)
    parser.add_argument("--results", type=Path)
    sys.exit(main(parser.parse_args()))
