"""Times products of other libraries: OpenBLAS by ctypes, and PyTorch's where there is one, with one thread.

Each line read is a case, LIBRARY:ROWS:IN:OUT, whose answer is the least CPU seconds of a product in many short runs, as
product_bench.cc has it. The libraries:

- openblas: sgemm of weights [out, in] that were not packed before; OpenBLAS packs them in each call. It is told which
  kernels to take: 0.3.21 knows no processor from 2023 on and takes kernels of 2004 there.
- mkl: PyTorch's float32 linear layer, which is MKL's sgemm in PyTorch's packages.
- fbgemm, onednn: PyTorch's dynamically quantised linear layer: weights packed before, rows quantised in each call.
"""

import ctypes
import ctypes.util
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy

from compare.process import serve

try:
    import torch
except ImportError:
    torch = None

INT8 = ("fbgemm", "onednn")
RUNS, RUN_SECONDS = 9, 1e-3
ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE = 101, 111, 112  # Of cblas.h.


def least_seconds(repeat: Callable[[int], None]) -> float:
    """repeat(n) makes the product n times."""
    repeat(1)
    start = time.thread_time()
    repeat(1)
    times = max(1, int(RUN_SECONDS / max(time.thread_time() - start, 1e-7)))
    least = float("inf")
    for _ in range(RUNS):
        start = time.thread_time()
        repeat(times)
        least = min(least, (time.thread_time() - start) / times)
    return least


def random(*shape: int) -> numpy.ndarray:
    return numpy.random.default_rng(1).standard_normal(shape, numpy.float32)


class OpenBlas:
    def __init__(self) -> None:
        name = ctypes.util.find_library("openblas")
        if name is None:
            raise SystemExit("libopenblas is missing: apt-get install libopenblas0-pthread")
        flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[-1].split("\n", 1)[0].split()
        if "avx2" in flags:
            os.environ["OPENBLAS_CORETYPE"] = "SkylakeX" if "avx512bw" in flags else "Haswell"
        self._library = ctypes.CDLL(name)
        self._library.openblas_set_num_threads(1)
        self._library.openblas_get_corename.restype = ctypes.c_char_p
        self._library.openblas_get_config.restype = ctypes.c_char_p

    def facts(self) -> dict[str, Any]:
        config = self._library.openblas_get_config().decode().split()
        return {"openblas": f"{config[1]}, kernels {self._library.openblas_get_corename().decode()}"}

    def repeat(self, rows: int, inputs: int, outputs: int) -> Callable[[int], None]:
        x, w, y = random(rows, inputs), random(outputs, inputs), numpy.zeros((rows, outputs), numpy.float32)

        def address(values: numpy.ndarray) -> ctypes.c_void_p:
            return ctypes.c_void_p(values.ctypes.data)

        arguments = (ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, rows, outputs, inputs, ctypes.c_float(1), address(x), inputs,
                     address(w), inputs, ctypes.c_float(0), address(y), outputs)

        def run(times: int) -> None:
            for _ in range(times):
                self._library.cblas_sgemm(*arguments)

        run.arrays = (x, w, y)  # type: ignore[attr-defined]  # They live as long as the addresses are used.
        return run


def torch_repeat(library: str, rows: int, inputs: int, outputs: int) -> Callable[[int], None]:
    x, w, bias = (torch.from_numpy(random(*shape)) for shape in ((rows, inputs), (outputs, inputs), (outputs,)))
    if library == "mkl":
        return repeat_linear(x, w, bias)
    torch.backends.quantized.engine = library
    scales = w.abs().amax(1).double() / 127
    quantised = torch.quantize_per_channel(w, scales, torch.zeros(outputs, dtype=torch.long), 0, torch.qint8)
    return repeat_quantised(x, torch.ops.quantized.linear_prepack(quantised, bias))


def repeat_linear(x: Any, w: Any, bias: Any) -> Callable[[int], None]:
    def run(times: int) -> None:
        with torch.inference_mode():
            for _ in range(times):
                torch.nn.functional.linear(x, w, bias)
    return run


def repeat_quantised(x: Any, packed: Any) -> Callable[[int], None]:
    product = torch.ops.quantized.linear_dynamic.default

    def run(times: int) -> None:
        with torch.inference_mode():
            for _ in range(times):
                product(x, packed)
    return run


class Cases(dict[str, Callable[[], Any]]):
    def __init__(self, openblas: OpenBlas):
        super().__init__()
        self._openblas = openblas

    def __missing__(self, name: str) -> Callable[[], Any]:
        library, *sizes = name.split(":")
        rows, inputs, outputs = map(int, sizes)
        if library == "openblas":
            repeat = self._openblas.repeat(rows, inputs, outputs)
        else:
            repeat = torch_repeat(library, rows, inputs, outputs)
        return lambda: least_seconds(repeat)


def main() -> None:
    openblas = OpenBlas()
    facts = openblas.facts() | {"libraries": ["openblas"]}
    if torch is not None:
        warnings.simplefilter("ignore")  # It is going to leave quantised tensors to other packages.
        torch.set_num_threads(1)
        engines = [engine for engine in INT8 if engine in torch.backends.quantized.supported_engines]
        facts |= {"torch": torch.__version__}
        facts["libraries"] += ["mkl"] * torch.backends.mkl.is_available() + engines
    serve(facts, Cases(openblas))


if __name__ == "__main__":
    main()
