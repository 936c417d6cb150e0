"""Records the results of SimulEval 1.1.4 and sacreBLEU 2.6.0; the C++ tests compare with them.

    python3 -m venv venv && venv/bin/pip install simuleval==1.1.4 sacrebleu==2.6.0
    venv/bin/python tests/golden/simuleval/generate.py

Writes, beside itself: instances.log, lagging.json (for each instance and for all), quality.json,
tokenizers.json, units.json.
"""
import json
import pathlib
import random
import sys
from argparse import Namespace

import sacrebleu
from sacrebleu.metrics import BLEU, CHRF
from simuleval.data.segments import TextSegment
from simuleval.evaluator.instance import LogInstance, TextToTextInstance
from simuleval.evaluator.scorers.latency_scorer import LATENCY_SCORERS_DICT

HERE = pathlib.Path(__file__).parent
METRICS = ["AL", "LAAL", "AP", "DAL", "ATD", "StartOffset", "EndOffset"]


def instance(index, rng):
    """A translation by a policy that READs and WRITEs at random, or by wait-k."""
    source_length, length = rng.randint(1, 30), rng.randint(1, 30)
    if index % 3 == 0:
        k = rng.randint(1, 9)
        delays = [min(source_length, i + k) for i in range(length)]
    else:
        delays = sorted(rng.randint(1, source_length) for _ in range(length))
    if index == 5:  # The first unit is written before anything was read.
        delays[0] = 0
    if index == 7:  # All units are late from the start.
        delays = [source_length] * length
    spent, elapsed = 0.0, []
    for delay in delays:
        spent += rng.random() * (0 if index == 11 else 0.2)
        elapsed.append(delay + spent)
    reference = " ".join("w" * rng.randint(1, 5) for _ in range(rng.randint(1, 30)))
    return {
        "index": index,
        "prediction": " ".join(["p"] * length),
        "delays": delays,
        "elapsed": elapsed,
        "prediction_length": length,
        "reference": reference,
        "source": " ".join(["s"] * source_length),
        "source_length": source_length,
    }


def as_text(info):
    """The instance as SimulEval has it during a text-to-text run."""
    result = TextToTextInstance(info["index"], None, Namespace(eval_latency_unit="word"))
    result.source = info["source"].split()
    result.reference = info["reference"]
    result.prediction_list = info["prediction"].split()
    result.delays, result.elapsed = info["delays"], info["elapsed"]
    return result


def lagging():
    rng = random.Random(6)
    infos = [instance(index, rng) for index in range(40)]
    lines = [json.dumps(info) for info in infos]
    (HERE / "instances.log").write_text("\n".join(lines) + "\n")
    logs = [LogInstance(line) for line in lines]
    texts = [as_text(info) for info in infos]

    def score(name, instances, aware=False):
        return LATENCY_SCORERS_DICT[name](computation_aware=aware)(dict(enumerate(instances)))

    def scores(first, last):
        row = {name: score(name, texts[first:last]) for name in METRICS}
        # A text instance has only ATD's computation-aware score; the others come from a log.
        row.update({name + "_CA": score(name, logs[first:last], True) for name in METRICS})
        row["ATD_CA"] = score("ATD", texts[first:last], True)
        row["ATD_as_log"] = score("ATD", logs[first:last])
        return row

    result = {
        "simuleval": "1.1.4",
        "instances": [scores(i, i + 1) for i in range(len(infos))],
        "all": scores(0, len(infos)),
    }
    (HERE / "lagging.json").write_text(json.dumps(result, indent=1) + "\n")


NASTY = [  # (translation, reference)
    ("", ""),
    ("", "Kein Wort."),
    ("Zu viel.", ""),
    ("   ", " "),
    ("Der Preis: 3,50 € (ca. 4.20 $) – 10-20%.", "Der Preis: 3,50 € (ca. 4,20 $) – 10-20 %."),
    ("„Ja“, sagte er… »Nein«!", "„Ja“, sagte sie… »Nein«?"),
    ("a,b.c 1,2 .5 5. x-y 3-4 -", "a, b. c 1,2 .5 5 . x-y 3 -4 -"),
    ("&quot;Q&amp;A&quot; &lt;skipped&gt; <skipped> &amp;lt;", "\"Q&A\" <skipped> &lt;"),
    ("foo\u00a0bar\u2003baz\u3000qux\u2028end", "foo bar baz qux end"),
    ("\u200bnull\u200bwidth", "null width"),
    ("日本語のテスト。", "日本語のテストです。"),
    ("e\u0301 é 👩\u200d💻", "é é 👩\u200d💻"),
    ("tab\tand\x1funit", "tab and unit"),
    ("a.b,c;d:e!f?g(h)i[j]k{l}m~n`o^p_q|r\\s/t*u+v=w<x>y@z#$%&'", "a . b , c ; d"),
    ("....,,,,----1-2-3.4.5,6,7,", "1-2-3.4.5,6,7"),
    ("der der der der der der", "der die das der"),
    ("ß ẞ ſ", "ss ẞ s"),
]


SPACELESS = [  # (translation, reference)
    ("我们的会议在2026年3月开始。", "我们的会议于2026年3月开始。"),
    ("价格是3.50元（约0.50美元），涨了10%。", "价格为3.50元(约0.5美元)，上涨10%。"),
    ("他用iPhone 15 Pro发了e-mail。", "他用 iPhone 15 Pro 发了 e-mail。"),
    ("\u3000「你好」，她说……", "“你好，”她说……"),
    ("日本語のテストです。", "これは日本語のテストです。"),
    ("カタカナとｶﾀｶﾅ、ＡＢＣ。", "カタカナと半角、ABC。"),
    ("ภาษาไทยไม่มีช่องว่าง", "ภาษาไทยไม่มีวรรค ระหว่างคำ"),
    ("ພາສາລາວ ບໍ່ມີ", "ພາສາລາວບໍ່ມີຊ່ອງ"),
    ("မြန်မာဘာသာ၊ စကားလုံး။", "မြန်မာစာ၊ စကားလုံးများ။"),
    ("ភាសាខ្មែរ។", "ភាសាខ្មែរ មិនមាន។"),
    ("𠀀𠮷野家で食べる", "𠮷野家で食べた"),
    ("한국어는 띄어쓰기가 있다.", "한국어에는 띄어쓰기가 있다."),
    ("«Ça coûte 1\u202f000,50€», dit-il¡no!", "« Ça coûte 1000,50 € », dit-il."),
    ("½ × ² = ①②③ № 5 ® ™", "½ × 2 = ① ② ③ No 5"),
    ("☀✓㈱㌔﹁︵", "☀ ✓ ㈱ ㌔"),
    ("a\u2581b\u2014c\u2026d", "a b — c … d"),
]
TOKENIZERS = ["13a", "zh", "char", "intl", "none"]


def tokenizers():
    pairs = NASTY + SPACELESS
    translations, references = map(list, zip(*pairs))
    rows = []
    for name in TOKENIZERS:
        bleu = BLEU(tokenize=name, force=True)
        score = bleu.corpus_score(translations, [references])
        rows.append({
            "tokenizer": name,
            "bleu": score.score,
            "bleu_line": score.format(signature=bleu.get_signature().format()),
            "segments": [BLEU(tokenize=name, force=True).corpus_score([t], [[r]]).score
                         for t, r in pairs],
            "tokens": [bleu.tokenizer(text.rstrip()).split() for pair in pairs for text in pair],
        })
    result = {"sacrebleu": sacrebleu.__version__, "pairs": pairs, "tokenizers": rows}
    text = json.dumps(result, ensure_ascii=False)
    (HERE / "tokenizers.json").write_text(text.replace('], ["', '],\n["') + "\n")


def units():
    """Deltas in the form that SimulEval takes with --eval-latency-unit char, and their scores."""
    # Each has the words of the source, the reference, and pairs of source words and the text
    # written after them.
    sentences = [
        (9, "我们 的会议开始。", [(3, "我"), (4, "们的"), (6, " 会议 "), (9, "开始了。")]),
        (5, " 日本語のテスト。\u3000", [(1, "\u3000日本"), (2, "語 の"), (5, "テスト")]),
        (4, "ไทย", [(4, "ไทย ไม่มี")]),
        (6, "a b c", [(2, "a "), (3, "b"), (3, " c"), (6, "d")]),
    ]
    instances = {}
    for index, (source_length, reference, deltas) in enumerate(sentences):
        instance = TextToTextInstance(index, None, Namespace(eval_latency_unit="char"))
        instance.source = ["s"] * source_length
        instance.reference = reference
        for n, (step, text) in enumerate(deltas):
            instance.step = step
            instance.receive_prediction(TextSegment(content=text, finished=n == len(deltas) - 1))
        instances[index] = instance
    result = {
        "simuleval": "1.1.4",
        "deltas": [deltas for _, _, deltas in sentences],
        "instances": [{**each.summarize(), "reference_length": each.reference_length}
                      for each in instances.values()],
        "scores": {name: LATENCY_SCORERS_DICT[name]()(instances) for name in METRICS},
    }
    (HERE / "units.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def quality():
    references = (HERE / "test20.de").read_text().splitlines()
    traces = (HERE / "../en-de/traces.k3.stop.jsonl").read_text().splitlines()
    predictions = [json.loads(line)["prediction"] for line in traces[: len(references)]]
    corpora = {
        "embedded": (predictions, references),
        "nasty": tuple(map(list, zip(*NASTY))),
        "no_match": (["x y z"], ["a b c d"]),
        "short": (["Ja ."], ["Ja ."]),
        "unigrams_only": (["a b c d e f g"], ["g f e d c b a"]),
        "empty": ([""], [""]),
    }
    corpora["both"] = tuple(a + b for a, b in zip(corpora["embedded"], corpora["nasty"]))
    for index, (translation, reference) in enumerate(NASTY):
        corpora[f"nasty_{index}"] = ([translation], [reference])
    rows = []
    for name, (translations, refs) in corpora.items():
        bleu, chrf = BLEU(force=True), CHRF()
        b = bleu.corpus_score(translations, [refs])
        c = chrf.corpus_score(translations, [refs])
        rows.append({
            "name": name,
            "translations": translations,
            "references": refs,
            "bleu": b.score,
            "bleu_line": b.format(signature=bleu.get_signature().format()),
            "chrf": c.score,
            "chrf_line": c.format(signature=chrf.get_signature().format()),
        })
    tokens = [[text, bleu.tokenizer(text.rstrip())] for pair in NASTY for text in pair]
    result = {"sacrebleu": sacrebleu.__version__, "corpora": rows, "tokens": tokens}
    (HERE / "quality.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if sacrebleu.__version__ != "2.6.0":
    sys.exit(f"want sacrebleu 2.6.0, got {sacrebleu.__version__}")
lagging()
quality()
tokenizers()
units()
