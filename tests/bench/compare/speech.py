"""Measures leapstream beside the reference speech agent, in turns."""

import contextlib
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from compare import conditions, speech_bench
from compare.process import Worker
from compare.report import table
from compare.speech_bench import AGENT, ATTENTIONS, LENGTHS, Segment

# CPU seconds for each second of audio, one value for each round.
SpeechResults = dict[Segment, list[float]]

HEADER = [
    "attention",
    "segment",
    "engine",
    "ms per second of audio",
    "spread",
    "sessions in real time",
    "agent's time over it",
]
ENGINES = {AGENT: "reference agent", "float32": "leapstream float32", "int8": "leapstream int8"}


def write_weights(folder: Path) -> None:
    from compare.speech_model import SpeechNetwork, SpeechShape
    from compare.weights import random_weights, write_safetensors
    for attention in ATTENTIONS:
        network = SpeechNetwork(SpeechShape.of_bench(attention))
        shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
        write_safetensors(speech_bench.weights_file(folder, attention), random_weights(shapes))


def rows(results: SpeechResults) -> list[list[str]]:
    lines = []
    for attention in ATTENTIONS:
        for seconds in LENGTHS:
            agent = results[Segment(attention, seconds, AGENT)]
            for engine, title in ENGINES.items():
                times = results[Segment(attention, seconds, engine)]
                median = statistics.median(times)
                ratio = statistics.median(a / b for a, b in zip(agent, times, strict=True))
                lines.append(
                    [
                        attention,
                        f"{seconds} s",
                        title,
                        f"{1e3 * median:,.0f}",
                        f"{1e3 * min(times):,.0f} to {1e3 * max(times):,.0f}",
                        f"{1 / median:.1f}",
                        "" if engine == AGENT else f"{ratio:.2f}",
                    ]
                )
    return lines


def measure(
    program: Path, rounds: int, progress: Callable[[str], None]
) -> tuple[SpeechResults, list[str]]:
    """All times, and their conditions."""
    results: SpeechResults = {}
    context: dict[str, str] = {}
    load_before = conditions.load()
    with tempfile.TemporaryDirectory(
        prefix="leapstream-compare-"
    ) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        write_weights(folder)
        worker = stack.enter_context(
            Worker("agent", ["-m", "compare.speech_worker", name], folder / "agent.log")
        )
        for i in range(rounds):
            for attention in ATTENTIONS:
                progress(f"round {i + 1} of {rounds}: {attention}")
                for seconds, time in worker.sample(attention).items():
                    results.setdefault(Segment(attention, int(seconds), AGENT), []).append(time)
                steps, context = speech_bench.run(
                    program, folder, attention, folder / "speech_bench.log"
                )
                for segment, time in steps.items():
                    results.setdefault(segment, []).append(time)
    peaks = [
        f"{name.removeprefix('peak_')} {value}"
        for name, value in context.items()
        if name.startswith("peak_")
    ]
    return results, [
        *conditions.engine_lines(worker.facts),
        f"leapstream: kernels {context['kernels']}; in registers, at the last turn: "
        + ", ".join(peaks),
        f"one thread each, CPU time, rounds: {rounds}; load average {load_before} at the start, "
        f"{conditions.load()} at "
        "the end",
    ]


def report(results: SpeechResults, lines: list[str], as_markdown: bool) -> str:
    facts = "\n".join(("- " if as_markdown else "") + line for line in lines)
    return facts + "\n\n" + table(HEADER, rows(results), as_markdown)


def to_json(results: SpeechResults, lines: list[str]) -> str:
    return json.dumps({"conditions": lines, "results": [
        {"attention": segment.attention, "segment": segment.seconds, "engine": segment.engine,
         "seconds_per_second": times} for segment, times in results.items()]}, indent=1) + "\n"
