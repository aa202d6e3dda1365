"""Measures the bars.

    python -m benchmarks            all, without those that have passed in this checkout, just as it is now
    python -m benchmarks NAME       one

A bar is a module of this package with a function `bar()` that returns `{"passed": …, "figure": …, "figures": {…}}`:
the verdict, the sentence that is printed last, and all numbers behind it.

Results are the record, and stay with the code. What a run may skip is told by stamps, which no clone has.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
RESULTS = CHECKOUT / "benchmarks" / "results"
STAMPS = CHECKOUT / ".cache" / "prove"
CODE = ("benchmarks", "deploy", "models", "protos", "services", "sightline", "training")
VERSIONS = (
    "faiss-cpu",
    "grpcio",
    "helm-python-sdk",
    "kubernetes-validate",
    "numpy",
    "onnxruntime",
    "open-clip-torch",
    "pillow",
    "protobuf",
    "torch",
)


def main() -> int:
    """Measures what the command line names; returns 0 where all of it passed."""
    names = [name.replace("_", "-") for name in sys.argv[1:]]
    known = bars()
    if unknown := [name for name in names if name not in known]:
        print(f"There is no bar {', '.join(unknown)}. Bars: {', '.join(known)}", file=sys.stderr)
        return 2
    if len(names) == 1:
        return 0 if prove(names[0]) else 1
    passed = [passes(name) for name in names or known]
    return 0 if all(passed) else 1


def bars() -> list[str]:
    """The names of the bars: their modules' with hyphens. Looks at the text, since some take long to import."""
    files = sorted((CHECKOUT / "benchmarks").glob("*.py"))
    return [file.stem.replace("_", "-") for file in files if "\ndef bar() " in file.read_text(encoding="utf-8")]


def passes(name: str) -> bool:
    """Whether a bar passes: by its stamp where nothing has changed since, else measured in a process of its own."""
    print(f"\n== {name}", flush=True)
    stamp = _last_pass(name)
    if stamp.get("of") == circumstances():
        print(f"{stamp['figure']} (measured before, with the same code, on this machine)")
        return True
    return subprocess.run([sys.executable, "-m", "benchmarks", name], cwd=CHECKOUT, check=False).returncode == 0


def prove(name: str) -> bool:
    """Measures one bar, writes its result and prints its figure; returns whether it passed, and stamps it if so."""
    of, began = circumstances(), time.monotonic()
    _stamp(name).unlink(missing_ok=True)
    outcome = importlib.import_module(f"benchmarks.{name.replace('-', '_')}").bar()
    result = {
        "bar": name,
        "passed": bool(outcome["passed"]),
        "figure": outcome["figure"],
        "figures": outcome["figures"],
        "seconds": round(time.monotonic() - began, 1),
        "machine": of["machine"],
        "versions": of["versions"],
        "code": of["code"],
    }
    _write(RESULTS / f"{name}.json", result)
    if result["passed"]:
        _write(_stamp(name), {"of": of, "figure": result["figure"]})
    print(f"{name}: {'passed' if result['passed'] else 'FAILED'}: {result['figure']}", flush=True)
    return bool(result["passed"])


def circumstances() -> dict[str, Any]:
    """Everything that must be the same for a bar not to be measured again: code, pins, versions and the machine."""
    pins = CHECKOUT / "constraints.txt"
    return {
        "code": digest_of_code(),
        "constraints": hashlib.sha256(pins.read_bytes()).hexdigest()[:16] if pins.exists() else "",
        "versions": {"python": platform.python_version(), **dict(_versions())},
        "machine": {"architecture": platform.machine(), "cpus": os.cpu_count(), "system": platform.system()},
        # A checkout can be copied with its stamps.
        "place": [platform.node(), str(CHECKOUT)],
    }


def digest_of_code() -> str:
    """A digest of everything that a measurement depends on, without what it writes."""
    digest = hashlib.sha256()
    for folder in CODE:
        for file in sorted((CHECKOUT / folder).rglob("*")):
            made = {"results", "__pycache__"}.intersection(file.parts)
            if file.is_file() and not made:
                digest.update(f"{file.relative_to(CHECKOUT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _last_pass(name: str) -> dict[str, Any]:
    try:
        return dict(json.loads(_stamp(name).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def _stamp(name: str) -> Path:
    return STAMPS / f"{name}.json"


def _write(file: Path, what: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(what, indent=2, ensure_ascii=False, default=float)
    file.write_text(text + "\n", encoding="utf-8")


def _versions() -> Iterator[tuple[str, str]]:
    for package in VERSIONS:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue


if __name__ == "__main__":
    sys.exit(main())
