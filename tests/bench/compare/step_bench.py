"""Runs leapstream's step_bench and reads its results."""

import dataclasses
import re
import subprocess
from pathlib import Path

from compare.process import benchmarks, library_name

# The benchmarks that report.goals() names. The pattern is open at the end, since the library may append to
# names.
FILTER = ("^(step/(batch:1/position:(32|100|512)|batch:32/position:(32|100))/compute:(float32|int8)|"
          "libtorch/batch:(1|32)/position:100/)")
_NAME = re.compile(r"(step|libtorch)/batch:(\d+)/position:(\d+)(?:/compute:(\w+))?")


@dataclasses.dataclass(frozen=True)
class Step:
    """One measurement's name."""

    sessions: int
    position: int
    engine: str  # "float32" or "int8" for leapstream, or "libtorch".


@dataclasses.dataclass(frozen=True)
class Time:
    """CPU seconds of one READ and one WRITE of one session, and their least number by the machine's ceilings."""

    seconds: float
    floor: float | None


def run(program: Path, weights: Path, log: Path) -> dict[Step, Time]:
    steps = {}
    _, rows = benchmarks(program, ["--weights", str(weights), f"--benchmark_filter={FILTER}"], log)
    for row in rows:
        match = _NAME.match(row["name"])
        if match is None:
            continue
        kind, sessions, position, compute_type = match.groups()
        engine = "libtorch" if kind == "libtorch" else compute_type
        seconds = float(row["us_per_token"]) / 1e6
        floor = seconds * float(row["of_floor"]) if "of_floor" in row else None
        steps[Step(int(sessions), int(position), engine)] = Time(seconds, floor)
    return steps


def linked_blas(program: Path) -> list[str]:
    """The BLAS that the program's LibTorch loads, past Debian's alternatives."""
    result = subprocess.run(["ldd", str(program)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    lines = result.stdout.splitlines()
    return sorted(library_name(line.split()[2]) for line in lines if "=>" in line and "blas" in line.split()[0])
