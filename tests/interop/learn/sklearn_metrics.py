"""Writes (default) or checks (--check) metrics.json: rows with the values that scikit-learn gives them.

jobs/learn/metrics.rs reads the file in its tests. KS, which scikit-learn lacks, comes from its ROC curve.
"""

import json
import pathlib
import sys

import numpy as np
from sklearn import metrics

FILE = pathlib.Path(__file__).with_name("metrics.json")


def expected(y, p, threshold):
    false_rate, true_rate, _ = metrics.roc_curve(y, p, drop_intermediate=False)
    return {
        "base_rate": float(np.mean(y)),
        "mean_probability": float(np.mean(p)),
        "roc_auc": float(metrics.roc_auc_score(y, p)),
        "average_precision": float(metrics.average_precision_score(y, p)),
        "ks": float(np.max(np.abs(true_rate - false_rate))),
        "brier": float(metrics.brier_score_loss(y, p)),
        "log_loss": float(metrics.log_loss(y, p)),
        "f1": float(metrics.f1_score(y, np.asarray(p) >= threshold, zero_division=0)),
    }


def cases():
    rng = np.random.default_rng(20240101)
    yield "sklearn's own example", [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.5
    yield "all scores tied", [0, 1, 0, 1, 1], [0.3] * 5, 0.5
    yield "certain and wrong", [0, 1, 1, 0], [1.0, 0.0, 1.0, 0.0], 0.5
    yield "nothing called positive", [0, 1, 0], [0.1, 0.2, 0.3], 0.9
    for name, n, base, decimals in [("few ties", 200, 0.3, 6), ("many ties", 300, 0.2, 1), ("rare class", 400, 0.02, 2)]:
        y = (rng.random(n) < base).astype(int)
        y[0], y[1] = 0, 1
        p = np.round(np.clip(rng.beta(2, 5, n) + 0.15 * y, 0, 1), decimals)
        yield name, y.tolist(), p.tolist(), 0.25


def main():
    made = []
    for name, y, p, threshold in cases():
        values = expected(y, p, threshold)
        made.append({"name": name, "labels": y, "probabilities": p, "threshold": threshold, "expected": values})
    if "--check" in sys.argv:
        for kept in json.loads(FILE.read_text()):
            again = expected(kept["labels"], kept["probabilities"], kept["threshold"])
            for metric, value in kept["expected"].items():
                assert abs(value - again[metric]) < 1e-12, (kept["name"], metric, value, again[metric])
        print(f"{FILE.name}: {len(made)} cases agree with scikit-learn")
    else:
        FILE.write_text("[\n" + ",\n".join(json.dumps(case) for case in made) + "\n]\n")


if __name__ == "__main__":
    main()
