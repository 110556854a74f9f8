"""Python's libraries read our artifacts and give our numbers, and learn the same from the same rows.

Usage: heads.py FOLDER, where FOLDER was written by
    SCOREHOUSE_LEARN_INTEROP=FOLDER cargo test --lib write_artifacts_for_python
"""

import importlib.util
import json
import pathlib
import sys

import lightgbm
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

TREES = ["lightgbm", "random_forest", "extra_trees", "tree"]


class Written:
    """What one head wrote."""

    def __init__(self, folder):
        self.folder = folder
        self.schema = json.loads((folder / "schema.json").read_text())
        self.names = [feature["name"] for feature in self.schema["features"]]
        self.rows = self.read("inputs.txt").reshape(-1, len(self.names))
        self.raw, self.scores = self.read("raw.txt"), self.read("scores.txt")
        self.contributions = self.read("contributions.txt").reshape(-1, len(self.names) + 1)
        self.labels = self.read("labels.txt").astype(int)
        self.train, self.valid = self.read("train.txt").astype(int), self.read("valid.txt").astype(int)
        prior = self.schema["prior"]
        total = prior["positives"] + prior["negatives"]
        self.weight = {1: np.float32(total / 2 / prior["positives"]), 0: np.float32(total / 2 / prior["negatives"])}
        self.ratio = prior["negatives"] / prior["positives"]

    def read(self, name):
        return np.array([float(value) for value in (self.folder / name).read_text().split()])

    def weights(self, at):
        return np.array([self.weight[label] for label in self.labels[at]])


def trees(folder):
    """The model file loads, and raw scores, probabilities and SHAP values are equal."""
    ours = Written(folder)
    booster = lightgbm.Booster(model_file=folder / "model.txt")
    assert booster.feature_name() == ours.names
    assert booster.num_trees() == ours.schema["best_iteration"]
    raw = booster.predict(ours.rows, raw_score=True)
    shap = booster.predict(ours.rows, pred_contrib=True)
    if "\naverage_output\n" in (folder / "model.txt").read_text():
        # Which LightGBM does for a forest's probabilities only.
        raw, shap = raw / booster.num_trees(), shap / booster.num_trees()
    np.testing.assert_allclose(raw, ours.raw, rtol=0, atol=1e-12)
    np.testing.assert_allclose(1 / (1 + np.exp(-raw)), booster.predict(ours.rows), rtol=1e-12)
    np.testing.assert_allclose(shap, ours.contributions, rtol=0, atol=1e-12)
    np.testing.assert_allclose(shap.sum(axis=1), raw, rtol=0, atol=1e-9)
    # The way back from balanced class weights, written out.
    said = 1 / (1 + np.exp(-raw))
    np.testing.assert_allclose(said / (said + (1 - said) * ours.ratio), ours.scores, rtol=1e-6)
    return ours, booster


def the_same_training(ours, booster):
    """By the reference binding, from a dense matrix."""
    params = dict(objective="binary", metric="binary_logloss", seed=1, deterministic=True, force_col_wise=True,
                  num_threads=1, verbosity=-1)
    categorical = [i for i, feature in enumerate(ours.schema["features"]) if "vocabulary" in feature]

    def dataset(at, reference=None):
        return lightgbm.Dataset(ours.rows[at], ours.labels[at], weight=ours.weights(at), reference=reference,
                                feature_name=ours.names, categorical_feature=categorical, params=params)

    data = dataset(ours.train)
    again = lightgbm.train(params, data, 50, valid_sets=[dataset(ours.valid, data)],
                           callbacks=[lightgbm.early_stopping(10, verbose=False)])
    assert again.best_iteration == booster.num_trees(), (again.best_iteration, booster.num_trees())
    raw = again.predict(ours.rows, raw_score=True, num_iteration=again.best_iteration)
    difference = np.abs(raw - ours.raw).max()
    assert difference < 1e-12, difference
    return difference


def columns(ours):
    """Standardised as weights.json says."""
    inputs = json.loads((ours.folder / "weights.json").read_text())["linear"]["inputs"]
    numbers = lambda name: np.array([float(value) for value in inputs[name]])
    standard = (ours.rows - numbers("means")) / numbers("scales")
    absent = np.isnan(ours.rows[:, inputs["absent"]]) - numbers("shares")
    of_train = ours.rows[ours.train]
    np.testing.assert_allclose(np.nanmean(of_train, axis=0), numbers("means"), rtol=1e-12)
    np.testing.assert_allclose(np.nanstd(of_train, axis=0), numbers("scales"), rtol=1e-12)
    return np.hstack([np.nan_to_num(standard), absent])


def shaped(ours):
    """Logarithms and what levels off, as whoever loads the model from MLflow makes them."""
    path = pathlib.Path(__file__).parents[3] / "jobs" / "pipeline" / "mlflow" / "scorehouse_linear.py"
    spec = importlib.util.spec_from_file_location("scorehouse_linear", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    matrix = module.Model(ours.folder).columns(ours.rows)
    np.testing.assert_allclose(matrix[ours.train].mean(axis=0), 0, atol=1e-9)
    return matrix


def linear(folder, reference, tolerance, columns=columns, compared=lambda margins: margins):
    """The minimum that scikit-learn finds of the same loss."""
    ours = Written(folder)
    matrix = columns(ours)
    reference.fit(matrix[ours.train], ours.labels[ours.train], sample_weight=ours.weights(ours.train))
    difference = np.abs(compared(reference.decision_function(matrix)) - compared(ours.raw)).max()
    assert difference < tolerance, (folder.name, difference)
    np.testing.assert_allclose(ours.contributions.sum(axis=1), ours.raw, rtol=0, atol=1e-9)
    return difference


def main():
    folder = pathlib.Path(sys.argv[1])
    for name in TREES:
        ours, booster = trees(folder / name)
        print(f"{name}: LightGBM {lightgbm.__version__} loads {booster.num_trees()} trees, raw and SHAP values agree")
        if name == "lightgbm":
            print(f"{name}: the same training again differs by {the_same_training(ours, booster):.1e}")
    found = linear(folder / "logistic", LogisticRegression(C=1, tol=1e-10, max_iter=10_000), 1e-6)
    print(f"logistic: scikit-learn's log odds agree within {found:.1e}")
    # Which shrinks the intercept too, as ours does before it finds it again.
    sparse = LogisticRegression(C=0.05, l1_ratio=1, solver="liblinear", tol=1e-12, max_iter=100_000)
    found = linear(folder / "logistic_l1", sparse, 1e-4, shaped, lambda margins: margins - margins.mean())
    print(f"logistic_l1: scikit-learn's log odds agree within {found:.1e} but for the intercept")
    # Its intercept is penalised; far scaled, hardly.
    svm = LinearSVC(C=1, dual=False, tol=1e-12, max_iter=100_000, intercept_scaling=1000)
    print(f"linear_svm: scikit-learn's distances agree within {linear(folder / 'linear_svm', svm, 1e-6):.1e}")


if __name__ == "__main__":
    main()
