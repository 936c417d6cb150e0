"""Reads and writes .safetensors files, and makes random weights. Needs torch, not the safetensors package."""

import json
import math
import struct
from pathlib import Path

import torch
from torch import Tensor

_TYPES = {"F32": torch.float32, "F16": torch.float16, "I64": torch.int64}
_NAMES = {kind: name for name, kind in _TYPES.items()}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of the file by name; half precision comes back as float32."""
    data = bytearray(path.read_bytes())
    (header_size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + header_size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        kind = _TYPES[entry["dtype"]]
        count = (end - begin) // torch.empty((), dtype=kind).element_size()
        # A clone is aligned; the file's tensors need not be.
        flat = torch.frombuffer(data, dtype=kind, count=count, offset=8 + header_size + begin).clone()
        tensor = flat.view(entry["shape"])
        tensors[name] = tensor.float() if kind is torch.float16 else tensor
    return tensors


def write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    header = {}
    offset = 0
    for name, tensor in sorted(tensors.items()):
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in sorted(tensors.items()):
            file.write(tensor.contiguous().numpy().tobytes())


def random_weights(shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Weights of a trained network's size: a layer's output varies about as much as its input."""
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for name, shape in shapes.items():
        scale = math.sqrt(3 * shape[0] / shape.numel()) if len(shape) > 1 else 0.1
        weights[name] = (2 * torch.rand(shape, generator=generator) - 1) * scale
        if name.endswith("norm.weight"):
            weights[name] += 1
    return weights
