"""Times whole-sentence translation of CTranslate2, with the weights of a leapstream model directory.

Arguments: the model directory, a folder for CTranslate2's model, the compute type. Each line read is a case,
BEAM:SENTENCES:TOKENS; see offline_bench.cc, whose sentences these are.
"""

import json
import struct
import sys
from pathlib import Path
from typing import Any

import ctranslate2
import numpy
from ctranslate2.specs import TransformerSpec

from compare.process import cpu_seconds, serve

MAX_LENGTH = 128  # Positions in the table of encodings.


class Weights:
    """The tensors of weights.safetensors, as float32, read one by one."""

    def __init__(self, path: Path):
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            self._header = json.loads(file.read(size))
        self._data = numpy.memmap(path, numpy.uint8, "r", offset=8 + size)

    def __getitem__(self, name: str) -> numpy.ndarray:
        entry = self._header[name]
        begin, end = entry["data_offsets"]
        kind = {"F16": numpy.float16, "F32": numpy.float32}[entry["dtype"]]
        return self._data[begin:end].view(kind).reshape(entry["shape"]).astype(numpy.float32)


def positions(width: int) -> numpy.ndarray:
    """fairseq's sinusoidal table from its first position on, row 2."""
    half = width // 2
    frequencies = numpy.exp(numpy.arange(half) * -(numpy.log(10000) / (half - 1)))
    angles = numpy.arange(2, MAX_LENGTH + 2)[:, None] * frequencies[None]
    return numpy.concatenate([numpy.sin(angles), numpy.cos(angles)], axis=1).astype(numpy.float32)


class Filler:
    def __init__(self, weights: Weights, spec: Any, config: dict[str, Any]):
        self._weights = weights
        table = weights["encoder.embedding"]
        spec.encoder.embeddings[0].weight = table
        spec.decoder.embeddings.weight = table
        spec.decoder.projection.weight = table
        for name in ("encoder", "decoder"):
            side = getattr(spec, name)
            side.position_encodings.encodings = positions(config[name]["embed_dim"])
            side.scale_embeddings = True
            self._norm(side.layer_norm, f"{name}.norm")
            for index, layer in enumerate(side.layer):
                self._layer(layer, f"{name}.layers.{index}")

    def _layer(self, layer: Any, name: str) -> None:
        self._norm(layer.self_attention.layer_norm, f"{name}.self_attention_norm")
        self._stack(layer.self_attention.linear[0], f"{name}.self_attention", "query", "key", "value")
        self._stack(layer.self_attention.linear[1], f"{name}.self_attention", "output")
        if hasattr(layer, "attention"):  # The decoder's attention to the encoder.
            self._norm(layer.attention.layer_norm, f"{name}.cross_attention_norm")
            self._stack(layer.attention.linear[0], f"{name}.cross_attention", "query")
            self._stack(layer.attention.linear[1], f"{name}.cross_attention", "key", "value")
            self._stack(layer.attention.linear[2], f"{name}.cross_attention", "output")
        self._norm(layer.ffn.layer_norm, f"{name}.ffn_norm")
        self._stack(layer.ffn.linear_0, f"{name}.ffn", "hidden")
        self._stack(layer.ffn.linear_1, f"{name}.ffn", "out")

    def _stack(self, linear: Any, name: str, *parts: str) -> None:
        linear.weight = numpy.concatenate([self._weights[f"{name}.{part}.weight"] for part in parts])
        linear.bias = numpy.concatenate([self._weights[f"{name}.{part}.bias"] for part in parts])

    def _norm(self, norm: Any, name: str) -> None:
        norm.gamma = self._weights[f"{name}.weight"]
        norm.beta = self._weights[f"{name}.bias"]


def vocabulary(size: int) -> list[str]:
    return ["<s>", "<pad>", "</s>", "<unk>"] + [f"piece{i}" for i in range(4, size)]


def write_model(model: Path, folder: Path, compute_type: str) -> int:
    config = json.loads((model / "model.json").read_text())
    side = config["encoder"]
    if not (folder / "model.bin").exists():
        spec = TransformerSpec.from_config((side["layers"], config["decoder"]["layers"]), side["attention_heads"],
                                           pre_norm=True)
        Filler(Weights(model / "weights.safetensors"), spec, config)
        spec.register_source_vocabulary(vocabulary(side["vocabulary_size"]))
        spec.register_target_vocabulary(vocabulary(side["vocabulary_size"]))
        spec.config.add_source_eos = False
        spec.config.decoder_start_token = "</s>"
        spec.validate()
        spec.optimize(quantization=compute_type)
        folder.mkdir(parents=True, exist_ok=True)
        spec.save(str(folder))
    return int(side["vocabulary_size"])


class Case:
    def __init__(self, translator: ctranslate2.Translator, name: str):
        self._translator = translator
        self._beam, sentences, self._length = map(int, name.split(":"))
        self._sources = [[f"piece{100 + (s * 131 + i * 37) % 5000}" for i in range(self._length)]
                         for s in range(sentences)]
        self._first: list[int] = []

    def _run(self) -> None:
        results = self._translator.translate_batch(
            self._sources, beam_size=self._beam, max_batch_size=1024, max_decoding_length=self._length,
            min_decoding_length=self._length)
        self._first = [int(token[5:]) if token.startswith("piece") else -1 for token in results[0].hypotheses[0]]

    def __call__(self) -> dict[str, Any]:
        return {"seconds": cpu_seconds(self._run), "tokens": self._first}


class Cases(dict[str, Case]):
    def __init__(self, translator: ctranslate2.Translator):
        super().__init__()
        self._translator = translator

    def __missing__(self, name: str) -> Case:
        self[name] = Case(self._translator, name)
        return self[name]


def main() -> None:
    model, folder, compute_type = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    write_model(model, folder, compute_type)
    translator = ctranslate2.Translator(str(folder), device="cpu", compute_type=compute_type, inter_threads=1,
                                        intra_threads=1)
    serve({"ctranslate2": ctranslate2.__version__, "compute_type": translator.compute_type}, Cases(translator))


if __name__ == "__main__":
    main()
