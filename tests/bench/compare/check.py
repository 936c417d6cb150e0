"""Holds agent.py to traces of the official agent."""

import json
from pathlib import Path

import torch

from compare.agent import Agent
from compare.agent_model import END, Network, Shape
from compare.weights import read_safetensors

# Where the two best tokens are closer than this, another matrix library may pick the other.
MARGIN = 1e-4
# Of log-probabilities, which the traces have with six decimals: some hundred float32 roundings of values below 10.
TOLERANCE = 1e-4


def load_network(directory: Path, k: int) -> Network:
    shape = Shape.of_model(directory)
    network = Network(Shape(shape.encoder, shape.decoder, shape.leap_factor, shape.shared_embedding, k))
    network.load_state_dict(read_safetensors(directory / "weights.safetensors"), strict=True)
    return network.eval()


def check_trace(network: Network, trace: dict) -> tuple[str, float]:
    """What differs ("" if nothing), and the largest difference of a log-probability."""
    agent = Agent(network)
    source = trace["source_ids"] + [END]
    actions, worst = "", 0.0
    for action in trace["actions"]:
        reads = agent.wants_to_read()
        actions += "R" if reads else "W"
        if actions[-1] != action:
            return f"action {len(actions)} is {actions[-1]}, not {action}", worst
        if reads:
            agent.read(source[len(agent.source)])
            continue
        token, log_probability = agent.write()
        i = len(agent.target) - 1
        if token != trace["target_ids"][i]:
            same = trace["margins"][i] < MARGIN
            return "" if same else f"token {i + 1} is {token}, not {trace['target_ids'][i]}", worst
        worst = max(worst, abs(log_probability - trace["logprobs"][i]))
    return "" if worst <= TOLERANCE else f"a log-probability differs by {worst:.1e}", worst


def check(directory: Path, traces: list[Path]) -> bool:
    """Prints one line for each file of traces; whether all agree."""
    good = True
    for path in traces:
        sentences = [json.loads(line) for line in path.read_text().splitlines()]
        network = load_network(directory, sentences[0]["k"])
        with torch.no_grad():
            results = [(trace["id"], *check_trace(network, trace)) for trace in sentences]
        wrong = [f"{name}: {what}" for name, what, _ in results if what]
        tokens = sum(len(trace["target_ids"]) for trace in sentences)
        worst = max(difference for _, _, difference in results)
        print(f"{path.name}: {len(results) - len(wrong)} of {len(results)} sentences, {tokens} target tokens, "
              f"log-probabilities to {worst:.1e}")
        for line in wrong:
            print(f"  {line}")
        good = good and not wrong
    return good
