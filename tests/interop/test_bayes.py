"""How far the models are from the best that is possible.

`scorehouse generate` writes beside each label the probability given everything (`p_full`) and given what windowed
aggregates can carry (`p_aggregates`). Their AUC, on the very rows a model was tested on, is the best reachable one of
either kind: the Bayes AUC. Needs SCOREHOUSE_RAW, the raw events of the lake.
"""

import os
from pathlib import Path

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


def distance(model: str, truth: str, key: str) -> dict[str, float]:
    raw = Path(os.environ["SCOREHOUSE_RAW"])
    tested = pl.read_delta(str(lake() / "training_sets" / model)).filter(pl.col("part") == "test")
    best = pl.read_parquet(raw / truth / "**/*.parquet", hive_partitioning=False)
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


if __name__ == "__main__":
    for model, truth, key, _ in MODELS:
        print(model, distance(model, truth, key))
