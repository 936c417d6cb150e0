"""Whole sentences, beside CTranslate2: both translate the same ones with the same weights."""

import contextlib
import dataclasses
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compare import conditions
from compare.process import Worker

SHAPES = ("base", "600M")
COMPUTE_TYPES = ("int8", "float32")
BEAMS = (1, 4)
SENTENCES = (1, 32)
TOKENS = 25


@dataclasses.dataclass(frozen=True)
class Cell:
    shape: str
    compute_type: str
    beam: int
    sentences: int

    def case(self) -> str:
        return f"{self.beam}:{self.sentences}:{TOKENS}"


@dataclasses.dataclass
class Times:
    """CPU seconds of a run, a value for each round; leapstream's and CTranslate2's are of the same minute."""

    leapstream: list[float] = dataclasses.field(default_factory=list)
    ctranslate2: list[float] = dataclasses.field(default_factory=list)
    alike: bool | None = None  # Whether the first sentences' tokens are the same.

    def ratio(self) -> float:
        """The median of the rounds' ratios: how many times as fast leapstream is."""
        return statistics.median(b / a for a, b in zip(self.leapstream, self.ctranslate2, strict=True))


Results = dict[Cell, Times]


def _measure(shape: str, compute_type: str, workers: tuple[Worker, Worker], rounds: int, results: Results) -> None:
    ours, theirs = workers
    for number in range(-1, rounds):  # The first round warms up.
        for beam in BEAMS:
            for sentences in SENTENCES:
                cell = Cell(shape, compute_type, beam, sentences)
                times = results.setdefault(cell, Times())
                mine, other = ours.sample(cell.case()), theirs.sample(cell.case())
                if number < 0:
                    continue
                times.ctranslate2.append(other["seconds"])
                times.leapstream.append(mine["seconds"])
                steps = len(mine["tokens"])
                times.alike = steps > 0 and mine["tokens"] == other["tokens"][:steps]


def measure(program: Path, folder: Path, shapes: list[str], rounds: int,
            progress: Callable[[str], None]) -> tuple[Results, list[str]]:
    """folder: where the models are written, unless they are there."""
    results: Results = {}
    facts: dict[str, Any] = {}
    load_before = conditions.load()
    for shape in shapes:
        for compute_type in COMPUTE_TYPES:
            progress(f"{shape}, {compute_type}")
            model = folder / f"leapstream-shape-{shape}"
            with contextlib.ExitStack() as stack:
                ours = stack.enter_context(Worker("offline_bench", [shape, str(model), compute_type],
                                                  folder / "offline_bench.log", program=str(program)))
                theirs = stack.enter_context(Worker(
                    "ctranslate2",
                    ["-m", "compare.ctranslate2_offline_worker", str(model),
                     str(folder / f"ctranslate2-{shape}-{compute_type}"), compute_type],
                    folder / "ctranslate2.log"))
                facts |= ours.facts | theirs.facts
                _measure(shape, compute_type, (ours, theirs), rounds, results)
    lines = [f"leapstream: kernels {facts['kernels']}; CTranslate2 {facts['ctranslate2']}",
             f"sentences of {TOKENS} source tokens and {TOKENS} written, random weights, one thread each, CPU time, "
             f"rounds: {rounds}; load average {load_before} at the start, {conditions.load()} at the end"]
    return results, lines


def report(results: Results, lines: list[str], markdown: bool) -> str:
    titles = ["model", "type", "beam", "sentences", "leapstream ms a sentence", "CTranslate2", "times as fast",
              "tokens alike"]
    rows = []
    for cell, times in results.items():
        mine = f"{1e3 * statistics.median(times.leapstream) / cell.sentences:.1f}"
        other = f"{1e3 * statistics.median(times.ctranslate2) / cell.sentences:.1f}"
        rows.append([cell.shape, cell.compute_type, str(cell.beam), str(cell.sentences), mine, other,
                     f"{times.ratio():.2f}",
                     {None: "–", True: "yes", False: "no"}[times.alike]])
    if markdown:
        table = ["| " + " | ".join(row) + " |" for row in [titles, ["---"] * len(titles), *rows]]
    else:
        widths = [max(len(row[i]) for row in [titles, *rows]) for i in range(len(titles))]
        table = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
                 for row in [titles, *rows]]
    return "\n".join([*lines, "", *table])


def to_json(results: Results, lines: list[str]) -> str:
    rows = [dataclasses.asdict(cell) | dataclasses.asdict(times) for cell, times in results.items()]
    return json.dumps({"conditions": lines, "results": rows}, indent=1) + "\n"
