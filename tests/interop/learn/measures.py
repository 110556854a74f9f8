"""Writes (default) or checks (--check) measures.json: random cases with the values that Python's libraries give them.

scikit-learn says what isotonic regression, Platt scaling and target encoding are, SciPy what rank correlation is,
fairlearn what its gaps are. PSI and target encoding in time, which no library has, are computed here from their
definitions with NumPy and pandas. Tests in jobs/learn read the file.
"""

import json
import math
import pathlib
import sys

import numpy as np
import pandas as pd
from fairlearn import metrics as fair
from scipy.special import expit
from scipy.stats import spearmanr
from sklearn.calibration import _sigmoid_calibration
from sklearn.isotonic import IsotonicRegression
from sklearn.preprocessing import TargetEncoder

FILE = pathlib.Path(__file__).with_name("measures.json")


def held_out(rng, n, decimals, weighted):
    """Scores with ties that rank labels well, but say the wrong probability."""
    score = np.round(rng.beta(2, 4, n), decimals)
    label = (rng.random(n) < expit(6 * score - 3)).astype(int)
    label[:2] = 0, 1
    weight = np.round(rng.exponential(1.0, n), 3) if weighted else None
    if weighted:
        weight[2:6] = 0
    return score, label, weight


def as_list(values):
    return None if values is None else np.asarray(values).tolist()


def isotonic(score, label, weight):
    mass = np.ones(len(label)) if weight is None else np.asarray(weight)
    negatives, positives = mass[label == 0].sum(), mass[label == 1].sum()
    model = IsotonicRegression(
        y_min=1 / (negatives + 2), y_max=(positives + 1) / (positives + 2), out_of_bounds="clip"
    ).fit(score, label, sample_weight=weight)
    ask = np.linspace(-0.1, 1.1, 61)
    return ask, model.predict(ask)


def platt(margin, label, weight):
    a, b = _sigmoid_calibration(margin, label, sample_weight=weight)
    ask = np.linspace(-6, 6, 25)
    return ask, expit(-(a * ask + b))


def psi(expected, actual, bins):
    """By its definition, from counts per bin."""
    known = np.sort(expected[~np.isnan(expected)])
    quantiles = np.quantile(known, np.arange(1, bins) / bins, method="inverted_cdf")
    values, counts = np.unique(known, return_counts=True)
    heavy = values[counts * bins >= len(known)]
    borders = np.unique(np.concatenate([quantiles, heavy, np.nextafter(heavy, -np.inf)]))

    def count(side):
        bin_of = np.searchsorted(borders, side[~np.isnan(side)], side="left")
        return np.append(np.bincount(bin_of, minlength=len(borders) + 1), np.isnan(side).sum())

    return psi_of_counts(count(expected), count(actual))


def psi_of_categories(expected, actual, most):
    frequent = expected.value_counts().rename_axis("name").reset_index(name="count")
    frequent = frequent.sort_values(["count", "name"], ascending=[False, True]).head(most)["name"]

    def count(side):
        known = [int((side == name).sum()) for name in frequent]
        return np.array(known + [int(side.notna().sum()) - sum(known), int(side.isna().sum())])

    return psi_of_counts(count(expected), count(actual))


def psi_of_counts(expected, actual):
    either = (expected > 0) | (actual > 0)
    e = np.maximum(expected[either], 0.5) / expected.sum()
    a = np.maximum(actual[either], 0.5) / actual.sum()
    return float(np.sum((a - e) * np.log(a / e)))


def encoded_in_time(frame, smoothing):
    """Row by row: what was known at its as_of."""
    out = []
    for row in frame.itertuples():
        known = frame[(frame.known_at <= row.as_of) & (frame.as_of < row.as_of)]
        if known.weight.sum() == 0:
            out.append(None)
            continue
        prior = np.average(known.label, weights=known.weight)
        own = known[known.category == row.category]
        hits = (own.label * own.weight).sum()
        out.append(float((hits + smoothing * prior) / (own.weight.sum() + smoothing)))
    return out


def encoded_for_scoring(category, label, smoothing):
    """scikit-learn's encoder of all rows; categories in its order."""
    encoder = TargetEncoder(smooth=smoothing, target_type="binary").fit(np.array(category).reshape(-1, 1), label)
    return dict(zip(encoder.categories_[0].tolist(), encoder.encodings_[0].tolist()))


def fairness(group, favoured, good):
    arguments = {"y_true": good, "y_pred": favoured, "sensitive_features": group}
    return {
        "parity_difference": float(fair.demographic_parity_difference(**arguments)),
        "parity_ratio": float(fair.demographic_parity_ratio(**arguments)),
        "opportunity_difference": float(fair.equal_opportunity_difference(**arguments)),
    }


def calibration_cases(rng):
    for n, decimals, weighted in [(40, 1, False), (300, 2, False), (300, 6, True), (500, 1, True)]:
        score, label, weight = held_out(rng, n, decimals, weighted)
        margin = np.round(8 * score - 2, 6)
        rows = {"labels": as_list(label), "weights": as_list(weight)}
        ask, said = isotonic(score, label, weight)
        yield "isotonic", {**rows, "scores": as_list(score), "ask": as_list(ask), "said": as_list(said)}
        ask, said = platt(margin, label, weight)
        yield "platt", {**rows, "scores": as_list(margin), "ask": as_list(ask), "said": as_list(said)}


def stability_cases(rng):
    few = lambda n, shift: np.round(rng.normal(shift, 1, n))
    many = lambda n, shift: rng.normal(shift, 1, n)
    flag = lambda n, shift: (rng.random(n) < 0.05 + shift / 2).astype(float)
    for draw, n, m, bins in [(many, 500, 300, 10), (few, 400, 77, 10), (flag, 300, 200, 10), (many, 37, 12, 20)]:
        expected, actual = draw(n, 0.0), draw(m, 0.4)
        expected[::9], actual[::5] = np.nan, np.nan
        both = [[None if math.isnan(v) else float(v) for v in side] for side in (expected, actual)]
        yield "psi", {"expected": both[0], "actual": both[1], "bins": bins, "psi": psi(expected, actual, bins)}
    for n, m, most in [(200, 150, 20), (200, 150, 3), (30, 10, 5)]:
        names = np.array(["a", "b", "c", "d", "e", "new", None], dtype=object)
        expected = rng.choice(names, n, p=[0.4, 0.2, 0.15, 0.1, 0.1, 0, 0.05])
        actual = rng.choice(names, m, p=[0.3, 0.3, 0.1, 0.1, 0.0, 0.1, 0.1])
        value = psi_of_categories(pd.Series(expected), pd.Series(actual), most)
        yield "psi_categories", {
            "expected": as_list(expected), "actual": as_list(actual), "most": most, "psi": value
        }


def agreement_cases(rng):
    for n, levels in [(8, 3), (60, 1000), (200, 7)]:
        a = rng.integers(0, levels, n).astype(float)
        b = np.round(a + rng.normal(0, levels / 2, n))
        yield "spearman", {"a": as_list(a), "b": as_list(b), "rho": float(spearmanr(a, b).statistic)}


def target_cases(rng):
    for n, weighted, smoothing in [(60, False, 5.0), (250, False, 20.0), (250, True, 7.5)]:
        frame = pd.DataFrame({
            "category": rng.choice(["a", "b", "c", "d"], n, p=[0.5, 0.3, 0.15, 0.05]),
            "as_of": rng.integers(0, 40, n),
            "weight": np.round(rng.exponential(1.0, n), 3) if weighted else np.ones(n),
        })
        frame["label"] = (rng.random(n) < frame.category.map({"a": 0.1, "b": 0.3, "c": 0.5, "d": 0.9})).astype(int)
        frame["known_at"] = frame.as_of + 9
        yield "target", {
            **{name: as_list(frame[name]) for name in ["category", "label", "as_of", "known_at"]},
            "weights": as_list(frame.weight) if weighted else None,
            "smoothing": smoothing,
            "values": encoded_in_time(frame, smoothing),
            # scikit-learn's encoder takes no weights.
            "table": None if weighted else encoded_for_scoring(frame.category, frame.label, smoothing),
        }


def fairness_cases(rng):
    for n, groups in [(60, 2), (300, 4), (500, 3)]:
        group = rng.choice(["n", "e", "s", "w"][:groups], n)
        good = (rng.random(n) < 0.8).astype(int)
        favoured = (rng.random(n) < 0.5 + 0.3 * good - 0.2 * (group == "e")).astype(int)
        yield "fairness", {
            "groups": as_list(group), "good": as_list(good), "favoured": as_list(favoured),
            **fairness(group, favoured, good),
        }


def sections():
    rng = np.random.default_rng(20240501)
    found = {}
    for cases in [calibration_cases, stability_cases, agreement_cases, target_cases, fairness_cases]:
        for section, case in cases(rng):
            found.setdefault(section, []).append(case)
    return found


def agree(a, b, path):
    """Equal but for rounding; scikit-learn's sigmoid ends its search a little before the minimum."""
    if isinstance(b, dict):
        assert a.keys() == b.keys(), path
        for key in b:
            agree(a[key], b[key], f"{path}.{key}")
    elif isinstance(b, list):
        assert len(a) == len(b), path
        for at, (x, y) in enumerate(zip(a, b)):
            agree(x, y, f"{path}[{at}]")
    elif isinstance(b, float) and a is not None:
        assert abs(a - b) <= (1e-5 if path.startswith(".platt") else 1e-12) * (1 + abs(b)), (path, a, b)
    else:
        assert a == b, (path, a, b)


def main():
    made = sections()
    if "--check" in sys.argv:
        agree(json.loads(FILE.read_text()), made, "")
        print(f"{FILE.name}: {sum(map(len, made.values()))} cases agree with Python's libraries")
    else:
        lines = [
            f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]"
            for name, cases in made.items()
        ]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
