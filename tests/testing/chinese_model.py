"""Makes a model whose target is written without spaces from the embedded one: each target piece is
renamed to a Chinese character, so that translations are the same, with one character for a piece.

    python3 tests/testing/chinese_model.py model/pretrained/en-de OUTPUT
"""
import hashlib
import json
import pathlib
import shutil
import sys

SPECIAL = {"<s>", "</s>", "<unk>", "<pad>"}
PUNCTUATION = {".": "。", ",": "，", "?": "？", "!": "！", ":": "：", ";": "；"}


def character(index, piece):
    bare = piece.replace("\u2581", "")
    if bare in PUNCTUATION and piece != "\u2581" + bare:
        return PUNCTUATION[bare]
    return chr(0x4E00 + index)  # From U+4E00 on, all are Han.


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def encoded(value):
    result = bytearray()
    while value >= 0x80:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def fields(data):
    """(number, wire type, bytes of the value, bytes of the whole field) of a protobuf message."""
    at = 0
    while at < len(data):
        begin = at
        key, at = varint(data, at)
        if key & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        elif key & 7 == 0:
            start = at
            _, at = varint(data, at)
            value = data[start:at]
        else:
            size = 4 if key & 7 == 5 else 8
            value, at = data[at : at + size], at + size
        yield key >> 3, key & 7, value, data[begin:at]


def renamed(model, names):
    """A SentencePiece model with its pieces renamed: field 1 of ModelProto, and of each piece."""
    result = bytearray()
    for number, _, value, whole in fields(model):
        if number != 1:
            result += whole
            continue
        piece = bytearray()
        for inner, _, text, part in fields(value):
            if inner == 1:
                text = names.get(text.decode(), text.decode()).encode()
                part = encoded(1 << 3 | 2) + encoded(len(text)) + text
            piece += part
        result += encoded(1 << 3 | 2) + encoded(len(piece)) + piece
    return bytes(result)


def main():
    source, output = map(pathlib.Path, sys.argv[1:3])
    shutil.copytree(source, output)
    lines = (source / "target.dict.txt").read_text().splitlines()
    pieces = [line.rsplit(" ", 1)[0] for line in lines]
    names = {p: character(i, p) for i, p in enumerate(pieces) if p not in SPECIAL}
    dictionary = [f"{names.get(p, p)} {line.rsplit(' ', 1)[1]}" for p, line in zip(pieces, lines)]
    (output / "target.dict.txt").write_text("\n".join(dictionary) + "\n")
    model = (source / "target.spm.model").read_bytes()
    (output / "target.spm.model").write_bytes(renamed(model, names))
    config = json.loads((source / "model.json").read_text())
    config["target_language"] = "zh"
    for name in config["sha256"]:
        config["sha256"][name] = hashlib.sha256((output / name).read_bytes()).hexdigest()
    (output / "model.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
