"""What `make dist` hands out, in the hands of those who get it: a binary without symbols, checksums that `sha256sum` finds
right, a bill of exactly what cargo builds, completions that shells take, pages that render. tests/it/release.rs holds
the rest."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from session import ROOT


def output(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def needs(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="module")
def dist(tmp_path_factory, scorehouse: Path) -> Path:
    made = tmp_path_factory.mktemp("handed") / "dist"
    output(ROOT / "orchestration/dist.sh", scorehouse, made)
    return made


def test_the_binary_is_stripped(dist: Path, scorehouse: Path):
    assert (dist / "scorehouse").stat().st_size < scorehouse.stat().st_size
    needs("readelf")
    sections = output("readelf", "--sections", "--wide", dist / "scorehouse")
    assert ".symtab" not in sections and ".debug_info" not in sections


def test_checksums_hold(dist: Path):
    sums = (dist / "SHA256SUMS").read_text()
    assert [line.split()[1] for line in sums.splitlines()] == ["scorehouse", "scorehouse.cdx.json"]
    needs("sha256sum")
    output("sha256sum", "--check", "SHA256SUMS", cwd=dist)


def test_the_bill_names_every_crate_that_is_built_with_its_licence_and_checksum(dist: Path):
    bill = json.loads((dist / "scorehouse.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    named = {(part["name"], part["version"]): part for part in bill["components"]}
    built = output("cargo", "tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}")
    crates = {tuple(line.split()[:2]) for line in built.splitlines() if re.match(r"\S+ v\d", line)}
    crates = {(name, version.removeprefix("v")) for name, version in crates} - {("scorehouse", own(bill))}
    assert len(crates) > 300
    assert {key for key in named if key[0] != "LightGBM"} == crates
    lock = (ROOT / "Cargo.lock").read_text()
    for (name, version), part in named.items():
        assert part["licenses"], part
        if name == "LightGBM":
            continue
        checksum = re.search(rf'name = "{name}"\nversion = "{re.escape(version)}"\n.*\nchecksum = "([^"]+)"', lock)[1]
        assert part["hashes"] == [{"alg": "SHA-256", "content": checksum}], part
    refs = {part["bom-ref"] for part in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    assert {edge["ref"] for edge in bill["dependencies"]} == refs
    assert all(set(edge["dependsOn"]) <= refs for edge in bill["dependencies"])


def own(bill: dict) -> str:
    return bill["metadata"]["component"]["version"]


def test_bash_completes_jobs_and_options(dist: Path):
    script = """
        source completions/scorehouse.bash
        complete -p scorehouse >/dev/null
        COMP_WORDS=(scorehouse "$1" "$2") COMP_CWORD=$3
        _scorehouse scorehouse "${COMP_WORDS[$3]}" "${COMP_WORDS[$3 - 1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    assert output("bash", "-c", script, "bash", "night", "", "1", cwd=dist).split() == ["nightly"]
    assert "--date" in output("bash", "-c", script, "bash", "nightly", "--d", "2", cwd=dist).split()


@pytest.mark.parametrize("shell,file", [("zsh", "_scorehouse"), ("fish", "scorehouse.fish")])
def test_other_shells_take_their_completions(dist: Path, shell: str, file: str):
    assert (dist / "completions" / file).stat().st_size > 1000
    needs(shell)
    output(shell, "-n", dist / "completions" / file)


def test_man_renders_a_page_for_every_job(dist: Path):
    told = output(dist / "scorehouse", "--help").partition("Commands:")[2].partition("Options:")[0]
    jobs = set(re.findall(r"^  ([a-z]+)  ", told, re.M)) - {"help"}
    assert len(jobs) > 20
    pages = {page.name for page in (dist / "man").iterdir()}
    assert {f"scorehouse-{job}.1" for job in jobs} | {"scorehouse.1"} <= pages, jobs
    needs("groff")
    for page in sorted((dist / "man").iterdir()):
        rendered = re.sub(".\b", "", output("groff", "-Kutf8", "-man", "-Tutf8", "-ww", page))  # bold is typed twice
        assert "NAME" in rendered and "warning" not in rendered, f"{page.name}\n{rendered[:2000]}"
