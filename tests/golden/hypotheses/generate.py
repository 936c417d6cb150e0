#!/usr/bin/env python3
"""Writes streams.jsonl: streams of hypotheses, and what the example client in Python makes of them.

usage: generate.py (in this folder). README.md says what the streams are.
"""
import json, pathlib, random, sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "client/python/leapstream"))
from stable_source import StableSource

SENTENCES = [
    "This package contains the documentation, in HTML.",
    "You can only modify Presentation Styles.",
    "Enter the text that you want to use as a separator.",
    "It's 5 o'clock; 20% of the files — all of them old — were deleted!",
    "Was heißt „Größe“ auf Englisch?",
    "今天天气很好，我们去公园吧。",
    "이 꾸러미는 설명서를 담고 있습니다.",
    "Je vais bien ! Et vous ?",
]
SOUNDS_LIKE = ["the", "a", "to", "two", "of", "off", "style", "files", "in", "and"]


def plain(word):  # As a recogniser without punctuation writes it.
    return "".join(c for c in word.lower() if c.isalnum() or c in "'%")


def utterance(random, sentence, punctuated):
    """The error model, for each hypothesis anew: the newest word is cut off with probability 0.3; the last word is
    another with probability 0.25, the one before with 0.12, the third from the end with 0.05. Besides, each word is
    with probability 0.03 another in all hypotheses but the final one. Only the final one has case and punctuation."""
    spaced = " " in sentence
    words = [w for w in (plain(word) for word in (sentence.split() if spaced else sentence)) if w]
    wrong = [random.choice(SOUNDS_LIKE) if random.random() < 0.03 else word for word in words]
    read = 0
    while read < len(words):
        read = min(len(words), read + random.choice((0, 1, 1, 1, 2)))
        heard = wrong[:read]
        for place, chance in ((1, 0.25), (2, 0.12), (3, 0.05)):
            if read >= place and random.random() < chance:
                heard[-place] = random.choice(SOUNDS_LIKE)
        if heard and random.random() < 0.3:
            heard[-1] = heard[-1][:random.randint(1, len(heard[-1]))]
        step = {"text": (" " if spaced else "").join(heard)}
        if random.random() < 0.1:  # As AWS does it; the promise is kept for words that are not wrong.
            step["stable_words"] = max(0, read - 4) if spaced and wrong == words else 0
        yield step
    yield {"text": sentence if punctuated else (" " if spaced else "").join(words), "final": True}


def simulated(seed):
    generator = random.Random(seed)
    steps = []
    for _ in range(3):
        steps += utterance(generator, generator.choice(SENTENCES), generator.random() < 0.6)
    if generator.random() < 0.3:
        steps.pop()  # The stream breaks off.
    return steps


WILD = list("abAB") + [
    "été", "ÉTÉ", "İ", "ß", "ẞ", "Σ", "ς", "it's", "it’s", "IT'S", "5%", "#x", "a,", "“b”", "(c)", "—", "!", "…", "«", "»",
    "今", "天", "。", "、", "「好」", "カ", "ｶ", "ไทย", "한국", "Linux系统", "x\u0301", "\u200bz", "½", "🙂", "ab\u00adc", "Dž", "ﬁ"]


def wild(seed):
    """Hypotheses of odd characters and spaces that have little to do with each other."""
    generator = random.Random(seed)
    base = [generator.choice(WILD) for _ in range(generator.randint(0, 14))]
    steps = []
    for _ in range(generator.randint(1, 9)):
        words = base[:generator.randint(0, len(base))]
        if words and generator.random() < 0.4:
            words[generator.randrange(len(words))] = generator.choice(WILD)
        spaces = [" ", " ", " ", "", "  ", "\u3000", "\u00a0"]
        step = {"text": "".join(word + generator.choice(spaces) for word in words)}
        if generator.random() < 0.2:
            step["final"] = True
        if generator.random() < 0.2:
            step["stable_words"] = generator.randint(0, 9)
        steps.append(step)
    return steps


def recorded(path):
    return [{key: step[key] for key in ("text", "final") if key in step}
            for step in map(json.loads, path.read_text().splitlines())]


def run(name, agreement, steps):
    source = StableSource(agreement)
    for step in steps:
        step["appended"] = source.add(step["text"], step.get("final", False), step.get("stable_words", 0))
    return {"name": name, "agreement": agreement, "steps": steps, "rest": source.finish(), "words": source.words,
            "repairs": source.repairs, "repaired_words": source.repaired_words}


if __name__ == "__main__":
    streams = [run(f"simulated, seed {seed}", 1 + seed % 3, simulated(seed)) for seed in range(60)]
    streams += [run(f"wild, seed {seed}", 1 + seed % 4, wild(seed)) for seed in range(200)]
    for path in sorted(HERE.glob("pocketsphinx*.jsonl")):
        streams += [run(path.stem, agreement, recorded(path)) for agreement in (1, 2, 3)]
    with open(HERE / "streams.jsonl", "w") as file:
        for stream in streams:
            file.write(json.dumps(stream, ensure_ascii=False) + "\n")
