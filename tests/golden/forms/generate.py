"""Checkpoints in forms that no file of the trainer here has: the output of torch.save() for odd options and
for tensors that no model needs. One tiny network (transformer_monotonic, width 8), the same in all.

Usage: generate.py OUT   (torch 2.3.1, numpy 1.26.4; no fairseq)
"""
import argparse
import collections
import datetime
import enum
import functools
import pathlib
import sys
import zipfile

import numpy as np
import torch


class StateDict(collections.OrderedDict):
    """A class of its own, like a training framework's."""


class Kind(enum.Enum):
    WAITK = "waitk"


OPTIONS = dict(
    arch="transformer_monotonic", task="simul_text_to_text", source_lang="en", target_lang="de",
    simul_type="waitk", waitk_lagging=3, mass_preservation=True,
    encoder_embed_dim=8, encoder_ffn_embed_dim=12, encoder_layers=1, encoder_attention_heads=2,
    encoder_normalize_before=True, decoder_embed_dim=8, decoder_ffn_embed_dim=12, decoder_layers=1,
    decoder_attention_heads=2, decoder_normalize_before=True, decoder_output_dim=8,
    share_decoder_input_output_embed=True, activation_fn="relu", max_source_positions=64,
    max_target_positions=64)
VOCABULARY, WIDTH, HIDDEN = 12, 8, 12


def model():
    torch.manual_seed(1)
    result = collections.OrderedDict()

    def linear(name, out, width):
        result[name + ".weight"] = torch.randn(out, width)
        result[name + ".bias"] = torch.randn(out)

    def norm(name):
        result[name + ".weight"] = torch.randn(WIDTH)
        result[name + ".bias"] = torch.randn(WIDTH)

    for side in ("encoder", "decoder"):
        result[side + ".version"] = torch.Tensor([3])
        result[side + ".embed_tokens.weight"] = torch.randn(VOCABULARY, WIDTH)
        layer = side + ".layers.0."
        attentions = ["self_attn"] if side == "encoder" else ["self_attn", "encoder_attn"]
        for attention in attentions:
            for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
                linear(layer + attention + "." + projection, WIDTH, WIDTH)
            norm(layer + attention + "_layer_norm")
        linear(layer + "fc1", HIDDEN, WIDTH)
        linear(layer + "fc2", WIDTH, HIDDEN)
        norm(layer + "final_layer_norm")
        norm(side + ".layer_norm")
    return result


def checkpoint(options, state=None, **others):
    result = {"args": argparse.Namespace(**options), "model": model() if state is None else state}
    result.update(others)
    return result


def numpy_options():
    result = dict(OPTIONS)
    for name, value in OPTIONS.items():
        if isinstance(value, bool):
            result[name] = np.bool_(value)
        elif isinstance(value, int):
            result[name] = [np.int64, np.int32, np.uint8, np.int16][len(name) % 4](value)
        elif name in ("activation_fn", "source_lang"):
            result[name] = np.str_(value)
    result["dropout"] = np.float64(0.25)
    result["attention_dropout"] = np.float16(0.5)
    result["lr"] = np.array([0.5, 0.25], dtype=np.float32)
    result["seed"] = np.array(7)
    return result


def odd_options():
    result = dict(OPTIONS)
    result["encoder_embed_dim"] = torch.tensor(8)
    result["decoder_layers"] = torch.tensor([1], dtype=torch.int32)
    result["encoder_normalize_before"] = torch.tensor(True)
    result["simul_type"] = Kind.WAITK
    result["user_dir"] = pathlib.PurePosixPath("/home/somebody/code")
    result["seed"] = 2**100
    result["lr"] = (0.5, {"a": frozenset([1])})
    result["source_lang"] = b"en"
    return result


def odd_tensors():
    values = torch.arange(6.0).reshape(2, 3)
    state = {"complex": torch.complex(values, values), "complex128": torch.zeros(2, dtype=torch.complex128)}
    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
                 "float8_e5m2fnuz", "bool", "int8",
                 "bfloat16"):
        state[name] = torch.ones(3).to(getattr(torch, name))
    state["quantised"] = torch.quantize_per_tensor(values, 0.1, 0, torch.qint8)
    state["channels"] = torch.quantize_per_channel(values, torch.ones(2), torch.zeros(2), 0, torch.quint8)
    state["sparse"] = values.to_sparse()
    state["csr"] = values.to_sparse_csr()
    state["meta"] = torch.empty(3, device="meta")
    state["parameter"] = torch.nn.Parameter(values)
    state["buffer"] = torch.nn.UninitializedParameter()
    state["storage"] = torch.ones(4).untyped_storage()
    state["typed"] = torch.ones(4).storage()
    return state


def odd_objects():
    return {"when": datetime.datetime(2026, 11, 29, 23, 0), "counter": collections.Counter("abca"),
            "default": collections.defaultdict(list, {1: [2]}), "deque": collections.deque([1, 2]),
            "size": torch.Size([1, 2]), "device": torch.device("cuda", 1), "dtype": torch.float16,
            "partial": functools.partial(int, "7"), "slice": slice(1, 2), "complex": 1 + 2j,
            "big": -(2**4000), "set": {1, 2}, "bytes": bytearray(b"xyz"), "path": pathlib.PurePosixPath("a/b"),
            "array": np.arange(4), "records": np.zeros(2, dtype=[("a", "i4")]), "rng": np.random.RandomState(1).get_state(),
            "kind": Kind.WAITK, "ellipsis": ..., "delta": datetime.timedelta(1), "text": "\ud800"}


def without_crc(path):
    with zipfile.ZipFile(path) as archive:
        entries = [(e.filename, e.header_offset) for e in archive.infolist()]
        start = archive.start_dir
    data = bytearray(path.read_bytes())
    for _, offset in entries:
        data[offset + 14:offset + 18] = bytes(4)
    for _ in entries:
        data[start + 16:start + 20] = bytes(4)
        start += 46 + sum(int.from_bytes(data[start + at:start + at + 2], "little") for at in (28, 30, 32))
    path.write_bytes(data)


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint(OPTIONS), out / "plain.pt")
    for protocol in (2, 4):
        torch.save(checkpoint(numpy_options()), out / f"numpy_options.{protocol}.pt", pickle_protocol=protocol)
        torch.save(checkpoint(odd_options()), out / f"odd_options.{protocol}.pt", pickle_protocol=protocol)
        torch.save(checkpoint(OPTIONS, last_optimizer_state=odd_tensors(), extra_state=odd_objects()),
                   out / f"odd_values.{protocol}.pt", pickle_protocol=protocol)
    torch.save(checkpoint(OPTIONS, StateDict(model())), out / "state_dict_class.pt")
    state = model()
    state["encoder.embed_positions._float_tensor"] = torch.zeros(1, dtype=torch.complex64)
    torch.save(checkpoint(OPTIONS, state), out / "ignored_complex.pt")
    state = model()
    state["encoder.layer_norm.bias"] = state["encoder.layer_norm.bias"].to(torch.float8_e5m2)
    torch.save(checkpoint(OPTIONS, state), out / "float8_weight.pt")
    state["encoder.layer_norm.bias"] = torch.zeros(8, dtype=torch.complex64)
    torch.save(checkpoint(OPTIONS, state), out / "complex_weight.pt")
    torch.save(checkpoint(OPTIONS), out / "no_crc.pt")
    without_crc(out / "no_crc.pt")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
