"""The repository itself: nothing of the machine it was written on, every command documented, every version pinned."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AUTHORS_LIMIT = 40
# Folders of people and sessions; written so that this file does not match itself.
MACHINE_PATHS = [r"/ho[m]e/\w+/", r"/Us[e]rs/\w+/", r"/ro[o]t/", r"(?<![\w.])/wo[r]k/", r"/tmp/la[b]\b"]


def tracked_files() -> list[Path]:
    """What git tracks or would track, as a commit of everything would hold it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted({ROOT / name for name in names if name and (ROOT / name).is_file()})


def texts() -> Iterator[tuple[str, str]]:
    for path in tracked_files():
        try:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_tracked_files_name_no_path_or_host_of_a_machine() -> None:
    patterns = [*MACHINE_PATHS, re.escape(f"{ROOT}/")]
    host = socket.gethostname()
    if len(host) >= 8 and host != "localhost":  # a short name may be an ordinary word
        patterns.append(rf"\b{re.escape(host)}\b")
    machine = re.compile("|".join(patterns))
    found = [f"{name}: {hit.group()}" for name, text in texts() if (hit := machine.search(text))]
    assert found == []


def test_every_makefile_target_is_documented_and_listed_by_make_alone() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, flags=re.MULTILINE))
    listed = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {"setup", "demo", "test", "lint", "airflow", "mlflow", "clean"} <= targets
    assert targets - set(re.findall(r"^make ([\w-]+) +\w", listed, flags=re.MULTILINE)) == set()


def requirement_lines(name: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [line for line in lines if line]


def project_of(requirement: str) -> str:
    return re.split(r"[=<>!~\[; ]", requirement)[0].lower().replace("_", "-").replace(".", "-")


def test_requirements_are_all_pinned_to_one_version() -> None:
    pin = re.compile(r"[a-z0-9._-]+(\[[a-z0-9,._-]+\])?==[\w.+!]+( ; .+)?", flags=re.IGNORECASE)
    assert [line for line in requirement_lines("requirements.txt") if not pin.fullmatch(line)] == []


def test_every_top_level_requirement_is_locked() -> None:
    locked = {project_of(line) for line in requirement_lines("requirements.txt")}
    assert {project_of(line) for line in requirement_lines("requirements.in")} - locked == set()


def test_pyspark_client_is_not_installed_beside_pyspark() -> None:
    locked = {project_of(line) for line in requirement_lines("requirements.txt")}
    assert "pyspark" in locked
    assert "pyspark-client" not in locked  # both install the package `pyspark`: see overrides.txt


def test_links_between_documents_lead_to_files() -> None:
    broken, seen = [], 0
    for name, text in texts():
        if not name.endswith(".md"):
            continue
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if re.match(r"[a-z]+:|#", target):
                continue
            seen += 1
            if not ((ROOT / name).parent / target.split("#")[0]).exists():
                broken.append(f"{name}: {target}")
    assert broken == []
    assert seen, "the README should link to the docs"


def test_what_an_author_writes_stays_short() -> None:
    fleets = [path for path in (ROOT / "dags").glob("*.py") if "FleetSpec" in path.read_text()]
    modules = [path for path in (ROOT / "include" / "flights").glob("*.py") if path.name != "source.py"]
    assert fleets
    assert modules
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in fleets + modules}
    assert {name: length for name, length in lengths.items() if length > AUTHORS_LIMIT} == {}
