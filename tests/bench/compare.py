#!/usr/bin/env python3
"""Measures leapstream's step beside the reference agent and CTranslate2: one machine, one run, one thread each.

    tests/bench/compare.py [--markdown]          # All three; needs build/bin/step_bench.
    tests/bench/compare.py --only agent          # One of agent, ctranslate2, leapstream; may be repeated.
    tests/bench/compare.py --speech [--markdown] # Speech: the agent and leapstream; needs build/bin/speech_bench.
    tests/bench/compare.py --offline [--markdown] # Whole sentences beside CTranslate2; needs build/bin/offline_bench.
    tests/bench/compare.py --products [--markdown] # Products alone beside other libraries; needs build/bin/product_bench.
    tests/bench/compare.py --check MODEL TRACES  # Holds the agent to traces of the official one; measures nothing.

An optional tool for developers. It needs torch and, but for speech, ctranslate2 in the Python that runs it:

    apt-get install python3-torch libopenblas0-pthread   # Or torch from PyPI.
    /usr/bin/python3 -m venv --system-site-packages VENV && VENV/bin/pip install ctranslate2
    VENV/bin/python tests/bench/compare.py

torch from PyPI does as well, but brings MKL: on an AMD processor the agent took 1.3 to 1.5 times as long with it.
Without libopenblas0-pthread, Debian's torch and LibTorch are left with the reference BLAS, and ratios to them say
nothing. The library in use is printed, and a warning with it if it is that one.

The model is that of step_bench: d 512, 6 + 6 layers, 8 heads, FFN 2,048, vocabulary 6,000, k = 3, LeaP in all blocks.
The agent and leapstream load the same file of random weights.

- Reference agent: what fairseq's text agent does with the LeaPformer fork for each READ and WRITE, in PyTorch, float32.
  compare/agent_model.py and compare/agent.py say what is modelled, and what is left out: all that would only take the
  real agent longer. For --check, MODEL is what leapstream-export made of tests/golden/reference/checkpoints/NAME.pt
  (base, asym or fp16), TRACES are tests/golden/reference/traces/NAME.k*.jsonl. Of speech: any of
  tests/golden/speech/checkpoints and its traces/NAME.k*.jsonl.
- CTranslate2: int8, a soft-max Transformer of that shape, under wait-k with its prefix encoded again;
  compare/ctranslate2_worker.py.
- leapstream: step_bench, with its plain LibTorch twin. *At the floor* is what a ratio would be if leapstream's step
  took no longer than the machine's ceilings allow, which step_bench measures in the same round.

With --speech the model is that of speech_bench, once with LeaP and once with soft-max in all blocks, the agent is
compare/speech_agent.py on compare/speech_model.py, and a time is that of a whole segment, for each second of its audio.
Features are made by PyTorch, since torchaudio may not be there; they are a small part.

With --offline whole sentences are translated, of 25 tokens on both sides, one and 32 at once: by offline_bench and
by CTranslate2, with the same random weights of transformer-base's and of NLLB-600M's shape, in int8 and float32,
greedily and with a beam of 4. Where float32 is greedy, both must find the same tokens. The models are written to
--folder, where they take 12 GB, and stay there. The first run takes some minutes for that. torch is not needed.

With --products the products of that model's shapes are timed alone, beside sgemm of OpenBLAS (libopenblas0-pthread) and,
if torch from PyPI is there, MKL and the int8 products of FBGEMM and oneDNN. Needs numpy; --rounds 5 takes a minute.

A time is CPU time of the process, of one READ and one WRITE of one session. Engines take turns, round after round, and
a ratio is the median of the rounds' ratios, since a machine is seldom quiet and never equally so. An engine's time in a
round is the median of its samples. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are unset for all of them: where they are set
for other reasons, they slow OpenBLAS down.
"""

import argparse
import contextlib
import importlib.util
import json
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from compare import conditions, offline, products, speech, step_bench
from compare.process import Worker
from compare.report import AGENT, CTRANSLATE2, ENCODER_ONLY, Results, report
from compare.step_bench import Step

REPOSITORY = Path(__file__).resolve().parents[2]
ENGINES = ("agent", "ctranslate2", "leapstream")
PACKAGES = {
    "torch": "apt-get install python3-torch libopenblas0-pthread, and run this with /usr/bin/python3 or a venv of it "
             "made with --system-site-packages; or pip install torch",
    "ctranslate2": "pip install ctranslate2, in a venv",
    "numpy": "pip install numpy, in a venv",
}
AGENT_SOURCES = (32, 512)
CTRANSLATE2_CASES = ((1, 32), (1, 512), (32, 32))  # Pairs of sessions and source tokens.
LAG = 3  # The k of wait-k, in source tokens.


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=ENGINES, action="append", help="measure this engine only; may be repeated")
    parser.add_argument("--step-bench", type=Path, default=REPOSITORY / "build/bin/step_bench", metavar="PROGRAM",
                        help="default: build/bin/step_bench")
    parser.add_argument("--speech", action="store_true", help="measure speech instead of text")
    parser.add_argument("--speech-bench", type=Path, default=REPOSITORY / "build/bin/speech_bench", metavar="PROGRAM",
                        help="default: build/bin/speech_bench")
    parser.add_argument("--offline", action="store_true", help="measure whole sentences instead")
    parser.add_argument("--shape", choices=offline.SHAPES, action="append",
                        help="with --offline: this shape only; may be repeated")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), metavar="DIRECTORY",
                        help="with --offline: gets the models (/var/tmp)")
    parser.add_argument("--offline-bench", type=Path, default=REPOSITORY / "build/bin/offline_bench", metavar="PROGRAM",
                        help="default: build/bin/offline_bench")
    parser.add_argument("--products", action="store_true", help="measure products alone instead")
    parser.add_argument("--product-bench", type=Path, default=REPOSITORY / "build/bin/product_bench", metavar="PROGRAM",
                        help="default: build/bin/product_bench")
    parser.add_argument("--rounds", type=int, default=3, help="turns of all engines (3)")
    parser.add_argument("--samples", type=int, default=5, help="samples of a case in a round (5)")
    parser.add_argument("--markdown", action="store_true", help="print rows for docs/benchmarks.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every round's times, in seconds")
    parser.add_argument("--check", nargs="+", type=Path, metavar=("MODEL", "TRACES"),
                        help="compare the agent with traces, token for token, and exit with 1 if it differs")
    return parser.parse_args()


def require(*packages: str) -> None:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        lines = [f"compare.py: {sys.executable} has no {package}: {PACKAGES[package]}" for package in missing]
        raise SystemExit("\n".join(lines))


def require_program(path: Path, target: str, otherwise: str = "") -> None:
    if not path.exists():
        raise SystemExit(f"compare.py: {path} is missing: build the target {target}, or name it with "
                         f"--{target.replace('_', '-')}{otherwise}")


def check(paths: list[Path]) -> bool:
    require("torch")
    import torch
    from compare.check import check as check_traces
    torch.set_num_threads(1)
    if len(paths) < 2:
        raise SystemExit("compare.py: --check needs a model directory and at least one file of traces")
    try:
        return check_traces(paths[0], paths[1:])
    except ValueError as error:
        raise SystemExit(f"compare.py: {paths[0]}: {error}") from None


def write_weights(path: Path) -> None:
    from compare.agent_model import Network, Shape
    from compare.weights import random_weights, write_safetensors
    shapes = {name: tensor.shape for name, tensor in Network(Shape()).state_dict().items()}
    write_safetensors(path, random_weights(shapes))


class Comparison:
    """The engines that are measured, and their times so far."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: contextlib.ExitStack):
        self._options = options
        self._folder = folder
        self._weights = folder / "weights.safetensors"
        self.engines = options.only or list(ENGINES)
        self.results: Results = {}
        self.floors: Results = {}
        self.facts: dict[str, Any] = {}
        self._workers: dict[str, Worker] = {}
        if "agent" in self.engines or "leapstream" in self.engines:
            write_weights(self._weights)
        if "agent" in self.engines:
            command = ["-m", "compare.agent_worker", str(self._weights), *map(str, AGENT_SOURCES)]
            self._workers["agent"] = stack.enter_context(Worker("agent", command, folder / "agent.log"))
        if "ctranslate2" in self.engines:
            names = [name for name, _ in self._ctranslate2_cases()]
            command = ["-m", "compare.ctranslate2_worker", str(folder / "ctranslate2"), *names]
            worker = Worker("ctranslate2", command, folder / "ctranslate2.log")
            self._workers["ctranslate2"] = stack.enter_context(worker)
        for worker in self._workers.values():
            self.facts |= worker.facts
        if "ctranslate2" in self.engines:
            self.facts["backend"] = ctranslate2_backend((folder / "ctranslate2.log").read_text())

    @staticmethod
    def _ctranslate2_cases() -> list[tuple[str, Step]]:
        cases = []
        for sessions, source in CTRANSLATE2_CASES:
            cases.append((f"{sessions}:{source}:{source - LAG}", Step(sessions, source, CTRANSLATE2)))
            cases.append((f"{sessions}:{source}:0", Step(sessions, source, ENCODER_ONLY)))
        return cases

    def round(self) -> None:
        for source in AGENT_SOURCES if "agent" in self.engines else ():
            self._sample("agent", str(source), Step(1, source, AGENT))
        for name, step in self._ctranslate2_cases() if "ctranslate2" in self.engines else ():
            self._sample("ctranslate2", name, step)
        if "leapstream" in self.engines:
            steps = step_bench.run(self._options.step_bench, self._weights, self._folder / "step_bench.log")
            for step, time in steps.items():
                self._add(step, time.seconds)
                if time.floor is not None:
                    self.floors.setdefault(step, []).append(time.floor)

    def _sample(self, engine: str, case: str, step: Step) -> None:
        samples = [self._workers[engine].sample(case) for _ in range(self._options.samples)]
        self._add(step, statistics.median(samples) / step.sessions)

    def _add(self, step: Step, seconds: float) -> None:
        self.results.setdefault(step, []).append(seconds)


def ctranslate2_backend(log: str) -> str:
    """The words of its log on the processor's instructions and the library of int8 products."""
    parts = [re.search(rf"{name}: ([^\n]*)", log) for name in ("Selected ISA", "GEMM_S8 backend")]
    return ", ".join(match.group(0) for match in parts if match)


def progress(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def measure(options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory(prefix="leapstream-compare-") as folder, contextlib.ExitStack() as stack:
        progress("preparing")
        comparison = Comparison(options, Path(folder), stack)
        load_before = conditions.load()
        for i in range(options.rounds):
            progress(f"round {i + 1} of {options.rounds}")
            comparison.round()
    lines = [conditions.machine(), conditions.commit(REPOSITORY), *conditions.engine_lines(comparison.facts)]
    if "leapstream" in comparison.engines:
        blas = conditions.blas_line(step_bench.linked_blas(options.step_bench))
        lines.append(f"leapstream: its LibTorch's BLAS is {blas}")
    lines += [f"one thread each, CPU time, rounds: {options.rounds}, samples of each: {options.samples}; load average "
              f"{load_before} at the start, {conditions.load()} at the end",
              command_line()]
    if options.json:
        write_json(options.json, comparison.results, lines)
    return report(comparison.results, comparison.floors, lines, options.markdown)


def measure_speech(options: argparse.Namespace) -> str:
    results, lines = speech.measure(options.speech_bench, options.rounds, progress)
    lines = [conditions.machine(), conditions.commit(REPOSITORY), *lines, command_line()]
    if options.json:
        options.json.write_text(speech.to_json(results, lines))
    return speech.report(results, lines, options.markdown)


def measure_offline(options: argparse.Namespace) -> str:
    results, lines = offline.measure(options.offline_bench.resolve(), options.folder.resolve(),
                                     options.shape or list(offline.SHAPES), options.rounds, progress)
    lines = [conditions.machine(), conditions.commit(REPOSITORY), *lines, command_line()]
    if options.json:
        options.json.write_text(offline.to_json(results, lines))
    return offline.report(results, lines, options.markdown)


def measure_products(options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory(prefix="leapstream-compare-") as folder:
        results, lines = products.measure(options.product_bench.resolve(), Path(folder), options.rounds, progress)
    lines = [conditions.machine(), conditions.commit(REPOSITORY), *lines, command_line()]
    if options.json:
        options.json.write_text(products.to_json(results, lines))
    return products.report(results, lines, options.markdown)


def command_line() -> str:
    return "command: " + " ".join(["tests/bench/compare.py", *sys.argv[1:]])


def write_json(path: Path, results: Results, lines: list[str]) -> None:
    rows = [{"engine": step.engine, "sessions": step.sessions, "position": step.position, "seconds": times}
            for step, times in results.items()]
    path.write_text(json.dumps({"conditions": lines, "results": rows}, indent=1) + "\n")


def main() -> int:
    options = arguments()
    if options.check:
        return 0 if check(options.check) else 1
    if options.offline:
        require("ctranslate2", "numpy")
        require_program(options.offline_bench, "offline_bench")
        print(measure_offline(options))
        return 0
    if options.products:
        require("numpy")
        require_program(options.product_bench, "product_bench")
        print(measure_products(options))
        return 0
    if options.speech:
        require("torch")
        require_program(options.speech_bench, "speech_bench")
        print(measure_speech(options))
        return 0
    engines = options.only or ENGINES
    require("torch", *(["ctranslate2", "numpy"] if "ctranslate2" in engines else []))
    if "leapstream" in engines:
        require_program(options.step_bench, "step_bench", ", or leave it out with --only agent --only ctranslate2")
    print(measure(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
