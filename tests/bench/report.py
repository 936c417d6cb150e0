#!/usr/bin/env python3
"""Runs a short form of the benchmarks and writes their output into docs/benchmarks.md, under the heading of the last run.

    ./dev bench        # Builds, then runs this.

Needs only what ./dev setup installs. CPU times of a shared machine: read the ratios first.
"""

import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs/benchmarks.md"
MARKER = "<!-- ./dev bench writes what follows. -->"
STEPS = ("libtorch/batch:(1|8|32)/position:100|step/batch:(1|8|32|128)/position:100/compute:(float32|bfloat16|int8)|"
         "step/batch:1/position:5000/compute:(float32|int8)")


def output(*command: str) -> str:
    print("bench: " + " ".join(command), file=sys.stderr, flush=True)
    # If this is set for other reasons, it slows down the OpenBLAS that we compare with.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"bench: {command[0]} ended with status {run.returncode}: see its message above")
    return run.stdout


def fenced(*command: str) -> list[str]:
    return ["", "`" + " ".join(command) + "`", "", "```text", output(*command).rstrip(), "```"]


def step_rows() -> list[str]:
    command = ["build/bin/step_bench", "--benchmark_format=json", f"--benchmark_filter={STEPS}"]
    report = json.loads(output(*command))
    context = report["context"]
    lines = [f"`{command[0]} --benchmark_filter='{STEPS}'`", "",
             f"{context['model']}, kernels {context['kernels']}, LibTorch's BLAS {context['blas_of_libtorch']}; ceilings: "
             + "; ".join(f"{name.removeprefix('peak_')} {value}" for name, value in context.items() if "peak_" in name)
             + ".", "",
             "| step | µs per READ and WRITE | tokens/s | GFLOP/s | GB/s | of peak | of floor | × LibTorch |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    plain: dict[str, float] = {}  # Keyed by batch.
    for row in report["benchmarks"]:
        name = row["name"]
        if row.get("error_occurred"):
            raise SystemExit(f"bench: {name}: {row['error_message']}")
        batch = name.split("/")[1]
        if name.startswith("libtorch"):
            plain[batch] = row["us_per_token"]
        ratio = plain[batch] / row["us_per_token"] if batch in plain else None
        figures = [f"{row['us_per_token']:,.0f}", f"{row['tokens_per_second']:,.0f}", f"{row['GFLOP/s']:.1f}"]
        figures += [f"{row[key]:.2f}" if key in row else "" for key in ("GB/s", "of_peak", "of_floor")]
        lines.append("| " + " | ".join([name, *figures, "" if ratio is None else f"{ratio:.1f}"]) + " |")
    return lines


def load_rows(folder: Path) -> list[str]:
    """Real sessions over the network: leapstream load on a server with the embedded model."""
    source = folder / "source.en"
    traces = (REPOSITORY / "tests/golden/en-de/traces.k3.stop.jsonl").read_text().splitlines()
    source.write_text("".join(json.loads(line)["source"] + "\n" for line in traces))
    port = folder / "port"
    server = subprocess.Popen(["build/bin/leapstream-server", "--model", "model/pretrained/en-de", "--compute-type", "int8",
                               "--listen", "127.0.0.1:0", "--port-file", str(port)],
                              cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while not port.exists() and time.monotonic() < until and server.poll() is None:
            time.sleep(0.01)
        address = "127.0.0.1:" + port.read_text().strip()
        text = output("build/bin/leapstream", "load", "--server", address, "--source", str(source), "--sessions", "64",
                      "--rate", "3", "--seconds", "5")
    finally:
        server.terminate()
        server.wait()
    return ["", "`leapstream load --sessions 64 --rate 3 --seconds 5`, a server with the embedded model in int8 beside it",
            "", "```text", text.rstrip(), "```"]


def conditions() -> str:
    commit = output("git", "describe", "--always", "--dirty").strip()
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return (f"Commit {commit}, {date}, {len(names)} × {names[0] if names else 'unknown processor'}, one thread (its CPU "
            f"time), load average before {load}.")


def main() -> None:
    before = conditions()
    with tempfile.TemporaryDirectory(prefix="leapstream-bench-") as folder:
        lines = ["## The last run of ./dev bench", "", before, "", *step_rows(), *fenced("build/bin/serving_bench", "32"),
                 *fenced("build/bin/attention_bench", "512"), *load_rows(Path(folder))]
    page = PAGE.read_text().split(MARKER)[0]
    PAGE.write_text(page + MARKER + "\n\n" + "\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"bench: written to {PAGE.relative_to(REPOSITORY)}", file=sys.stderr)


if __name__ == "__main__":
    main()
