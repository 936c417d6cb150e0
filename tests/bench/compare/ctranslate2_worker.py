"""Times one READ and one WRITE of CTranslate2, int8. Arguments: a folder for the model, then SESSIONS:SOURCE:PREFIX.

CTranslate2 has soft-max attention, a bidirectional encoder and no state between calls. So under wait-k each WRITE is a
translate_batch() of the source prefix of SOURCE tokens, which encodes it, with the PREFIX target tokens written so far
as target_prefix, and one token more. It takes a target prefix in token by token (measured: a prefix of n tokens costs
as much as n written tokens), hence also cases without one: the cost that it would have if it kept the state. All
sessions of a batch have the same length, so nothing is padded: its best case.
"""

import sys
from pathlib import Path
from typing import Any

import ctranslate2
import numpy
from ctranslate2.specs import TransformerSpec

from compare.process import cpu_seconds, serve

WIDTH, FFN_WIDTH, HEADS, LAYERS, VOCABULARY = 512, 2048, 8, 6, 6000


def vocabulary() -> list[str]:
    return ["<blank>", "<unk>", "<s>", "</s>"] + [f"piece{i}" for i in range(4, VOCABULARY)]


class RandomSpec:
    """Fills a Transformer with weights of a trained network's size."""

    def __init__(self) -> None:
        self._random = numpy.random.default_rng(1)
        self.spec = TransformerSpec.from_config(LAYERS, HEADS, pre_norm=True)
        self._matrix(self.spec.encoder.embeddings[0], VOCABULARY, WIDTH, bias=False)
        self.spec.decoder.embeddings.weight = self.spec.encoder.embeddings[0].weight
        self.spec.decoder.projection.weight = self.spec.encoder.embeddings[0].weight
        for side in (self.spec.encoder, self.spec.decoder):
            self._norm(side.layer_norm)
            for layer in side.layer:
                self._layer(layer)

    def _layer(self, layer: Any) -> None:
        self._attention(layer.self_attention, outputs=(3 * WIDTH, WIDTH))
        if hasattr(layer, "attention"):  # The decoder's attention to the encoder.
            self._attention(layer.attention, outputs=(WIDTH, 2 * WIDTH, WIDTH))
        self._norm(layer.ffn.layer_norm)
        self._matrix(layer.ffn.linear_0, FFN_WIDTH, WIDTH)
        self._matrix(layer.ffn.linear_1, WIDTH, FFN_WIDTH)

    def _attention(self, attention: Any, outputs: tuple[int, ...]) -> None:
        self._norm(attention.layer_norm)
        for linear, width in zip(attention.linear, outputs, strict=True):
            self._matrix(linear, width, WIDTH)

    def _matrix(self, linear: Any, outputs: int, inputs: int, bias: bool = True) -> None:
        scale = (3 / inputs) ** 0.5
        linear.weight = self._random.uniform(-scale, scale, (outputs, inputs)).astype(numpy.float32)
        if bias:
            linear.bias = self._random.uniform(-0.1, 0.1, outputs).astype(numpy.float32)

    @staticmethod
    def _norm(norm: Any) -> None:
        norm.gamma = numpy.ones(WIDTH, numpy.float32)
        norm.beta = numpy.zeros(WIDTH, numpy.float32)


def write_model(folder: Path) -> None:
    spec = RandomSpec().spec
    spec.register_source_vocabulary(vocabulary())
    spec.register_target_vocabulary(vocabulary())
    spec.config.add_source_eos = False
    spec.validate()
    spec.optimize(quantization="int8")
    spec.save(str(folder))


class Case:
    def __init__(self, translator: ctranslate2.Translator, sessions: int, source: int, prefix: int):
        self._translator = translator
        tokens = vocabulary()
        self._sources = [[tokens[100 + i]] * source for i in range(sessions)]
        self._written = [[tokens[200 + i]] * prefix for i in range(sessions)]

    def _step(self) -> list[int]:
        """Returns how many tokens each session has after it."""
        results = self._translator.translate_batch(
            self._sources, target_prefix=self._written, beam_size=1,
            max_decoding_length=len(self._written[0]) + 1, min_decoding_length=len(self._written[0]) + 1)
        return [len(result.hypotheses[0]) for result in results]

    def __call__(self) -> float:
        return cpu_seconds(self._step)

    def check(self) -> None:
        assert self._step() == [len(written) + 1 for written in self._written], self._step()


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    write_model(folder)
    translator = ctranslate2.Translator(str(folder), device="cpu", compute_type="int8", inter_threads=1,
                                        intra_threads=1)
    cases = {}
    for name in sys.argv[2:]:
        cases[name] = Case(translator, *map(int, name.split(":")))
        cases[name].check()
    serve({"ctranslate2": ctranslate2.__version__, "compute_type": translator.compute_type}, cases)


if __name__ == "__main__":
    main()
