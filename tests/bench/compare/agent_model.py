"""The network that fairseq's LeaPformer fork runs in a text agent, operation for operation.

Parameters are named as in leapstream's weights.safetensors, so that a state dictionary loads strictly. Tensors are time
first, [T, B, E] with B = 1, and heads are the batch of a product, [H, T, K], as in fairseq.

These are copied from the fork on purpose, since its time goes to them:
- The encoder is causal and has no state: it takes the whole source prefix, and its attention is the routine meant for
  training. That computes the S x S weights of sine and cosine, masks them, and takes the denominator from the diagonal
  of two more S x S products with the cumulative sums of the keys.
- Decoder self-attention caches projected keys and values, and makes the features, proportions and K x V sums of all of
  them again at each call.
- Cross-attention projects keys and values of all S encoder states at each call, and its wait-k policy builds an
  H x T x S table of which it uses one row.
"""

import dataclasses
import json
import math
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

END = 2  # </s> in both dictionaries.
FIRST_POSITION = 2  # Row of the first token in fairseq's table of positions.
CLAMP = 0.1  # Least denominator of LeaP attention.


@dataclasses.dataclass(frozen=True)
class Side:
    """The encoder or the decoder."""

    width: int = 512
    ffn_width: int = 2048
    heads: int = 8
    layers: int = 6
    vocabulary: int = 6000
    normalize_before: bool = True
    final_norm: bool = True


@dataclasses.dataclass(frozen=True)
class Shape:
    """The shape of leapstream's bench; LeaP in all blocks, pre-norm, final norms, sinusoidal positions, relu."""

    encoder: Side = Side()
    decoder: Side = Side()
    leap_factor: int = 4
    shared_embedding: bool = True
    k: int = 3

    @staticmethod
    def of_model(directory: Path) -> "Shape":
        """The shape of a model directory; ValueError if it is of a kind that this network leaves out."""
        config = json.loads((directory / "model.json").read_text())
        wanted = {"simul_type": "waitk", "activation_fn": "relu", "cross_normaliser": "linear", "causal_encoder": True,
                  "mass_preservation": True, "scale_embedding": True, "share_decoder_input_output_embed": True}
        side_wanted = {"self_attention": "leap", "normalize_before": True, "final_norm": True, "shared_layers": [],
                       "layernorm_embedding": False, "positions": "sinusoidal"}
        expect(config, wanted)
        expect(config["encoder"], side_wanted)
        expect(config["decoder"], side_wanted | {"cross_attention": "leap"})
        return Shape(side_of(config["encoder"]), side_of(config["decoder"]), config["leap_factor"],
                     config["share_all_embeddings"], config["waitk_lagging"])


def expect(config: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key, value in wanted.items():
        if config[key] != value:
            raise ValueError(f"{key} is {config[key]!r}; this network is written for {value!r} only")


def side_of(config: dict[str, Any]) -> Side:
    return Side(config["embed_dim"], config["ffn_embed_dim"], config["attention_heads"], config["layers"],
                config["vocabulary_size"], config["normalize_before"], config["final_norm"])


class Cache:
    """The decoder's memory between two calls of one sentence."""

    def __init__(self, layers: int):
        self.keys: list[Tensor | None] = [None] * layers  # [H, T, K], before the feature map.
        self.values: list[Tensor | None] = [None] * layers  # [H, T, V].
        # Recurrent LeaP has these instead of keys and values.
        self.sums: list[tuple[Tensor, ...] | None] = [None] * layers
        self.steps: list[Tensor | None] = [None] * layers  # [H, 1]: wait-k's position in the source.

    def copy(self) -> "Cache":
        """Returns an independent cache: the calls replace tensors and never write into them."""
        copied = Cache(0)
        copied.keys, copied.values, copied.steps = list(self.keys), list(self.values), list(self.steps)
        copied.sums = list(self.sums)
        return copied

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Appends, and returns all keys and values."""
        past_key, past_value = self.keys[layer], self.values[layer]
        if past_key is not None and past_value is not None:
            k, v = torch.cat([past_key, k], dim=1), torch.cat([past_value, v], dim=1)
        self.keys[layer], self.values[layer] = k, v
        return k, v

    def drop_last(self, layer: int) -> None:
        """Drops the last key and value. It drops nothing of a recurrent layer, whose sums the agent puts back."""
        key, value = self.keys[layer], self.values[layer]
        if key is None or value is None:
            return
        self.keys[layer] = key[:, :-1] if key.size(1) > 1 else None
        self.values[layer] = value[:, :-1] if value.size(1) > 1 else None


@dataclasses.dataclass
class DecoderCall:
    """The input of one call of the decoder."""

    token: int  # The last token.
    position: int  # Position of `token`, from 0.
    target: int  # Number of the next target token, from 1; wait-k counts these.
    embedding: Tensor
    encoded: Tensor  # [S, 1, E]
    cache: Cache
    online: bool  # The source may go on.


class Projections(nn.Module):
    """Common to all kinds of attention."""

    def __init__(self, side: Side, source_width: int):
        super().__init__()
        self.heads = side.heads
        self.query = nn.Linear(side.width, side.width)
        self.key = nn.Linear(source_width, side.width)
        self.value = nn.Linear(source_width, side.width)
        self.output = nn.Linear(side.width, side.width)

    def split(self, x: Tensor) -> Tensor:  # [T, 1, E] -> [H, T, K]
        return x.contiguous().view(x.size(0), self.heads, -1).transpose(0, 1)

    def join(self, x: Tensor) -> Tensor:  # [H, T, V] -> [T, 1, E]
        return self.output(x.transpose(0, 1).contiguous().view(x.size(1), 1, -1))

    def project_query(self, x: Tensor) -> Tensor:
        q = self.query(x)
        return self.split(q * (q.size(-1) // self.heads) ** -0.5)


class Leap(Projections):
    """Adds feature maps and proportions."""

    def __init__(self, side: Side, source_width: int, leap_factor: int):
        super().__init__(side, source_width)
        self.query_proportion = _proportion(side, leap_factor)
        self.key_proportion = _proportion(side, leap_factor)

    @staticmethod
    def features(x: Tensor, proportion: nn.Module) -> tuple[Tensor, Tensor]:  # 2 x [H, T, K]
        x = F.relu(x)
        p = proportion(x)
        return x * torch.sin(math.pi / 2 * p), x * torch.cos(math.pi / 2 * p)

    def attend_to_all(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Sums over all keys, then queries: fairseq's routine for inference without a mask."""
        q_sin, q_cos = self.features(q, self.query_proportion)
        k_sin, k_cos = self.features(k, self.key_proportion)
        sums = (torch.bmm(k_sin.transpose(1, 2), v), torch.bmm(k_cos.transpose(1, 2), v),
                k_sin.unsqueeze(-1).sum(dim=1), k_cos.unsqueeze(-1).sum(dim=1))
        return self.attend_to_sums(q_sin, q_cos, sums)

    def attend_to_sums(self, q_sin: Tensor, q_cos: Tensor, sums: tuple[Tensor, ...]) -> Tensor:
        sums_sin, sums_cos, norm_sin, norm_cos = sums  # 2 x [H, K, V], 2 x [H, K, 1]
        numerator = torch.bmm(q_sin, sums_sin) + torch.bmm(q_cos, sums_cos)
        denominator = torch.bmm(q_sin, norm_sin) + torch.bmm(q_cos, norm_cos)
        return self.join(numerator / denominator.clamp_min(CLAMP))


def _proportion(side: Side, leap_factor: int) -> nn.Sequential:
    width = side.width // side.heads
    return nn.Sequential(OrderedDict(
        hidden=nn.Linear(width, width // leap_factor), relu=nn.ReLU(),
        out=nn.Linear(width // leap_factor, 1), sigmoid=nn.Sigmoid()))


class CausalAttention(Leap):
    def forward(self, x: Tensor) -> Tensor:  # [S, 1, E]
        # The mask is made anew in each layer: 1s above the diagonal, then -inf, then -1e8. Only non-zero counts.
        mask = x.new_ones([x.size(0), x.size(0)]).triu(1)
        mask = mask.masked_fill(mask.bool(), float("-inf"))
        mask = mask.masked_fill(mask.to(torch.bool), -1e8)
        q, k, v = self.project_query(x), self.split(self.key(x)), self.split(self.value(x))
        q_sin, q_cos = self.features(q, self.query_proportion)
        k_sin, k_cos = self.features(k, self.key_proportion)
        weights = torch.bmm(q_sin, k_sin.transpose(1, 2)) + torch.bmm(q_cos, k_cos.transpose(1, 2))
        numerator = torch.bmm(weights.masked_fill(mask.to(torch.bool), 0), v)
        sums_sin, sums_cos = torch.cumsum(k_sin, dim=1).transpose(1, 2), torch.cumsum(k_cos, dim=1).transpose(1, 2)
        every_pair = torch.bmm(q_sin, sums_sin) + torch.bmm(q_cos, sums_cos)  # [H, S, S]
        denominator = torch.diagonal(every_pair, dim1=1, dim2=2).unsqueeze(-1)
        return self.join(numerator / denominator.clamp_min(CLAMP))


class DecoderAttention(Leap):
    def forward(self, x: Tensor, cache: Cache, layer: int) -> Tensor:  # [1, 1, E]
        q, k, v = self.project_query(x), self.split(self.key(x)), self.split(self.value(x))
        k, v = cache.append(layer, k, v)
        return self.attend_to_all(q, k, v)


class CrossAttention(Leap):
    def forward(self, x: Tensor, encoded: Tensor, step: Tensor) -> Tensor:  # [1, 1, E], [S, 1, E], [H, 1]
        q_sin, q_cos = self.features(self.project_query(x), self.query_proportion)
        k_sin, k_cos = self.features(self.split(self.key(encoded)), self.key_proportion)
        weights = torch.bmm(q_sin, k_sin.transpose(1, 2)) + torch.bmm(q_cos, k_cos.transpose(1, 2))  # [H, 1, S]
        weights = weights.masked_fill(beyond(step, encoded.size(0)), 0)
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp_min(CLAMP)
        weights = weights.masked_fill(unmoved(step), 0)
        return self.join(torch.bmm(weights, self.split(self.value(encoded))))


def beyond(step: Tensor, source: int) -> Tensor:
    """[H, 1, S]: the states after the one where a head stands."""
    return torch.arange(source).expand(step.size(0), -1).gt(step).unsqueeze(1)


def unmoved(step: Tensor) -> Tensor:
    """[H, 1, 1]. fairseq: a head that has not moved attends to nothing."""
    return step.eq(0).unsqueeze(1)


class WaitK:
    """Finds where the heads stop in the source, in the way of fairseq's monotonic attention."""

    def __init__(self, k: int, heads: int):
        self.k = k
        self.heads = heads

    def choose(self, target: int, encoded: Tensor) -> Tensor:
        """[H, S]: 1 where target token `target` (from 1) stops, 0 where it goes on."""
        source = encoded.size(0)
        if source < self.k:
            return torch.zeros(self.heads, source)
        stops = (torch.arange(target) * (source + 1) + self.k - 1).unsqueeze(0).expand(self.heads, target).long()
        stops = stops.clamp(0, min(target, source - self.k + 1) * source - 1)
        table = torch.zeros(self.heads, target * source).scatter(1, stops, 1.0)
        return table.view(self.heads, target, source)[:, -1:].float().squeeze(1)

    def step(self, target: int, encoded: Tensor, step: Tensor | None) -> tuple[Tensor, bool]:
        """The heads' positions, [H, 1], and whether one wants to READ."""
        p_choose = self.choose(target, encoded)
        source = encoded.size(0)
        last = source - 1
        step = torch.zeros(self.heads, 1, dtype=torch.long) if step is None else step.clone()
        if False in (last > step):
            step = torch.full((self.heads, 1), last)
        done = step.eq(last)
        while done.sum().item() < self.heads:
            p = p_choose.gather(1, step.clamp(0, last))
            going_on = (p < 0.5).type_as(step).masked_fill(done, 0)
            step = step + going_on
            done = step.eq(last) | (going_on == 0)
        p = p_choose.gather(1, step.clamp(0, last))
        # fairseq scatters this hard alignment too, and a soft attention then ignores it.
        p_choose.new_zeros([self.heads, source]).scatter(1, step.clamp(0, last), 1)
        return step, bool((step.eq(last) & (p < 0.5)).any())


def _ffn(side: Side) -> nn.Sequential:
    return nn.Sequential(OrderedDict(hidden=nn.Linear(side.width, side.ffn_width), relu=nn.ReLU(),
                                     out=nn.Linear(side.ffn_width, side.width)))


class Positions:
    """fairseq's table of sinusoidal positions: sines, then cosines."""

    def __init__(self, width: int, count: int = 4096):
        half = width // 2
        rate = torch.exp(torch.arange(half, dtype=torch.float) * -(math.log(10000) / (half - 1)))
        angle = torch.arange(count, dtype=torch.float).unsqueeze(1) * rate.unsqueeze(0)
        self.table = torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)

    def rows(self, positions: Tensor) -> Tensor:
        return self.table.index_select(0, positions)


class Layer(nn.Module):
    def __init__(self, side: Side, self_attention: nn.Module):
        super().__init__()
        self.normalize_before = side.normalize_before
        self.self_attention = self_attention
        self.self_attention_norm = nn.LayerNorm(side.width)
        self.ffn = _ffn(side)
        self.ffn_norm = nn.LayerNorm(side.width)

    def residual(self, x: Tensor, norm: nn.Module, block: Callable[[Tensor], Tensor]) -> Tensor:
        return x + block(norm(x)) if self.normalize_before else norm(x + block(x))


class EncoderLayer(Layer):
    def forward(self, x: Tensor) -> Tensor:
        x = self.residual(x, self.self_attention_norm, self.self_attention)
        return self.residual(x, self.ffn_norm, self.ffn)


class DecoderLayer(Layer):
    def __init__(self, side: Side, self_attention: nn.Module, cross_attention: nn.Module, waitk: WaitK):
        super().__init__(side, self_attention)
        self.waitk = waitk
        self.cross_attention = cross_attention
        self.cross_attention_norm = nn.LayerNorm(side.width)

    def forward(self, x: Tensor, call: DecoderCall, layer: int) -> tuple[Tensor, bool]:
        cache, encoded = call.cache, call.encoded
        x = self.residual(x, self.self_attention_norm, lambda h: self.self_attention(h, cache, layer))
        step, wants_to_read = self.waitk.step(call.target, encoded, cache.steps[layer])
        cache.steps[layer] = step
        x = self.residual(x, self.cross_attention_norm, lambda h: self.cross_attention(h, encoded, step))
        return self.residual(x, self.ffn_norm, self.ffn), wants_to_read


class Encoder(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        side = shape.encoder
        self.embedding = nn.Parameter(torch.empty(side.vocabulary, side.width))
        self.layers = nn.ModuleList([
            EncoderLayer(side, CausalAttention(side, side.width, shape.leap_factor)) for _ in range(side.layers)])
        self.norm = nn.LayerNorm(side.width)
        self.positions = Positions(side.width)

    def forward(self, tokens: list[int]) -> Tensor:
        """The states of the whole source prefix, [S, 1, E]."""
        ids = torch.tensor([tokens])
        x = math.sqrt(self.embedding.size(1)) * F.embedding(ids, self.embedding)
        x = (x + self.positions.rows(torch.arange(len(tokens)) + FIRST_POSITION)).transpose(0, 1)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Decoder(nn.Module):
    def __init__(self, side: Side, layers: list[DecoderLayer]):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(side.width) if side.final_norm else nn.Identity()
        self.positions = Positions(side.width)

    def forward(self, call: DecoderCall) -> tuple[Tensor, bool]:
        """Logits [1, 1, N] of the next target token, and whether to READ instead.

        While the source goes on, the first layer with a head that wants to READ ends the call; the logits are then of
        no use, but fairseq computes them.
        """
        x = math.sqrt(call.embedding.size(1)) * F.embedding(torch.tensor([[call.token]]), call.embedding)
        x = (x + self.positions.rows(torch.tensor([call.position + FIRST_POSITION]))).transpose(0, 1)
        reads = False
        for i, layer in enumerate(self.layers):
            x, wants_to_read = layer(x, call, i)
            if call.online and wants_to_read:
                reads = True
                for done in range(i + 1):
                    call.cache.drop_last(done)
                break
        # The output matrix is the embedding, unless the model has one of its own.
        return F.linear(self.norm(x).transpose(0, 1), getattr(self, "output", call.embedding)), reads


class Network(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.encoder = Encoder(shape)
        side = shape.decoder
        layers = [DecoderLayer(side, DecoderAttention(side, side.width, shape.leap_factor),
                               CrossAttention(side, shape.encoder.width, shape.leap_factor), WaitK(shape.k, side.heads))
                  for _ in range(side.layers)]
        self.decoder = Decoder(side, layers)
        if not shape.shared_embedding:
            self.decoder.embedding = nn.Parameter(torch.empty(side.vocabulary, side.width))

    def target_embedding(self) -> Tensor:
        """The embedding of the decoder's input and output."""
        return getattr(self.decoder, "embedding", self.encoder.embedding)
