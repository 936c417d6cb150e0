"""The network that fairseq's LeaPformer fork runs in a speech agent: convtransformer_simul_trans with wait-k.

It takes from agent_model.py all parts that text has, too. These are copied from the fork on purpose:
- The encoder is bidirectional and has no state: both convolutions, the linear layer and all layers run over all frames
  of the segment. LeaP takes the routine for inference, which is linear in the length; soft-max goes through PyTorch's
  own multi-head attention.
- Decoder self-attention has the recurrent state of the agent's --leapformer-attn-enable; with soft-max it caches keys
  and values.
- Cross-attention projects keys and values of all S encoder states at each call; its policy pools the keys, chooses
  among the pools, and spreads its choice over the states again.
"""

import dataclasses
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compare.agent_model import (
    FIRST_POSITION,
    Cache,
    CrossAttention,
    Decoder,
    DecoderLayer,
    EncoderLayer,
    Leap,
    Positions,
    Projections,
    Side,
    WaitK,
    beyond,
    expect,
    side_of,
    unmoved,
)
from compare.speech_features import MEL_BINS

STATE_MS = 40  # Two convolutions of stride 2 over frames of 10 ms.


@dataclasses.dataclass(frozen=True)
class SpeechShape:
    """Without arguments, the shape of leapstream's bench: convtransformer_simul_trans_espnet."""

    encoder: Side = Side(width=256, heads=4, layers=12, vocabulary=0, final_norm=False)
    decoder: Side = Side(width=256, heads=4, layers=6, vocabulary=10000)
    encoder_attention: str = "leap"  # Or "softmax".
    decoder_attention: str = "leap"
    cross_attention: str = "leap"
    leap_factor: int = 4
    shared_output: bool = True
    channels: int = 256
    k: int = 3
    ratio: int = 7  # Encoder states in a READ.
    pooling: str = "average"  # Or "last".
    mean: tuple[float, ...] = (12.0,) * MEL_BINS
    std: tuple[float, ...] = (4.0,) * MEL_BINS

    @property
    def read_ms(self) -> int:
        return self.ratio * STATE_MS

    @staticmethod
    def of_bench(attention: str) -> "SpeechShape":
        return SpeechShape(encoder_attention=attention, decoder_attention=attention, cross_attention=attention)

    @staticmethod
    def of_model(directory: Path) -> "SpeechShape":
        """The shape of a model directory; ValueError if it is of a kind that this network leaves out."""
        config = json.loads((directory / "model.json").read_text())
        side_wanted = {"shared_layers": [], "layernorm_embedding": False, "positions": "sinusoidal"}
        expect(config, {"simul_type": "waitk", "activation_fn": "relu", "cross_normaliser": "linear",
                        "causal_encoder": False, "mass_preservation": True, "scale_embedding": True})
        expect(config["encoder"], side_wanted)
        expect(config["decoder"], side_wanted)
        speech, decoder = config["speech"], config["decoder"]
        return SpeechShape(
            side_of(config["encoder"]), side_of(decoder), config["encoder"]["self_attention"],
            decoder["self_attention"], decoder["cross_attention"], config["leap_factor"],
            config["share_decoder_input_output_embed"], speech["conv_channels"], config["waitk_lagging"],
            speech["pre_decision_ratio"], speech["pre_decision_type"], tuple(speech["cmvn_mean"]),
            tuple(speech["cmvn_std"]))


class BidirectionalLeap(Leap):
    def forward(self, x: Tensor) -> Tensor:  # [S, 1, E]
        return self.attend_to_all(self.project_query(x), self.split(self.key(x)), self.split(self.value(x)))


class BidirectionalSoftmax(Projections):
    def forward(self, x: Tensor) -> Tensor:  # [S, 1, E]
        width = x.size(-1)
        biases = torch.cat([self.query.bias, self.key.bias, self.value.bias])
        attended, _ = F.multi_head_attention_forward(
            x, x, x, width, self.heads, torch.empty([0]), biases, None, None, False, 0.0, self.output.weight,
            self.output.bias, training=False, need_weights=False, use_separate_proj_weight=True,
            q_proj_weight=self.query.weight, k_proj_weight=self.key.weight, v_proj_weight=self.value.weight)
        return attended


class RecurrentAttention(Leap):
    def forward(self, x: Tensor, cache: Cache, layer: int) -> Tensor:  # [1, 1, E]
        q_sin, q_cos = self.features(self.project_query(x), self.query_proportion)
        k_sin, k_cos = self.features(self.split(self.key(x)), self.key_proportion)
        v = self.split(self.value(x))
        new = (torch.bmm(k_sin.transpose(1, 2), v), torch.bmm(k_cos.transpose(1, 2), v), k_sin.transpose(1, 2),
               k_cos.transpose(1, 2))
        past = cache.sums[layer]
        sums = new if past is None else tuple(a + b for a, b in zip(past, new, strict=True))
        cache.sums[layer] = sums
        return self.attend_to_sums(q_sin, q_cos, sums)


class CachedSoftmax(Projections):
    def forward(self, x: Tensor, cache: Cache, layer: int) -> Tensor:  # [1, 1, E]
        q = self.project_query(x)
        k, v = cache.append(layer, self.split(self.key(x)), self.split(self.value(x)))
        weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)), dim=-1)
        return self.join(torch.bmm(weights, v))


class SoftmaxCrossAttention(Projections):
    def forward(self, x: Tensor, encoded: Tensor, step: Tensor) -> Tensor:  # [1, 1, E], [S, 1, E], [H, 1]
        weights = torch.bmm(self.project_query(x), self.split(self.key(encoded)).transpose(1, 2))  # [H, 1, S]
        weights = torch.softmax(weights.masked_fill(beyond(step, encoded.size(0)), -1e8), dim=-1)
        weights = weights.masked_fill(unmoved(step), 0)
        return self.join(torch.bmm(weights, self.split(self.value(encoded))))


class FixedPreDecision(WaitK):
    """Wait-k over pools of `ratio` states."""

    def __init__(self, shape: SpeechShape):
        super().__init__(shape.k, shape.decoder.heads)
        self.ratio = shape.ratio
        self.pooling = shape.pooling

    def pooled(self, encoded: Tensor) -> Tensor:  # [S, 1, E] -> [P, 1, E]
        keys = encoded.transpose(0, 2)  # [E, 1, S]
        source = keys.size(-1)
        if self.pooling == "average":
            pools = F.avg_pool1d(keys, self.ratio, self.ratio, ceil_mode=True)
        elif source < self.ratio:
            pools = keys
        else:
            pools = keys[:, :, self.ratio - 1::self.ratio].contiguous()
            if source % self.ratio != 0:
                pools = torch.cat([pools, keys[:, :, -1:]], dim=-1)
        pools = pools.transpose(0, 2)
        # The last pool is not full and is not the only one, or "last" took each state for a pool.
        return pools[:-1] if max(1, source // self.ratio) < pools.size(0) else pools

    def choose(self, target: int, encoded: Tensor) -> Tensor:
        source = encoded.size(0)
        pools = self.pooled(encoded).size(0)
        table = torch.ones(1, target, pools).tril(self.k - 1).triu(self.k - 1)
        p_pooled = table[:, -1:].expand(self.heads, -1, -1).contiguous()  # [H, 1, P]
        if self.ratio == 1:
            return p_pooled.squeeze(1)
        # The choice of a pool is at its last state; between them are zeros.
        at_last = F.pad(torch.ones(1, 1, 1), (self.ratio - 1, 0))
        p_choose = F.conv_transpose1d(p_pooled, at_last, stride=self.ratio)
        if p_choose.size(-1) < source:
            p_choose = F.pad(p_choose, (0, source - p_choose.size(-1)))
        else:
            p_choose = p_choose[:, :, :source]
            p_choose[:, :, -1] = p_pooled[:, :, -1]
        return p_choose.squeeze(1)


class Subsampler(nn.ModuleDict):
    """Both convolutions and the linear layer after them."""

    def __init__(self, channels: int, width: int):
        super().__init__({"0": nn.Conv2d(1, channels, 3, stride=2, padding=1),
                          "1": nn.Conv2d(channels, channels, 3, stride=2, padding=1),
                          "out": nn.Linear(channels * MEL_BINS // 4, width)})

    def forward(self, features: Tensor) -> Tensor:  # [T, 80] -> [S, 1, E]
        x = F.relu(self["0"](features.unsqueeze(0).unsqueeze(0)))
        x = F.relu(self["1"](x))  # [1, C, S, 20]
        return self["out"](x.permute(2, 0, 1, 3).contiguous().view(x.size(2), 1, -1))


class SpeechEncoder(nn.Module):
    def __init__(self, shape: SpeechShape):
        super().__init__()
        side = shape.encoder
        self.conv = Subsampler(shape.channels, side.width)
        self.layers = nn.ModuleList([EncoderLayer(side, _encoder_attention(shape)) for _ in range(side.layers)])
        self.positions = Positions(side.width)

    def forward(self, features: Tensor) -> Tensor:
        """The states of the whole segment, [S, 1, E]."""
        x = self.conv(features)
        x = math.sqrt(x.size(-1)) * x
        x = x + self.positions.rows(torch.arange(x.size(0)) + FIRST_POSITION).unsqueeze(1)
        for layer in self.layers:
            x = layer(x)
        return x


def _encoder_attention(shape: SpeechShape) -> nn.Module:
    side = shape.encoder
    return BidirectionalLeap(side, side.width, shape.leap_factor) if shape.encoder_attention == "leap" else \
        BidirectionalSoftmax(side, side.width)


def _decoder_layer(shape: SpeechShape) -> DecoderLayer:
    side, source = shape.decoder, shape.encoder.width
    self_attention = RecurrentAttention(side, side.width, shape.leap_factor) if shape.decoder_attention == "leap" else \
        CachedSoftmax(side, side.width)
    cross_attention = CrossAttention(side, source, shape.leap_factor) if shape.cross_attention == "leap" else \
        SoftmaxCrossAttention(side, source)
    return DecoderLayer(side, self_attention, cross_attention, FixedPreDecision(shape))


class SpeechNetwork(nn.Module):
    def __init__(self, shape: SpeechShape):
        super().__init__()
        self.shape = shape
        self.encoder = SpeechEncoder(shape)
        side = shape.decoder
        self.decoder = Decoder(side, [_decoder_layer(shape) for _ in range(side.layers)])
        self.decoder.embedding = nn.Parameter(torch.empty(side.vocabulary, side.width))
        if not shape.shared_output:
            self.decoder.output = nn.Parameter(torch.empty(side.vocabulary, side.width))

    def target_embedding(self) -> Tensor:
        """The embedding of the decoder's input."""
        return self.decoder.get_parameter("embedding")
