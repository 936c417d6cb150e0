"""Worker processes: each engine is timed in its own, with one thread, on demand of the parent.

A worker writes one JSON line of facts about itself when it is ready, then for each line it reads, the name of a case,
one line with the CPU seconds of one sample, or of several. So the parent can take turns between engines.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Some machines set these for all programs. OpenBLAS then takes kernels or block sizes of another processor, and a
# comparison with it is worth nothing.
HARMFUL = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in HARMFUL}
    return kept | {name: "1" for name in THREADS}


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU time of all threads, since an engine may compute in a thread of its own; waiting for the CPU is not in it."""
    start = time.process_time()
    run()
    return time.process_time() - start


def library_name(path: str) -> str:
    """Name of a file with its real folder: it may be one of Debian's alternatives, all called libblas.so.3."""
    real = Path(path).resolve()
    return f"{real.parent.name}/{real.name}"


def loaded_blas() -> list[str]:
    """The BLAS libraries mapped into this process."""
    paths = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if ".so" in line}
    return sorted(library_name(path) for path in paths if "blas" in Path(path).name or "mkl" in Path(path).name)


def benchmarks(program: Path, arguments: list[str], log: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Runs a program made with Google Benchmark. Returns its context and results; its errors go to the log."""
    with log.open("w") as log_file:
        result = subprocess.run([str(program), "--benchmark_format=json", *arguments], env=environment(),
                                stdout=subprocess.PIPE, stderr=log_file, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{program} failed with {result.returncode}:\n{log.read_text()[-2000:]}")
    report = json.loads(result.stdout)
    for row in report["benchmarks"]:
        if row.get("error_occurred"):
            raise SystemExit(f"{program}: {row['name']}: {row['error_message']}")
    return report["context"], [row for row in report["benchmarks"] if row.get("run_type") != "aggregate"]


def serve(facts: dict[str, Any], cases: Mapping[str, Callable[[], Any]]) -> None:
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        print(json.dumps(cases[line.strip()]()), flush=True)


class Worker:
    """The parent's end. Use with `with`."""

    def __init__(self, name: str, arguments: list[str], log: Path, program: str = sys.executable):
        """Runs the program, by default Python, with the arguments, then among them a module of this package; its
        errors go to the log."""
        self._name = name
        self._log = log
        self._log_file = log.open("w")
        self._process = subprocess.Popen(
            [program, *arguments], cwd=Path(__file__).parents[1], env=environment() | {"CT2_VERBOSE": "1"},
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log_file)
        self.facts: dict[str, Any] = self._answer()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._log_file.close()

    def sample(self, case: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(case + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise SystemExit(f"the {self._name} worker ended:\n{self._log.read_text()[-2000:]}")
        return json.loads(line)
