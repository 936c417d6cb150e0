"""Times the reference speech agent on segments. Argument: folder of the weights.

A case is a kind of attention; its sample is the CPU time of a whole segment up to each of LENGTHS:
READs and WRITEs in the agent's order, the READ of the end and what follows it left out, as
speech_bench leaves it out. After the end, each WRITE costs the agent the keys and values of all
encoder states once more, and leapstream a decoder step.
"""

import sys
from functools import partial
from pathlib import Path

import torch

from compare.process import cpu_seconds, loaded_blas, serve
from compare.speech_agent import SpeechAgent
from compare.speech_bench import ATTENTIONS, LENGTHS, weights_file
from compare.speech_features import noise
from compare.speech_model import SpeechNetwork, SpeechShape
from compare.weights import read_safetensors


class Case:
    def __init__(self, folder: Path, attention: str):
        self._network = SpeechNetwork(SpeechShape.of_bench(attention)).eval()
        self._network.load_state_dict(
            read_safetensors(weights_file(folder, attention)), strict=True
        )

    def __call__(self) -> dict[str, float]:
        """CPU seconds for each second of audio, by the length of the segment."""
        agent = SpeechAgent(self._network)
        generator = torch.Generator().manual_seed(2)
        read_ms = self._network.shape.read_ms
        used, read, results = 0.0, 0, {}
        for length in LENGTHS:
            while read < 1000 * length:
                samples = noise(read_ms, generator)
                used += cpu_seconds(partial(read_and_write, agent, samples))
                read += read_ms
            results[str(length)] = 1000 * used / read
        return results


def read_and_write(agent: SpeechAgent, samples: torch.Tensor) -> None:
    agent.read(samples)
    while not agent.wants_to_read():
        agent.write()


def main() -> None:
    torch.set_num_threads(1)
    with torch.no_grad():
        cases = {attention: Case(Path(sys.argv[1]), attention) for attention in ATTENTIONS}
        serve({"torch": torch.__version__, "autograd": "off", "blas": loaded_blas()}, cases)


if __name__ == "__main__":
    main()
