"""Holds agent.py and speech_agent.py to traces of the official agents."""

import dataclasses
import json
import wave
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from compare.agent import Agent
from compare.agent_model import END, Network, Shape
from compare.speech_agent import SpeechAgent
from compare.speech_model import SpeechNetwork, SpeechShape
from compare.weights import read_safetensors

# If the two best tokens are closer than this, another matrix library may pick the other one.
MARGIN = 1e-4
# For log-probabilities, which the traces have with six decimals: some hundred float32 roundings of values below 10.
TOLERANCE = 1e-4

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


class TextModel:
    """Replays sentences."""

    def __init__(self, directory: Path, k: int):
        self._network = _loaded(Network(dataclasses.replace(Shape.of_model(directory), k=k)), directory)

    def start(self, trace: dict[str, Any], _traces: Path) -> tuple[Agent, list[int]]:
        """An agent, and its input for each READ."""
        return Agent(self._network), [*trace["source_ids"], END]


class SpeechModel:
    """Replays recordings."""

    def __init__(self, directory: Path, k: int):
        self._network = _loaded(SpeechNetwork(dataclasses.replace(SpeechShape.of_model(directory), k=k)), directory)

    def start(self, trace: dict[str, Any], traces: Path) -> tuple[SpeechAgent, list[Tensor]]:
        with wave.open(str(traces.parents[1] / trace["wav"])) as file:
            samples = torch.frombuffer(bytearray(file.readframes(file.getnframes())) or bytearray(2),
                                       dtype=torch.int16)[:trace["samples"]].float()
        ends = trace["read_samples"]
        return (SpeechAgent(self._network, trace["force_finish"]),
                [samples[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)])


def _loaded(network: AnyNetwork, directory: Path) -> AnyNetwork:
    network.load_state_dict(read_safetensors(directory / "weights.safetensors"), strict=True)
    return network.eval()


def check_trace(agent: Agent | SpeechAgent, reads: list[Any], trace: dict[str, Any]) -> tuple[str, float]:
    """Returns a difference ("" if there is none), and the largest difference of a log-probability."""
    actions, worst, given = "", 0.0, iter(reads)
    for action in trace["actions"]:
        wants_to_read = agent.wants_to_read()
        actions += "R" if wants_to_read else "W"
        if actions[-1] != action:
            return f"action {len(actions)} is {actions[-1]}, not {action}", worst
        if wants_to_read:
            agent.read(next(given))
            continue
        token, log_probability = agent.write()
        i = len(agent.target) - 1
        if token != trace["target_ids"][i]:
            same = trace["margins"][i] < MARGIN
            return "" if same else f"token {i + 1} is {token}, not {trace['target_ids'][i]}", worst
        if log_probability is not None:
            worst = max(worst, abs(log_probability - trace["logprobs"][i]))
    return "" if worst <= TOLERANCE else f"a log-probability differs by {worst:.1e}", worst


def check(directory: Path, traces: list[Path]) -> bool:
    """Prints one line for each file of traces. Returns whether all agree."""
    good = True
    kind = SpeechModel if "speech" in json.loads((directory / "model.json").read_text()) else TextModel
    for path in traces:
        sentences = [json.loads(line) for line in path.read_text().splitlines()]
        model = kind(directory, sentences[0]["k"])
        with torch.no_grad():
            results = []
            for trace in sentences:
                agent, reads = model.start(trace, path.resolve())
                results.append((trace["id"], *check_trace(agent, reads, trace)))
        wrong = [f"{name}: {what}" for name, what, _ in results if what]
        tokens = sum(len(trace["target_ids"]) for trace in sentences)
        worst = max(difference for _, _, difference in results)
        print(f"{path.name}: {len(results) - len(wrong)} of {len(results)} sentences, {tokens} target tokens, "
              f"log-probabilities to {worst:.1e}")
        for line in wrong:
            print(f"  {line}")
        good = good and not wrong
    return good
