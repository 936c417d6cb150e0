"""The conditions of a measurement, without which it is of no use: machine, versions, commit."""

import os
import subprocess
from pathlib import Path
from typing import Any


def machine() -> str:
    text = Path("/proc/cpuinfo").read_text()

    def fact(name: str) -> str:
        lines = [line.split(":", 1) for line in text.splitlines() if ":" in line]
        return next((value.strip() for key, value in lines if key.strip() == name), "?")

    flags = text.split("flags", 1)[-1].split("\n", 1)[0].split()
    vectors = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")
               if flag in flags]
    return f"{fact('model name')}, family {fact('cpu family')}, model {fact('model')}, {os.cpu_count()} processors, {' '.join(vectors) or 'no AVX2'}"


def commit(repository: Path) -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(repository), *arguments], stdout=subprocess.PIPE, text=True).stdout
    changed = " and uncommitted changes" if git("status", "--porcelain", "--untracked-files=no").strip() else ""
    return f"commit {git('rev-parse', '--short', 'HEAD').strip() or 'unknown'}{changed}"


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def blas_line(libraries: list[str]) -> str:
    """The libraries, as process.library_name() has them, with a warning if they are Debian's reference BLAS."""
    if any(library.startswith("blas/") for library in libraries):
        return ", ".join(libraries) + " (WARNING: the slow reference BLAS; install libopenblas0-pthread)"
    return ", ".join(libraries) or "not a library of its own"


def engine_lines(facts: dict[str, Any]) -> list[str]:
    lines = []
    if "torch" in facts:
        lines.append(f"reference agent: torch {facts['torch']}, float32, autograd "
                     f"{facts['autograd']}; BLAS: {blas_line(facts['blas'])}")
    if "ctranslate2" in facts:
        lines.append(f"CTranslate2 {facts['ctranslate2']}, {facts['compute_type']}, soft-max Transformer of the same "
                     f"shape with random weights; {facts['backend']}")
    return lines
