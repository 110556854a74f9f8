"""The schemas that `scorehouse schema` prints take every shipped definition, and refuse broken ones where they are broken.

An editor knows nothing of the parser: it has the schema, and a validator that somebody else wrote. So does this test.
"""

import copy
import functools
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT, *sorted(path for path in (ROOT / "tests/projects").iterdir() if path.is_dir())]


class Loader(yaml.SafeLoader):
    """YAML 1.2, as the binary and editors read it: `on` is a text, and so is a date."""


Loader.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


@functools.cache
def validator(kind: str) -> Draft202012Validator:
    binary = os.environ.get("SCOREHOUSE", "")
    assert os.access(binary, os.X_OK), f"SCOREHOUSE={binary} is no program; `make readers` sets it"
    printed = subprocess.run([binary, "schema", kind], capture_output=True, text=True, check=True).stdout
    schema = json.loads(printed)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def wrong(kind: str, document: object) -> list[str]:
    """What is wrong, as `place: what`; the innermost of what a choice of several forms says."""

    def inner(error) -> list[str]:
        if error.context:
            deepest = max(len(part.absolute_path) for part in error.context)
            return [said for part in error.context if len(part.absolute_path) == deepest for said in inner(part)]
        return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}"]

    return [said for error in validator(kind).iter_errors(document) for said in inner(error)]


def kinds(path: str, document: dict) -> tuple[str, ...]:
    """The kind of a file of a project, and its folder's."""
    folder = path.split("/")[0]
    if folder == "sql":
        return ("sources" if path == "sql/sources.yaml" else "table", folder)
    if folder == "models":
        return ("experiment" if "experiments" in path else "model", folder)
    if folder == "features":
        return (next(kind for kind in ("sql_features", "attributes", "sequence", "group") if kind in document), folder)
    return ("profile",)


def load(path: Path) -> dict:
    return yaml.load(path.read_text(), Loader)


FILES = [
    (project, path)
    for project in PROJECTS
    for folder in ("sql", "features", "models")
    for path in sorted((project / folder).rglob("*.yaml"))
] + [(ROOT, path) for path in sorted((ROOT / "orchestration").glob("*.yaml"))]


@pytest.mark.parametrize("project,path", FILES, ids=[str(path.relative_to(ROOT)) for _, path in FILES])
def test_a_shipped_definition_is_one_of_its_kind(project: Path, path: Path):
    document = load(path)
    for kind in kinds(path.relative_to(project).as_posix(), document):
        assert not wrong(kind, document), kind


def test_every_kind_is_among_the_shipped_ones():
    printed = subprocess.run([os.environ["SCOREHOUSE"], "schema"], capture_output=True, text=True, check=True).stdout
    listed = {line.split()[0] for line in printed.splitlines()[1:]}
    shipped = {kind for project, path in FILES for kind in kinds(path.relative_to(project).as_posix(), load(path))}
    assert listed == shipped


# File, what is done to it, and where and how the schema must refuse it.
GONE = object()
BROKEN = [
    # A key that is misspelt.
    ("features/payments.yaml", "aggregations.0.ovr", ["7d"], r"aggregations\.0: .*'ovr' was unexpected"),
    ("features/payment_orders.yaml", "lenght", 3, r": .*'lenght' was unexpected"),
    ("models/credit.yaml", "head.round", 3, r"head: .*'round' was unexpected"),
    ("models/experiments/emi_heads.yaml", "variant", {}, r": .*'variant' was unexpected"),
    ("sql/sources.yaml", "sources.payment.keys", "payment_id", r"sources\.payment: .*'keys' was unexpected"),
    ("sql/marts/order_payments.yaml", "materialised", "full", r": .*'materialised' was unexpected"),
    ("orchestration/local.yaml", "memory_limt", "4GiB", r": .*'memory_limt' was unexpected"),
    # A value of the wrong type, or of the wrong form.
    ("features/payments.yaml", "aggregations.0.over", "7d", r"aggregations\.0\.over: '7d' is not of type 'array'"),
    ("features/payments.yaml", "aggregations.0.over", ["7 days"], r"aggregations\.0\.over\.0: '7 days' does not match"),
    ("features/payment_orders.yaml", "length", "32", r"length: '32' is not of type 'integer'"),
    ("features/payment_orders.yaml", "length", 0, r"length: 0 is less than the minimum"),
    ("features/open_loans.yaml", "sql_features", "Open loans", r"sql_features: .* does not match"),
    ("models/credit.yaml", "decisions.0.below", "6 %", r"decisions\.0\.below: '6 %' is not of type 'number', 'null'"),
    ("orchestration/local.yaml", "memory_limit", "4GB", r"memory_limit: '4GB' (does not match|is not of type 'null')"),
    # A word that there is not.
    ("features/payments.yaml", "aggregations.0.fn", "sun", r"aggregations\.0\.fn: ('[a-z_]+' was expected|'sun' is not of type 'array')"),
    ("features/payments.yaml", "visibility", "live", r"visibility: 'live' is not valid|visibility: '.*' was expected"),
    ("models/credit.yaml", "head.kind", "logit", r"head\.kind: .*"),
    ("sql/marts/order_payments.yaml", "materialized", "view", r"materialized: .*"),
    ("orchestration/local.yaml", "engine", "spark", r"engine: .*"),
    # A key that must be there.
    ("features/payments.yaml", "entities", GONE, r": 'entities' is a required property"),
    ("features/payments.yaml", "aggregations.0.fn", GONE, r"aggregations\.0: 'fn' is a required property"),
    ("features/payment_orders.yaml", "fields", GONE, r": 'fields' is a required property"),
    ("models/buying.yaml", "label", GONE, r": 'label' is a required property"),
    ("models/experiments/emi_heads.yaml", "model", GONE, r": 'model' is a required property"),
    ("sql/sources.yaml", "sources.payment.location", GONE, r"sources\.payment: 'location' is a required property"),
    ("sql/marts/order_payments.yaml", "materialized", GONE, r": 'materialized' is a required property"),
    ("orchestration/s3.yaml", "lake", GONE, r": 'lake' is a required property"),
    # Without the key that says its kind, a file of features is a group.
    ("features/payments.yaml", "group", GONE, r": 'group' is a required property"),
]


def changed(document: dict, path: str, value: object) -> dict:
    document = copy.deepcopy(document)
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    at = functools.reduce(lambda at, step: at[step], way, document)
    if value is GONE:
        del at[last]
    else:
        at[last] = value
    return document


@pytest.mark.parametrize("file,path,value,expected", BROKEN, ids=[f"{file} {path}" for file, path, *_ in BROKEN])
def test_a_broken_definition_is_refused_where_it_is_broken(file: str, path: str, value: object, expected: str):
    document = load(ROOT / file)
    broken = changed(document, path, value)
    for kind in kinds(file, document):
        said = wrong(kind, broken)
        assert said and all(re.match(expected, one) for one in said), f"{kind}: {said}"
