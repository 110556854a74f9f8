"""Generates what the benches of `learning` run on: rows to train and test a model, and rows to score, as Parquet.

    data.py --out DIR [--rows N] [--score-rows N] [--width N] [--seed N]

    DIR/rows.parquet    (_row, entity, as_of, label, f0 …): as_of spreads over 400 days
    DIR/score.parquet   (_row, entity, as_of, f0 …)
    DIR/data.json       the arguments; data that is there already is left as it is

Every third feature tells something, one in ten values is missing, every fifth feature is a count.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAYS, DAY = 400, 24 * 3600 * 1_000_000
MISSING = 0.1
GROUP = 100_000
"""Rows that are made and written at a time."""


def main(arguments: argparse.Namespace) -> None:
    out, said = arguments.out, {k: str(v) for k, v in vars(arguments).items() if k != "out"}
    marker = out / "data.json"
    if marker.exists() and json.loads(marker.read_text()) == said:
        return
    marker.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    weights = np.random.default_rng(arguments.seed).normal(size=arguments.width) * 0.25
    weights[np.arange(arguments.width) % 3 != 0] = 0
    write(out / "rows.parquet", arguments.rows, weights, arguments.seed + 1, labelled=True)
    write(out / "score.parquet", arguments.score_rows, weights, arguments.seed + 2, labelled=False)
    marker.write_text(json.dumps(said, indent=1) + "\n")


def write(path: Path, rows: int, weights: np.ndarray, seed: int, labelled: bool) -> None:
    writer = None
    for first in range(0, rows, GROUP):
        count = min(GROUP, rows - first)
        random = np.random.default_rng([seed, first])
        features = random.normal(size=(count, len(weights)))
        features[:, ::5] = np.floor(np.exp(features[:, ::5]) * 3)
        odds = np.tanh(features) @ weights - 2
        missing = random.random(features.shape) < MISSING
        number = np.arange(first, first + count)
        columns = {
            "_row": number,
            "entity": [f"u{n % (rows // 4 + 1)}" for n in number],
            "as_of": pa.array(number * (DAYS * DAY // rows), pa.timestamp("us", "UTC")),
        }
        if labelled:
            columns["label"] = random.random(count) < 1 / (1 + np.exp(-odds))
        for index in range(len(weights)):
            columns[f"f{index}"] = pa.array(features[:, index], mask=missing[:, index])
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--score-rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    main(parser.parse_args())
