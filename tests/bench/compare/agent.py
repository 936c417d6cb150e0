"""fairseq's text agent on the network of agent_model.py: its computation for each READ and WRITE, and nothing else.

Modelled, in the agent's order: READ appends one token and encodes the whole source prefix again. Before each action the
decoder is called on the last target token. While the next token may not be written yet, its first layer says READ, its
entry leaves the cache, and the output projection is computed all the same. Otherwise all layers run; log-softmax over
the vocabulary and argmax follow. The arithmetic is float32.

Left out: SimulEval's loop and its lists, SentencePiece, the search of strings in dictionaries, fairseq's wrappers
(dropout modules that do nothing in evaluation, named state dictionaries). All of them take the real agent more time,
never less. Whoever times it may leave autograd on, as the released text agent does.
"""

import torch

from compare.agent_model import END, Cache, DecoderCall, Network


class Agent:
    """One sentence."""

    def __init__(self, network: Network):
        self.network = network
        self.source: list[int] = []
        self.target: list[int] = []
        self.finished = False
        self.encoded: torch.Tensor | None = None  # [S, 1, E]
        self.cache = Cache(len(network.decoder.layers))
        self.logits: torch.Tensor | None = None  # [1, 1, N], from the last WRITE that was decided.

    def read(self, token: int) -> None:
        """Takes one source token; END says that there are no more."""
        self.source.append(token)
        self.finished = token == END
        self.encoded = self.network.encoder(self.source)

    def wants_to_read(self) -> bool:
        if self.encoded is None:
            return True
        position = len(self.target)
        call = DecoderCall(self.target[-1] if self.target else END, position, position + 1,
                           self.network.target_embedding(), self.encoded, self.cache, online=not self.finished)
        self.logits, reads = self.network.decoder(call)
        return reads

    def write(self) -> tuple[int, float]:
        """The next target token and its log-probability. wants_to_read() has just said no."""
        assert self.logits is not None
        log_probabilities = torch.log_softmax(self.logits[:, -1:], dim=-1)
        token = int(log_probabilities.argmax(dim=-1)[0, 0].item())
        self.target.append(token)
        return token, float(log_probabilities[0, 0, token])
