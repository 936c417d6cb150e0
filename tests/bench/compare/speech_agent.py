"""fairseq's speech agent on the network of speech_model.py: its computation for each READ and WRITE, and nothing else.

The order is the agent's: READ makes features of the new samples and encodes the whole segment again, also where the READ is
the end and brought none. Before each action the decoder is called, after a copy of its first layer's LeaP state: while
the next token may not be written yet, that layer says READ and is undone.

It leaves out what agent.py leaves out, and the building of words. Autograd is off, as in this agent.
"""

import copy

import torch
from torch import Tensor

from compare.agent_model import END, Cache, DecoderCall
from compare.speech_features import FeatureExtractor
from compare.speech_model import SpeechNetwork


class SpeechAgent:
    """One recording."""

    def __init__(self, network: SpeechNetwork, force_finish: bool = False):
        self.network = network
        self.force_finish = force_finish
        self.target: list[int | None] = []  # None: an </s> that came too early and was not taken.
        self.finished = False
        self.encoded: Tensor | None = None  # [S, 1, E]
        self.cache = Cache(len(network.decoder.layers))
        self.logits: Tensor | None = None  # [1, 1, N], from the last WRITE that was decided.
        self._extract = FeatureExtractor(torch.tensor(network.shape.mean), torch.tensor(network.shape.std))
        self._features = torch.empty(0)

    def read(self, samples: Tensor) -> None:
        """Takes the samples of one READ; none say that there are no more."""
        self.finished = samples.numel() == 0
        new = self._extract(samples)
        if new is not None:
            self._features = torch.cat([self._features, new]) if self._features.numel() else new
        if self._features.numel():
            self.encoded = self.network.encoder(self._features)

    def wants_to_read(self) -> bool:
        if self.encoded is None:
            return not self.finished
        before = copy.deepcopy(self.cache.sums[0])
        prefix = [token for token in self.target if token is not None]
        call = DecoderCall(prefix[-1] if prefix else END, len(prefix), len(self.target) + 1,
                           self.network.target_embedding(), self.encoded, self.cache, online=not self.finished)
        self.logits, reads = self.network.decoder(call)
        if reads:
            self.cache.sums[0] = before
        return reads

    def write(self) -> tuple[int | None, float | None]:
        """The next target token and its log-probability; no number where no network was run."""
        if self.logits is None:
            self.target.append(END)
            return END, None
        log_probabilities = torch.log_softmax(self.logits[:, -1:], dim=-1)
        token: int | None = int(log_probabilities.argmax(dim=-1)[0, 0].item())
        log_probability = float(log_probabilities[0, 0, token])
        if token == END and self.force_finish and not self.finished:
            token = None
        self.target.append(token)
        return token, log_probability
