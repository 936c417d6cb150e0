"""Runs leapstream's speech_bench and reads its results; names the measurements of speech."""

import dataclasses
import re
from pathlib import Path

from compare.process import benchmarks

ATTENTIONS = ("leap", "softmax")
LENGTHS = (5, 10, 20)  # Seconds of a segment.
AGENT = "agent"
FILTER = "/compute:(float32|int8)"
_NAME = re.compile(r"speech/attention:(\w+)/seconds:(\d+)/compute:(\w+)")


@dataclasses.dataclass(frozen=True)
class Segment:
    """One measurement's name."""

    attention: str
    seconds: int
    engine: str  # "float32" or "int8" for leapstream, or AGENT.


def weights_file(folder: Path, attention: str) -> Path:
    """The file for which speech_bench looks."""
    return folder / f"speech-bench-{attention}.safetensors"


def run(program: Path, folder: Path, attention: str, log: Path) -> tuple[dict[Segment, float], dict[str, str]]:
    """CPU seconds for each second of audio, and the program's context."""
    filter_ = f"attention:{attention}/.*{FILTER}"
    context, rows = benchmarks(program, ["--weights", str(folder), f"--benchmark_filter={filter_}"], log)
    segments = {}
    for row in rows:
        match = _NAME.match(row["name"])
        if match is None:
            continue
        segments[Segment(match[1], int(match[2]), match[3])] = float(row["ms_per_second"]) / 1e3
    return segments, context
