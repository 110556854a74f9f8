"""Writes (default) or checks (--check) metrics.json: rows with the values that scikit-learn gives them.

jobs/learn/metrics.rs reads the file in its tests. KS, which scikit-learn lacks, comes from its ROC curve; calibration
error and lift, from their definitions.
"""

import json
import pathlib
import sys

import numpy as np
import pandas as pd
from sklearn import metrics

FILE = pathlib.Path(__file__).with_name("metrics.json")


def expected(y, p, threshold, w):
    y, p = np.asarray(y), np.asarray(p)
    false_rate, true_rate, _ = metrics.roc_curve(y, p, drop_intermediate=False, sample_weight=w)
    called = p >= threshold
    return {
        "base_rate": float(np.average(y, weights=w)),
        "mean_probability": float(np.average(p, weights=w)),
        "roc_auc": float(metrics.roc_auc_score(y, p, sample_weight=w)),
        "average_precision": float(metrics.average_precision_score(y, p, sample_weight=w)),
        "ks": float(np.max(np.abs(true_rate - false_rate))),
        "brier": float(metrics.brier_score_loss(y, p, sample_weight=w)),
        "log_loss": float(metrics.log_loss(y, p, sample_weight=w)),
        "f1": float(metrics.f1_score(y, called, zero_division=0, sample_weight=w)),
        "calibration_error": calibration_error(y, p, w),
        "lift_10": lift_10(y, p, w),
    }


def calibration_error(y, p, w):
    """Ten bins of equal mass; what ties lies in the bin of the middle of its mass."""
    tied = by_score(y, p, w)
    below = tied.mass.cumsum() - tied.mass
    tied["bin"] = ((2 * below + tied.mass) * 10 // (2 * tied.mass.sum())).clip(upper=9)
    bins = tied.assign(said=tied.index * tied.mass).groupby("bin").sum()
    return float((bins.positives - bins.said).abs().sum() / tied.mass.sum())


def lift_10(y, p, w):
    """Share of positives in the top tenth over that in all; the part of the border's ties that fits."""
    tied = by_score(y, p, w).sort_index(ascending=False)
    tied = tied[tied.mass > 0]
    tenth = tied.mass.sum() / 10
    above = tied.mass.cumsum() - tied.mass
    taken = ((tenth - above) / tied.mass).clip(0, 1)
    return float((taken * tied.positives).sum() / tenth / (tied.positives.sum() / tied.mass.sum()))


def by_score(y, p, w):
    mass = np.ones(len(y)) if w is None else np.asarray(w)
    rows = pd.DataFrame({"score": p, "mass": mass, "positives": mass * y})
    return rows.groupby("score").sum()


def cases():
    rng = np.random.default_rng(20240101)
    yield "sklearn's own example", [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.5, None
    yield "all scores tied", [0, 1, 0, 1, 1], [0.3] * 5, 0.5, None
    yield "certain and wrong", [0, 1, 1, 0], [1.0, 0.0, 1.0, 0.0], 0.5, None
    yield "nothing called positive", [0, 1, 0], [0.1, 0.2, 0.3], 0.9, None
    drawn = [("few ties", 200, 0.3, 6), ("many ties", 300, 0.2, 1), ("rare class", 400, 0.02, 2)]
    for weighted in (False, True):
        for name, n, base, decimals in drawn:
            y = (rng.random(n) < base).astype(int)
            y[0], y[1] = 0, 1
            p = np.round(np.clip(rng.beta(2, 5, n) + 0.15 * y, 0, 1), decimals)
            w = np.round(rng.exponential(2.0, n), 2) if weighted else None
            if weighted:
                w[5:15] = 0
            yield name + ", weighted" * weighted, y.tolist(), p.tolist(), 0.25, w.tolist() if weighted else None


def main():
    made = []
    for name, y, p, threshold, w in cases():
        values = expected(y, p, threshold, w)
        case = {"name": name, "labels": y, "probabilities": p, "threshold": threshold, "weights": w}
        made.append({**case, "expected": values})
    if "--check" in sys.argv:
        kept = json.loads(FILE.read_text())
        assert [case["name"] for case in kept] == [case["name"] for case in made]
        for case in kept:
            again = expected(case["labels"], case["probabilities"], case["threshold"], case["weights"])
            assert again.keys() == case["expected"].keys()
            for metric, value in case["expected"].items():
                assert abs(value - again[metric]) < 1e-12, (case["name"], metric, value, again[metric])
        print(f"{FILE.name}: {len(made)} cases agree with scikit-learn")
    else:
        FILE.write_text("[\n" + ",\n".join(json.dumps(case) for case in made) + "\n]\n")


if __name__ == "__main__":
    main()
