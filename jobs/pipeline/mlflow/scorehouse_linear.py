"""Lets mlflow.pyfunc load a logistic regression of Scorehouse, which lies beside this file.

`weights.json` says what becomes of each input, and its weight; `schema.json` names the inputs in their order.
"""

import json
from pathlib import Path

import numpy as np

BENDS = {"saturating": (1.0, 2.0)}


class Model:
    """Says what `uncalibrated` says in the table of scores."""

    def __init__(self, folder: Path):
        schema = json.loads((folder / "schema.json").read_text())
        linear = json.loads((folder / "weights.json").read_text())["linear"]
        self.names = [feature["name"] for feature in schema["features"]]
        self.inputs, self.prior = linear["inputs"], schema["prior"]
        self.weights = np.array([float(weight) for weight in linear["weights"]])
        self.intercept = float(linear["intercept"])

    def predict(self, rows, params=None) -> np.ndarray:
        """A probability per row of a DataFrame that has the inputs as columns; what is missing is NaN."""
        margin = self.columns(rows[self.names].to_numpy(dtype=float)) @ self.weights + self.intercept
        said = 1 / (1 + np.exp(-margin))
        if self.prior["class_weight"] != "balanced":
            return said
        return said / (said + (1 - said) * self.prior["negatives"] / self.prior["positives"])

    def columns(self, numbers: np.ndarray) -> np.ndarray:
        shape = self.inputs.get("shape", "none")
        shaped = numbers if shape == "none" else np.sign(numbers) * np.log1p(np.abs(numbers))
        standard = (shaped - self.of("means")) / self.of("scales")
        known = np.isfinite(standard)
        parts = [np.where(known, standard, 0), ~np.isfinite(numbers[:, self.inputs["absent"]]) - self.of("shares")]
        bends = BENDS.get(shape, ())
        if bends:
            bent = np.hstack([np.tanh(bend * standard) for bend in bends])
            bent = (bent - self.of("bent_means")) / self.of("bent_scales")
            parts.append(np.where(np.tile(known, len(bends)), bent, 0))
        return np.hstack(parts)

    def of(self, name: str) -> np.ndarray:
        return np.array([float(number) for number in self.inputs[name]])


def _load_pyfunc(path: str) -> Model:
    path = Path(path)
    return Model(path if path.is_dir() else path.parent)
