"""Python LightGBM, from Parquet to Parquet.

    lightgbm_python.py train --rows FILE --model FILE --out FILE --form numpy|arrow
    lightgbm_python.py score --rows FILE --model FILE --out FILE --form numpy|arrow|batches

`train` learns from the rows of the first 320 days, writes the model and what it says of the others. `score` writes what
it says of every row: `numpy` and `arrow` read the file at once, `batches` a piece at a time. Both print
{"seconds": …, "peak_bytes": …}; libraries are loaded before the clock starts.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

sys.path.append(str(Path(__file__).parent.parent / "point_in_time" / "peers"))
import memory  # noqa: E402

TEST_FROM = 320 * 24 * 3600 * 1_000_000
BATCH = 65_536

# Those of the bench program; equal parameters give equal trees, so that the results can be compared.
PARAMS = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 10,
    "verbosity": -1,
}


def train(arguments: argparse.Namespace) -> None:
    table = pq.read_table(arguments.rows)
    features = [name for name in table.column_names if name.startswith("f")]
    is_test = pc.greater_equal(pc.cast(table["as_of"], pa.int64()), TEST_FROM)
    training, test = table.filter(pc.invert(is_test)), table.filter(is_test)
    del table
    labels = training["label"].to_numpy(zero_copy_only=False).astype(np.float32)
    rows = lgb.Dataset(matrix(training.select(features), arguments.form), label=labels)
    booster = lgb.train(PARAMS | {"num_threads": arguments.threads}, rows, num_boost_round=arguments.rounds)
    booster.save_model(arguments.model)
    write(test["_row"], booster.predict(matrix(test.select(features), arguments.form)), arguments.out)


def score(arguments: argparse.Namespace) -> None:
    booster = lgb.Booster(model_file=str(arguments.model), params={"num_threads": arguments.threads})
    file = pq.ParquetFile(arguments.rows)
    features = [name for name in file.schema_arrow.names if name.startswith("f")]
    if arguments.form != "batches":
        table = file.read(["_row", *features])
        write(table["_row"], booster.predict(matrix(table.select(features), arguments.form)), arguments.out)
        return
    with pq.ParquetWriter(arguments.out, pa.schema({"_row": pa.int64(), "probability": pa.float64()})) as writer:
        for batch in file.iter_batches(BATCH, columns=["_row", *features]):
            said = booster.predict(matrix(pa.table(batch.select(features)), "numpy"))
            writer.write_table(pa.table({"_row": batch["_row"], "probability": said}))


def matrix(table: pa.Table, form: str):
    if form == "arrow":
        return table
    out = np.empty((table.num_rows, table.num_columns))
    for index, column in enumerate(table.columns):
        out[:, index] = column.to_numpy(zero_copy_only=False)
    return out


def write(rows, probabilities: np.ndarray, out: Path) -> None:
    pq.write_table(pa.table({"_row": rows, "probability": probabilities}), out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "score"])
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--form", choices=["numpy", "arrow", "batches"], default="numpy")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    began = time.perf_counter()
    {"train": train, "score": score}[asked.what](asked)
    print(json.dumps({"seconds": round(time.perf_counter() - began, 3), "peak_bytes": memory.peak()}))
