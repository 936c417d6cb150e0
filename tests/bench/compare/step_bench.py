"""Runs leapstream's step_bench and reads its results."""

import dataclasses
import json
import re
import subprocess
from pathlib import Path

from compare.process import environment, library_name

SESSIONS = (1, 32)
POSITIONS = (32, 100, 512, 5000)
# As an alternative of the two shapes of names; what the benchmark library may append stays open.
FILTER = (f"^(step/batch:({'|'.join(map(str, SESSIONS))})/position:({'|'.join(map(str, POSITIONS))})/"
          "compute:(float32|int8)|libtorch/batch:(1|32)/)")
_NAME = re.compile(r"(step|libtorch)/batch:(\d+)/position:(\d+)(?:/compute:(\w+))?")


@dataclasses.dataclass(frozen=True)
class Step:
    """One measurement's name."""

    sessions: int
    position: int
    engine: str  # "float32" or "int8" of leapstream, or "libtorch".


def command(program: Path, weights: Path) -> list[str]:
    return [str(program), "--weights", str(weights), "--benchmark_format=json", f"--benchmark_filter={FILTER}"]


def run(program: Path, weights: Path, log: Path) -> dict[Step, float]:
    """CPU seconds of one READ and one WRITE of one session."""
    with log.open("w") as log_file:
        result = subprocess.run(command(program, weights), env=environment(), stdout=subprocess.PIPE,
                                stderr=log_file, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{program} failed with {result.returncode}:\n{log.read_text()[-2000:]}")
    return parse(result.stdout)


def parse(text: str) -> dict[Step, float]:
    steps = {}
    for benchmark in json.loads(text)["benchmarks"]:
        match = _NAME.match(benchmark["name"])
        if match is None or benchmark.get("run_type") == "aggregate" or benchmark.get("error_occurred"):
            continue
        kind, sessions, position, compute_type = match.groups()
        engine = "libtorch" if kind == "libtorch" else compute_type
        steps[Step(int(sessions), int(position), engine)] = float(benchmark["us_per_token"]) / 1e6
    return steps


def linked_blas(program: Path) -> list[str]:
    """The BLAS that the program's LibTorch loads, past Debian's alternatives."""
    result = subprocess.run(["ldd", str(program)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    lines = result.stdout.splitlines()
    return sorted(library_name(line.split()[2]) for line in lines if "=>" in line and "blas" in line.split()[0])
