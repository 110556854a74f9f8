"""How far the models are from the best that is possible.

`scorehouse generate` writes beside each label the probability given everything (`p_full`) and given what windowed
aggregates can carry (`p_aggregates`). Their AUC, on the very rows a model was tested on, is the best reachable one of
either kind: the Bayes AUC. Needs SCOREHOUSE_RAW, the raw events of the lake.

`p_aggregates` is of one who remembers each past case with its own probability. What counts and sums over windows keep of
that is less. Run as a script this tells how much: learners that are taught the true log odds themselves, free of the
chance in labels, by the model's inputs, are asked about customers they have not seen.
"""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conftest import lake

# Model, its truth, the key of a decision, and how far below the best it may lie at the size `make readers` generates.
MODELS = [("buying", "truth_buying", "purchase_id", 0.06), ("credit", "truth_credit", "loan_id", 0.15)]


def auc(labels: pl.Series, scores: pl.Series) -> float:
    """ROC AUC by mid-ranks (Mann-Whitney U)."""
    positives = labels.sum()
    negatives = len(labels) - positives
    ranks = scores.rank("average").filter(labels.cast(pl.Boolean)).sum()
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def read(model: str, truth: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of a training, and the truth of all decisions."""
    files = Path(os.environ["SCOREHOUSE_RAW"]) / truth / "**/*.parquet"
    return pl.read_delta(str(lake() / "training_sets" / model)), pl.read_parquet(files, hive_partitioning=False)


def distance(model: str, truth: str, key: str) -> dict[str, float]:
    trained, best = read(model, truth)
    tested = trained.filter(pl.col("part") == "test")
    rows = tested.select(key, "label", "probability").join(best.select(key, "label", "p_full", "p_aggregates"), on=key)
    assert len(rows) == len(tested) > 100, "every tested decision has its truth"
    assert (rows["label"].cast(pl.Int32) == rows["label_right"]).mean() > 0.995, "labels come out of the events"
    labels = rows["label_right"]
    found = {name: auc(labels, rows[name]) for name in ["probability", "p_aggregates", "p_full"]}
    return found | {"rows": len(rows), "base rate": labels.mean()}


@pytest.mark.parametrize(("model", "truth", "key", "margin"), MODELS)
def test_a_model_is_near_the_best_and_not_beyond_it(model: str, truth: str, key: str, margin: float) -> None:
    found = distance(model, truth, key)
    print(model, found)
    assert found["probability"] > found["p_aggregates"] - margin
    # Better than the truth is a leak. The second term is what chance allows at this many positives.
    assert found["probability"] < found["p_full"] + 1.0 / (found["rows"] * found["base rate"]) ** 0.5


FOLDS = 5


def carried(model: str, truth: str, key: str) -> dict[str, float]:
    """What the inputs of a model say of the truth: ROC AUC, and R2 of its log odds, on the tested rows."""
    from lightgbm import LGBMRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    def saturating(x: np.ndarray) -> np.ndarray:
        return np.hstack([x, np.tanh(x), np.tanh(2 * x)])

    trained, best = read(model, truth)
    rows = trained.join(best.select(key, "p_aggregates", outcome="label"), on=key).sort(key)
    numbers = [name for name in rows.columns if "__" in name and rows[name].dtype.is_numeric()]
    inputs = rows.select(pl.col(numbers).cast(pl.Float32)).to_numpy()
    log_odds = (rows["p_aggregates"] / (1 - rows["p_aggregates"])).log().to_numpy()
    tested = (rows["part"] == "test").fill_null(False).to_numpy()
    found = np.zeros(len(rows))
    for learn, ask in GroupKFold(FOLDS).split(inputs, groups=rows["user_id"].to_numpy()):
        ask = ask[tested[ask]]
        linear = make_pipeline(
            FunctionTransformer(lambda x: np.sign(x) * np.log1p(np.abs(x))),
            SimpleImputer(add_indicator=True, keep_empty_features=True),
            StandardScaler(),
            FunctionTransformer(saturating),
            Ridge(200.0),
        ).fit(inputs[learn], log_odds[learn])
        trees = LGBMRegressor(
            n_estimators=800,
            num_leaves=63,
            learning_rate=0.05,
            min_child_samples=50,
            colsample_bytree=0.3,
            reg_lambda=10,
            verbosity=-1,
        )
        trees.fit(inputs[learn], log_odds[learn] - linear.predict(inputs[learn]))
        found[ask] = linear.predict(inputs[ask]) + trees.predict(inputs[ask])
    off = found[tested] - log_odds[tested]
    area = auc(rows["outcome"].filter(pl.Series(tested)), pl.Series(found[tested]))
    return {"inputs": area, "R2": 1 - float(off.var() / log_odds[tested].var())}


if __name__ == "__main__":
    for model, truth, key, _ in MODELS:
        print(model, distance(model, truth, key) | carried(model, truth, key))
