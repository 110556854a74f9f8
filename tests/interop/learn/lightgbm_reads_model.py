"""Python's LightGBM loads an artifact's model.txt, gives the same numbers, and trains the same model from the rows.

Usage: lightgbm_reads_model.py FOLDER, where FOLDER was written by
    SCOREHOUSE_LEARN_INTEROP=FOLDER cargo test --lib write_an_artifact_for_python
"""

import json
import pathlib
import sys

import lightgbm
import numpy as np


def main():
    folder = pathlib.Path(sys.argv[1])
    read = lambda name, kind=float: np.array([kind(v) for v in (folder / name).read_text().split()])
    schema = json.loads((folder / "schema.json").read_text())
    names = [feature["name"] for feature in schema["features"]]
    rows = read("inputs.txt").reshape(-1, len(names))

    booster = lightgbm.Booster(model_file=folder / "model.txt")
    assert booster.feature_name() == names
    assert booster.num_trees() == schema["best_iteration"]
    raw = booster.predict(rows, raw_score=True)
    np.testing.assert_array_equal(raw, read("raw.txt"))

    # The way back from balanced class weights, written out.
    prior = schema["prior"]
    ratio = prior["negatives"] / prior["positives"]
    said = booster.predict(rows)
    np.testing.assert_allclose(said / (said + (1 - said) * ratio), read("scores.txt"), rtol=1e-6)

    # The same training by the reference binding, from a dense matrix.
    labels, train, valid = read("labels.txt", int), read("train.txt", int), read("valid.txt", int)
    total = len(train)
    weight = {1: np.float32(total / 2 / prior["positives"]), 0: np.float32(total / 2 / prior["negatives"])}
    params = dict(objective="binary", metric="binary_logloss", seed=1, deterministic=True, force_row_wise=True,
                  num_threads=1, verbosity=-1)
    categorical = [i for i, feature in enumerate(schema["features"]) if feature["class"] == "categorical"]

    def dataset(at, reference=None):
        return lightgbm.Dataset(rows[at], labels[at], weight=np.array([weight[y] for y in labels[at]]), reference=reference,
                                feature_name=names, categorical_feature=categorical, params=params)

    data = dataset(train)
    again = lightgbm.train(params, data, 50, valid_sets=[dataset(valid, data)],
                           callbacks=[lightgbm.early_stopping(10, verbose=False)])
    assert again.best_iteration == schema["best_iteration"], (again.best_iteration, schema["best_iteration"])
    difference = np.abs(again.predict(rows, raw_score=True, num_iteration=again.best_iteration) - raw).max()
    assert difference < 1e-12, difference
    print(f"LightGBM {lightgbm.__version__}: loaded {booster.num_trees()} trees, {len(rows)} equal raw scores, "
          f"and the same training again differs by {difference:.1e}")


if __name__ == "__main__":
    main()
