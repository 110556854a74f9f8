#!/usr/bin/env python3
"""What the binary is made of, as a CycloneDX 1.5 bill of materials on stdout.

    orchestration/sbom.py [--binary FILE]

Packages are those that cargo builds for this machine with the default features (`cargo tree --locked`), licences what
`cargo metadata` knows of them (which itself also has optional packages that nothing asks for), checksums those of
Cargo.lock. What is only needed to build has the scope "excluded"; what only tests need is left out. LightGBM, which a
package brings as C++, is named beside it. The same checkout and binary give the same bytes. The standard library is enough for it.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562, of URLs


def metadata() -> dict:
    """What cargo resolves for this machine, with the features that are built."""
    cargo = os.environ.get("CARGO", "cargo")
    host = re.search(r"^host: (\S+)$", subprocess.check_output(["rustc", "-vV"], text=True), re.M)
    command = [cargo, "metadata", "--locked", "--format-version", "1"]
    if host:
        command += ["--filter-platform", host[1]]
    return json.loads(subprocess.check_output(command, cwd=ROOT, text=True))


def checksums(lock: str) -> dict[tuple[str, str], str]:
    """SHA-256 of each registry package, by name and version."""
    found = {}
    for block in lock.split("[[package]]")[1:]:
        fields = dict(re.findall(r'^(name|version|checksum) = "([^"]+)"$', block, re.M))
        if "checksum" in fields:
            found[fields["name"], fields["version"]] = fields["checksum"]
    return found


def built(edges: str) -> set[tuple[str, str]]:
    """Names and versions of the packages that are built, by dependencies of these kinds."""
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "tree", "--locked", "--edges", edges, "--prefix", "none", "--format", "{p}"]
    lines = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    return {(name, version.removeprefix("v")) for name, version in (line.split()[:2] for line in lines if line)}


def purl(package: dict) -> str:
    # A version may have a `+`, which a purl encodes.
    return f"pkg:cargo/{package['name']}@{package['version'].replace('+', '%2B')}"


def component(package: dict, checksum: str | None) -> dict:
    made = {"type": "library", "bom-ref": purl(package), "name": package["name"], "version": package["version"]}
    if package.get("description"):
        made["description"] = " ".join(package["description"].split())
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("license"):
        # `MIT/Apache-2.0` is how it was written before SPDX expressions.
        made["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    elif package.get("license_file"):
        made["licenses"] = [{"license": {"name": f"see {Path(package['license_file']).name} in the package"}}]
    made["purl"] = purl(package)
    if (package.get("repository") or "").startswith("https://"):
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return made


def lightgbm() -> dict:
    """The library inside lightgbm3-sys, of the version that the code is held to."""
    code = (ROOT / "jobs/learn/lightgbm.rs").read_text()
    version = re.search(r'VERSION: &str = "([^"]+)"', code)[1]
    name = f"pkg:github/microsoft/LightGBM@v{version}"
    made = {"type": "library", "bom-ref": name, "name": "LightGBM", "version": version}
    return made | {"licenses": [{"expression": "MIT"}], "purl": name, "scope": "required"}


def bill(meta: dict, lock: str, binary: bytes | None) -> dict:
    packages = {package["id"]: package for package in meta["packages"]}
    edges = {node["id"]: node["deps"] for node in meta["resolve"]["nodes"]}
    root = meta["resolve"]["root"]
    names = {key: (package["name"], package["version"]) for key, package in packages.items()}
    all_built, linked = built("normal,build"), built("normal,no-proc-macro")
    needed = {key for key, name in names.items() if name in all_built and key in edges} - {root}
    shipped = {key for key in needed if names[key] in linked}
    sums = checksums(lock)
    components = []
    for key in sorted(needed, key=lambda key: (packages[key]["name"], packages[key]["version"])):
        package = packages[key]
        made = component(package, sums.get((package["name"], package["version"])))
        made["scope"] = "required" if key in shipped else "excluded"
        components.append(made)
    own = component(packages[root], hashlib.sha256(binary).hexdigest() if binary else None) | {"type": "application"}
    depends = []
    for key in sorted({root} | needed, key=lambda key: purl(packages[key])):
        deps = [dep for dep in edges[key] if dep["pkg"] in needed]
        deps = [dep for dep in deps if any(kind["kind"] in (None, "build") for kind in dep["dep_kinds"])]
        names = {purl(packages[dep["pkg"]]) for dep in deps}
        if packages[key]["name"] == "lightgbm3-sys":
            bundled = lightgbm()
            components.append(bundled)
            names.add(bundled["bom-ref"])
        depends.append({"ref": purl(packages[key]), "dependsOn": sorted(names)})
    depends.extend({"ref": made["bom-ref"], "dependsOn": []} for made in components if made["name"] == "LightGBM")
    made = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": own, "tools": {"components": [{"type": "application", "name": "sbom.py"}]}},
        "components": components,
        "dependencies": depends,
    }
    made["serialNumber"] = f"urn:uuid:{uuid.uuid5(NAMESPACE, json.dumps(made, sort_keys=True))}"
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, help="whose checksum the bill carries")
    arguments = parser.parse_args()
    binary = arguments.binary.read_bytes() if arguments.binary else None
    made = bill(metadata(), (ROOT / "Cargo.lock").read_text(), binary)
    json.dump(made, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
