#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets to tests/fuzz/corpus: small, valid inputs of each kind.

Further inputs that a fuzzing run finds stay in .cache/fuzz; an input that crashed is added to the corpus by hand.
"""
import collections
import io
import json
import pathlib
import pickle
import struct
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests/fuzz/corpus"


def write(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def parts(*chunks):
    """Parts in the form that FuzzParts() in fuzz_input.h reads."""
    return b"".join(struct.pack("<H", len(chunk)) + chunk for chunk in chunks)


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    """A field of protobuf's wire format: bytes, or a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def hypotheses():
    """By format: the first byte has its number, less one than the agreement, and whether pauses end segments."""
    streams = [
        ("json", b'{"text": "a b c", "stable_words": 1}\n', b'{"text": "a b c d."}\n{"text": "A b c d.", "final": true}'),
        ("vosk", b'{\n  "partial" : "one t', b'wo"\n}\n{\n  "text" : "one two"\n}\n'),
        ("google", b'{"results": [{"alternatives": [{"transcript": "to be"}], "stability": 1.0},',
         b'{"alternatives": [{"transcript": " or"}]}]}\n{"results": [{"alternatives": [], "isFinal": true}]}'),
        ("azure", b'{"Text": "this is"}\n{"RecognitionStatus": "Success", ', b'"DisplayText": "This is."}\n'),
        ("aws", b'{"Transcript": {"Results": [{"Alternatives": [{"Items": [{"Content": "Well", "Stable": true}], ',
         b'"Transcript": "Well, I"}], "IsPartial": true}]}}\n'),
        ("deepgram", b'{"channel": {"alternatives": [{"transcript": "another big"}]}, "is_final": true, ',
         b'"speech_final": false, "start": 0, "duration": 1.5}\n'),
        ("whisper_streaming", b"26.4 300 1380 Chairman, thank you.\n51.2 2400 ", b"2900 If\r\n"),
        ("simulstreaming", b'{"text": " Good mor", "start": 0}\n{"text": "ning.", "is_final": true}\n',
         "5 6 7 今天\n".encode())]
    return {name: bytes([number | (number % 3) << 3 | (number % 2) << 5]) + parts(*chunks)
            for number, (name, *chunks) in enumerate(streams)}


class FakeStorage:
    pass


def pickles():
    value = collections.OrderedDict(args={"arch": "transformer", "layers": [1, 2, -3], "lr": 0.25, "none": None})
    value["model"] = {"a": (1, b"bytes", "text", True), "set": {1, 2}, "big": 1 << 70}
    return {f"protocol{protocol}": pickle.dumps(value, protocol) for protocol in (2, 3, 4, 5)}


def torch_pickle():
    """torch.save() of {"model": {"w": a [2, 3] tensor}}, as opcodes."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89" + \
        b"ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}X\x05\x00\x00\x00model}X\x01\x00\x00\x00w" + tensor + b"ss."


def zips():
    entries = {"archive/data.pkl": torch_pickle(), "archive/version": b"3\n", "archive/data/0": bytes(24)}
    for name, compression in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", compression) as archive:
            for entry, data in entries.items():
                archive.writestr(zipfile.ZipInfo(entry), data)
        yield name, out.getvalue()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for entry, data in entries.items():
            with archive.open(zipfile.ZipInfo(entry), "w", force_zip64=True) as file:
                file.write(data)
    yield "zip64", out.getvalue()


def old_torch_file():
    """A file of PyTorch's format from before 1.6: {"t": a 2 x 2 tensor, transposed, of storage 7}."""
    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value
    storage = b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"7") + text(b"cpu") + b"K\x05NtQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x01K\x02K\x02\x86K\x01K\x02\x86\x89)tR"
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    return b"".join([
        pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2), pickle.dumps(machine, 2),
        b"\x80\x02}" + text(b"t") + tensor + b"s.", pickle.dumps(["7"], 2),
        struct.pack("<q", 5), struct.pack("<5f", 9, 1, 2, 3, 4)])


def language_options():
    yield "nllb", parts(b"langs", b"[ace_Arab, pes_Arab]", b"langtoks", b"{main: [src, tgt]}",
                        b"langtoks_specs", b"[main]")
    yield "mbart", parts(b"langs", b"en_XX,de_DE", b"lang_tok_style", b"mbart", b"encoder_langtok", b"src",
                         b"decoder_langtok", b"True", b"source_lang", b"en_XX", b"target_lang", b"de_DE")
    yield "pairs", parts(b"lang_pairs", b"de-en,fr-en", b"encoder_langtok", b"tgt", b"source_lang", b"de",
                         b"target_lang", b"en", b"lang_tok_replacing_bos_eos", b"True")


def safetensors():
    header = json.dumps({
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "F16", "shape": [2], "data_offsets": [24, 28]},
        "c": {"dtype": "I64", "shape": [], "data_offsets": [28, 36]},
    }).encode()
    return struct.pack("<Q", len(header)) + header + bytes(36)


def model_json():
    model = json.loads((ROOT / "model/pretrained/en-de/model.json").read_text())
    model["sha256"] = {}
    model["fairseq_options"] = {}
    return json.dumps(model, indent=1).encode()


def folders():
    """The JSON files of Hugging Face folders, small."""
    config = {"model_type": "marian", "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "vocab_size": 729,
              "activation_function": "swish", "eos_token_id": 0, "pad_token_id": 728, "scale_embedding": True,
              "bad_words_ids": [[728]], "normalize_before": False, "_name_or_path": "a/b"}
    tokenizer = {"source_lang": "en", "target_lang": "de", "tokenizer_class": "MarianTokenizer",
                 "added_tokens_decoder": {"7": {"content": "x", "special": True}}}
    files = (config, tokenizer, {"repetition_penalty": 1.0, "eos_token_id": [2]}, {"<mask>": 9},
             {"additional_special_tokens": ["<mask>"]})
    yield "folder_config", "marian", parts(*(json.dumps(file).encode() for file in files))
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "\u2581a": 4, "\u00e4 b": 5}
    yield "vocabulary_json", "small", json.dumps(vocabulary).encode()
    index = {"metadata": {"total_size": 8}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    yield "shard_index", "two", json.dumps(index).encode()
    yield "model_card", "nllb", b"---\nlanguage:\n- ace\nlicense: cc-by-nc-4.0\nbase_model: [a/b]\n---\n# NLLB\n"


def requests():
    config = field(1, b"")
    wait_k = field(1, field(4, field(1, field(1, 2) + field(2, 2)) + field(3, 20)) + field(6, field(1, 1) + field(3, 1)))
    text = [field(2, field(1, n) + field(2, word)) for n, word in enumerate((b"hello ", b"wor", b"ld \xc3\xa4 "), 1)]
    yield "text", parts(config, *text)
    yield "wait_k", parts(wait_k, *text, field(3, b""), field(4, b""), field(2, field(2, b"again")))
    yield "offline", parts(field(1, field(4, field(2, b""))), *text)
    yield "pieces", parts(field(1, field(5, 2)), field(2, field(3, field(1, b"\xe2\x96\x81a") + field(1, b"b"))))
    yield "token_ids", parts(field(1, field(5, 3)), field(2, field(4, field(1, bytes([4, 5, 6, 7])))))
    resume = field(1, b"0" * 32) + field(2, b"token") + field(3, field(1, bytes([9, 8]))) + field(4, 1)
    yield "resume", parts(field(1, field(8, resume)), *text)
    yield "bad_utf8", parts(config, field(2, field(2, b"\xff\xfe ")))
    yield "not_protobuf", parts(config, b"\xff\xff\xff")


def main():
    for name, data in pickles().items():
        write("pickle", name, data)
    write("pickle", "torch", torch_pickle())
    for name, data in zips():
        write("zip", name, data)
        write("torch_file", name, data)
    write("torch_file", "old", old_torch_file())
    for name, data in language_options():
        write("languages", name, data)
    write("safetensors", "three", safetensors())
    write("model_json", "en-de", model_json())
    for tag in ("zh-Hant-TW", "zh-yue", "deu_Latn", "pt", "sr-Cyrl-RS"):
        write("languages", tag, tag.encode())
    write("vocabulary", "small", "▁the 10\n▁a 9\n\u00e4 3\nx y 1\n▁the 1 #fairseq:overwrite\n".encode())
    write("config", "all_keys", (ROOT / "configs/server.yaml").read_bytes())
    write("config", "small", b"listen: '127.0.0.1:0'\nmodels: [a, b]\nlog_text: true\nidle_timeout: 1m\n")
    write("config", "anchors", b"models: &m [a]\nlog_level: !!str info\nlisten: *m\n? {a: b}\n: c\n")
    write("sentences", "lists", b"\0" + parts("Mr. Smith. ".encode(), "He saw plan B. \"Th".encode(), "en. 3. Mai\n\nx".encode()))
    write("sentences", "icu", b"\1" + parts("Oui ! ".encode(), "» dit M. Dupont. Il".encode(), " est".encode()))
    write("sentences", "unspaced", b"\2" + parts("你好。".encode(), "”是吗?！好".encode(), ("字" * 120).encode()))
    write("text_source", "words", parts("two wo".encode(), "rds\u2003and \u00e4".encode()[:-1], b"\xa4 x", b"\x1c\n"))
    write("text_source", "broken", parts(b"a \xe2\x80", b"b \xf0\x9f\x98", b"\x80"))
    for name, data in hypotheses().items():
        write("hypotheses", name, data)
    pieces = ["▁Hallo", "▁", "<0xC3>", "<0xA4>", "<0xF0>", "<0x9F>", "▁Welt", "<unk>", "▁▁x", "!", "unknown-piece"]
    write("text_sink", "pieces", parts(*(piece.encode() for piece in pieces)))
    write("text_sink", "bytes", parts(*(f"<0x{byte:02X}>".encode() for byte in (0xE2, 0x96, 0x81, 0xE2, 0x41, 0xFF))))
    for target, name, data in folders():
        write(target, name, data)
    for name, data in requests():
        write("request", name, data)


if __name__ == "__main__":
    main()
