"""Times one READ and one WRITE of the reference agent. Arguments: weights file, then the source lengths."""

import sys
from pathlib import Path

import torch

from compare.agent import Agent
from compare.agent_model import Network, Shape
from compare.process import cpu_seconds, loaded_blas, serve
from compare.weights import read_safetensors

TOKEN = 100  # Any token but the special ones.


def at_source_length(network: Network, source: int) -> Agent:
    """An agent about to READ its source token `source`, then to WRITE.

    Its cache holds noise of the right size: the time does not depend on the values, and to decode up to here would
    take minutes.
    """
    shape = Shape()
    agent = Agent(network)
    agent.source = [TOKEN] * (source - 1)
    agent.encoded = network.encoder(agent.source)
    agent.target = [TOKEN] * (source - shape.k)
    heads, width = shape.decoder.heads, shape.decoder.width // shape.decoder.heads
    for layer in range(shape.decoder.layers):
        agent.cache.keys[layer] = torch.randn(heads, len(agent.target), width)
        agent.cache.values[layer] = torch.randn(heads, len(agent.target), width)
        agent.cache.steps[layer] = torch.full((heads, 1), source - 2)
    return agent


def read_and_write(agent: Agent) -> None:
    assert agent.wants_to_read()
    agent.read(TOKEN)
    assert not agent.wants_to_read()
    agent.write()


class Case:
    def __init__(self, network: Network, source: int):
        self._agent = at_source_length(network, source)

    def __call__(self) -> float:
        """CPU seconds of a READ and a WRITE; the next sample is at the same place."""
        agent = self._agent
        cache, encoded = agent.cache.copy(), agent.encoded
        seconds = cpu_seconds(lambda: read_and_write(agent))
        agent.cache, agent.encoded = cache, encoded
        agent.source.pop()
        agent.target.pop()
        return seconds


def main() -> None:
    torch.set_num_threads(1)
    with torch.no_grad():
        network = Network(Shape()).eval()
        network.load_state_dict(read_safetensors(Path(sys.argv[1])), strict=True)
        cases = {length: Case(network, int(length)) for length in sys.argv[2:]}
    # From here on autograd is on, as in the released text agent, which never turns it off.
    for case in cases.values():
        case()
    serve({"torch": torch.__version__, "autograd": "on", "blas": loaded_blas()}, cases)


if __name__ == "__main__":
    main()
