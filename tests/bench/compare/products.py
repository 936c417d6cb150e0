"""Products alone: ours beside OpenBLAS and, where the Python that runs this has torch, MKL, FBGEMM and oneDNN."""

import contextlib
import dataclasses
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compare import conditions
from compare.process import Worker

SHAPES = ((512, 512), (512, 2048), (2048, 512), (512, 6000))  # Inputs and outputs of step_bench's model.
ROWS = (8, 32, 128)
RIVALS = {"float32": ("openblas", "mkl"), "bfloat16": ("openblas", "mkl"), "int8": ("fbgemm", "onednn")}


@dataclasses.dataclass(frozen=True)
class Cell:
    compute_type: str
    rows: int
    inputs: int
    outputs: int

    def case(self, library: str) -> str:
        return f"{library}:{self.rows}:{self.inputs}:{self.outputs}"

    def operations(self) -> int:
        return 2 * self.rows * self.inputs * self.outputs


@dataclasses.dataclass
class Times:
    """CPU seconds of a product, a value for each round; all of a round are of the same second."""

    ours: list[float] = dataclasses.field(default_factory=list)
    quantising: list[float] = dataclasses.field(default_factory=list)
    rivals: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    def ratio(self) -> float | None:
        """The median of the rounds' ratios: how many times as fast we are as the best of the others."""
        if not self.rivals:
            return None
        best = [min(values) for values in zip(*self.rivals.values(), strict=True)]
        return statistics.median(b / a for a, b in zip(self.ours, best, strict=True))


Results = dict[Cell, Times]


def measure(program: Path, folder: Path, rounds: int, progress: Callable[[str], None]) -> tuple[Results, list[str]]:
    results: Results = {}
    load_before = conditions.load()
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(Worker("product_bench", [], folder / "product_bench.log", program=str(program)))
        theirs = stack.enter_context(Worker("products", ["-m", "compare.products_worker"], folder / "products.log"))
        facts = ours.facts | theirs.facts
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            for compute_type, rivals in RIVALS.items():
                for rows in ROWS:
                    for inputs, outputs in SHAPES:
                        cell = Cell(compute_type, rows, inputs, outputs)
                        times = results.setdefault(cell, Times())
                        mine = ours.sample(cell.case(compute_type))
                        others = {name: theirs.sample(cell.case(name)) for name in rivals
                                  if name in facts["libraries"]}
                        times.ours.append(mine["seconds"])
                        times.quantising.append(mine["quantising"])
                        for name, seconds in others.items():
                            times.rivals.setdefault(name, []).append(seconds)
    return results, fact_lines(facts) + [
        f"one thread each, CPU time, the least of many short runs; rounds: {rounds}; load average {load_before} at the "
        f"start, {conditions.load()} at the end"]


def fact_lines(facts: dict[str, Any]) -> list[str]:
    peaks = ", ".join(f"{name} {facts[f'peak_{name}'] / 1e9:.0f} GOP/s" for name in RIVALS)
    torch = f"; torch {facts['torch']}" if "torch" in facts else ""
    return [f"leapstream: kernels {facts['kernels']}; in registers: {peaks}", f"OpenBLAS {facts['openblas']}{torch}"]


def report(results: Results, lines: list[str], markdown: bool) -> str:
    names = ["openblas", "mkl", "fbgemm", "onednn"]
    titles = ["type", "rows", "inputs x outputs", "leapstream GOP/s", "without quantising", *names, "times the best"]
    rows = []
    for cell, times in results.items():
        def speed(seconds: list[float], operations: int = cell.operations()) -> str:
            return f"{operations / statistics.median(seconds) / 1e9:.0f}"
        products = [a - b for a, b in zip(times.ours, times.quantising, strict=True)]
        ratio = times.ratio()
        rows.append([cell.compute_type, str(cell.rows), f"{cell.inputs:,} x {cell.outputs:,}", speed(times.ours),
                     speed(products) if cell.compute_type == "int8" else "",
                     *(speed(times.rivals[name]) if name in times.rivals else "" for name in names),
                     "" if ratio is None else f"{ratio:.2f}"])
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
