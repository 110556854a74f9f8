"""A night tells a real MLflow server of its models, and MLflow's own clients load them and say what the scores say.

`make mlflow` installs the server, starts it on this machine, runs two nights and then this.
"""

import json
import os
import subprocess
from pathlib import Path

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable
from mlflow.tracking import MlflowClient

LAKE = Path(os.environ.get("SCOREHOUSE_LAKE", ""))
HEADS = {"credit": "logistic", "buying": "lightgbm"}
MODELS = tuple(HEADS)


@pytest.fixture(scope="session")
def client() -> MlflowClient:
    assert os.environ.get("MLFLOW_TRACKING_URI"), "`make mlflow` starts a server and sets it"
    return MlflowClient()


def registry(model: str) -> pd.DataFrame:
    events = DeltaTable(LAKE / "registry").to_pandas()
    return events[events["model"] == model]


def ours(client: MlflowClient, model: str) -> dict[str, object]:
    """Versions of the registered model by our name of them."""
    return {found.tags["scorehouse.version"]: found for found in client.search_model_versions(f"name = '{model}'")}


@pytest.mark.parametrize("model", MODELS)
def test_every_version_is_registered_once(client, model):
    trained = registry(model).query("event == 'trained'")["version"]
    found = client.search_model_versions(f"name = '{model}'")
    assert sorted(version.tags["scorehouse.version"] for version in found) == sorted(set(trained))


@pytest.mark.parametrize("model", MODELS)
def test_the_champion_is_whom_the_scores_name(client, model):
    scores = DeltaTable(LAKE / "scores" / model).to_pandas()
    last = scores[scores["logical_date"] == scores["logical_date"].max()]
    champion = client.get_model_version_by_alias(model, "champion")
    assert {champion.tags["scorehouse.version"]} == set(last["model_version"])


@pytest.mark.parametrize("model", MODELS)
def test_runs_have_parameters_metrics_plots_and_files(client, model):
    for version, registered in ours(client, model).items():
        run = client.get_run(registered.run_id)
        assert run.info.status == "FINISHED"
        assert run.data.params["head.kind"] == HEADS[model]
        assert run.data.params["head.params.num_leaves" if model == "buying" else "head.params.penalty"]
        assert 0.4 < run.data.metrics["test.roc_auc"] < 1
        assert run.data.metrics["test.roc_auc.low"] <= run.data.metrics["test.roc_auc"]
        assert run.data.tags["scorehouse.gate"] in ("promoted", "refused")
        assert any(name.startswith("gate.") for name in run.data.metrics)
        files = {item.path for item in client.list_artifacts(registered.run_id, "model")}
        assert {f"model/{name.name}" for name in (LAKE / "models" / model / version).iterdir()} - files <= {"model/_files.json"}
        plots = Path(client.download_artifacts(registered.run_id, "plots/quality.html")).read_text()
        assert plots.count("<svg") >= 3


@pytest.mark.parametrize("model", [model for model, head in HEADS.items() if head == "lightgbm"])
def test_both_flavors_say_what_lightgbm_says_of_the_artifact(client, model):
    """And so what the scores say: tests/interop holds the artifact's numbers to the scores."""
    champion = client.get_model_version_by_alias(model, "champion")
    text = LAKE / "models" / model / champion.tags["scorehouse.version"] / "model.txt"
    booster = lightgbm.Booster(model_file=text)
    rows = np.random.default_rng(1).normal(size=(200, booster.num_feature())) * 10
    expected = booster.predict(rows)
    uri = f"models:/{model}@champion"
    native = mlflow.lightgbm.load_model(uri)
    np.testing.assert_array_equal(native.predict(rows), expected)
    general = mlflow.pyfunc.load_model(uri)
    np.testing.assert_array_equal(general.predict(pd.DataFrame(rows, columns=booster.feature_name())), expected)


@pytest.mark.parametrize("model", MODELS)
def test_the_loaded_champion_gives_the_numbers_of_the_scores(client, model):
    scores = DeltaTable(LAKE / "scores" / model).to_pandas()
    scores = scores[scores["logical_date"] == scores["logical_date"].max()].set_index("user_id").sort_index()
    version = client.get_model_version_by_alias(model, "champion").tags["scorehouse.version"]
    schema = json.loads((LAKE / "models" / model / version / "schema.json").read_text())
    assert {feature["class"] for feature in schema["features"]} == {"numeric"}
    rows = {}
    for feature in schema["features"]:
        group, column = feature["name"].split(".", 1)
        if group not in rows:
            table = DeltaTable(LAKE / "features" / group).to_pandas()
            table = table[table["logical_date"] == scores["logical_date"].max()]
            rows[group] = table.set_index("user_id").reindex(scores.index)
        rows[feature["name"]] = pd.to_numeric(rows[group][column], errors="raise").astype(float)
    inputs = pd.DataFrame({feature["name"]: rows[feature["name"]] for feature in schema["features"]})
    said = mlflow.pyfunc.load_model(f"models:/{model}@champion").predict(inputs)
    np.testing.assert_allclose(said, scores["uncalibrated"], rtol=1e-9)
    np.testing.assert_allclose(calibrated(schema["calibrator"], scores), scores["probability"], rtol=1e-9)


def calibrated(calibrator: dict, scores: pd.DataFrame) -> np.ndarray:
    """The probability by what `schema.json` says of the calibrator."""
    if "platt" in calibrator:
        a, b = (float(calibrator["platt"][name]) for name in "ab")
        return 1 / (1 + np.exp(a * scores["margin"] + b))
    x, y = (np.array(calibrator["isotonic"][name], dtype=float) for name in "xy")
    return np.interp(scores["uncalibrated"], x, y)


def test_a_night_that_is_run_again_tells_nothing_twice(client):
    before = {model: len(client.search_model_versions(f"name = '{model}'")) for model in MODELS}
    experiment = client.get_experiment_by_name("scorehouse").experiment_id
    runs = len(client.search_runs([experiment], max_results=1000))
    command = [os.environ["SCOREHOUSE"], "nightly", "--date", os.environ["SCOREHOUSE_DATE"]]
    command += ["--raw", os.environ["SCOREHOUSE_RAW"], "--lake", str(LAKE)]
    assert subprocess.run(command, capture_output=True, timeout=900).returncode in (0, 4)
    assert before == {model: len(client.search_model_versions(f"name = '{model}'")) for model in MODELS}
    assert runs == len(client.search_runs([experiment], max_results=1000))
