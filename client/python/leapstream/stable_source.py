#!/usr/bin/env python3
"""Source text that is only appended to, out of a speech recogniser's hypotheses, which revise themselves.

usage: stable_source.py [AGREEMENT] < hypotheses.jsonl
A line is {"text": TEXT, "final": false, "stable_words": 0}; the words come out as soon as they are stable, and each
utterance ends a line. docs/recognisers.md explains it. The class is that of client/hypotheses/source_stabilizer.h.
"""
from __future__ import annotations

import json, sys, unicodedata
from dataclasses import dataclass
from typing import List, Tuple

# Scripts that put no space between words, each with its marks: Thai to Tibetan, Burmese, Khmer, Han, kana, and others.
UNSPACED = ((0x0E00, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19FF), (0x1A20, 0x1AAF), (0x1B00, 0x1B7F), (0x2E80, 0x2FFF),
            (0x3001, 0x312F), (0x3190, 0x4DBF), (0x4E00, 0xA4CF), (0xA980, 0xA9FF), (0xAA60, 0xAADF), (0xF900, 0xFAFF),
            (0xFE10, 0xFE1F), (0xFE30, 0xFE4F), (0xFF01, 0xFF9F), (0x1B000, 0x1B16F), (0x20000, 0x3FFFF))


def is_unspaced(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in UNSPACED)


def is_mark(character: str) -> bool:  # "5%" is not "5".
    return unicodedata.category(character)[0] == "P" and character not in "%#&@"


def folded(word: str) -> str:  # The word as it is compared.
    inner = [i for i, character in enumerate(word) if not is_mark(character)]
    if not inner:
        return ""
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in word[inner[0]:inner[-1] + 1]).replace("’", "'")


def parts(word: str) -> List[str]:
    # A word, cut at each character of a script without spaces; marks stay with the part before them.
    result, open_part = [], ""
    for character in word:
        letters = [c for c in open_part if not is_mark(c)]
        if letters and not is_mark(character) and (is_unspaced(character) or is_unspaced(letters[-1])):
            result.append(open_part)
            open_part = ""
        open_part += character
    return result + [open_part]


@dataclass
class Word:
    text: str
    folded: str
    number: int  # Words between white space before this one.
    space: bool  # Whether a space follows.


def words_of(text: str) -> List[Word]:
    words: List[Word] = []
    marks = ""
    for number, word in enumerate(text.split()):
        if all(map(is_mark, word)):
            if words:
                words[-1].text += " " + word
            else:
                marks += word + " "
            continue
        for part in parts(word):
            words.append(Word(marks + part, folded(part), number, False))
            marks = ""
        words[-1].space = True
    if words:
        words[-1].space = not is_unspaced(words[-1].text[-1])
    elif marks:
        words.append(Word(marks[:-1], "", 0, True))
    return words


class StableSource:
    """Give each hypothesis to add(); it returns the text to append, and finish() the rest."""

    def __init__(self, agreement: int = 2) -> None:  # 3 is for recognisers that change their minds a lot.
        self.agreement = agreement
        self.given: List[str] = []            # Of the open utterance: words given out; its last distinct hypotheses.
        self.distinct: List[List[Word]] = []
        self.within_word = False            # What was given out last has no space behind it.
        self.words = self.repairs = self.repaired_words = 0

    def add(self, text: str, final: bool = False, stable_words: int = 0) -> str:
        words = words_of(text)
        if final:
            return self._end(words)
        compared = [word.folded for word in words]
        if self.distinct and [word.folded for word in self.distinct[-1]] == compared:
            self.distinct[-1] = words  # The same again is no second vote.
        else:
            self.distinct = (self.distinct + [words])[-self.agreement:]
        end = 0
        if len(self.distinct) == self.agreement:
            while end < len(words) and all(len(other) > end and other[end].folded == words[end].folded
                                           for other in self.distinct):
                end += 1
            end = max(end - 1, 0)  # The newest word may still be growing.
        while end < len(words) and words[end].number < stable_words:
            end += 1
        if end == 0 or compared[:end] == [""]:
            return ""
        return self._give(words, self._align(compared)[1], end)

    def finish(self) -> str:
        return self._end(self.distinct[-1]) if self.distinct else ""

    def _end(self, words: List[Word]) -> str:
        distance, begin = self._align([word.folded for word in words])
        self.repairs += distance > 0
        self.repaired_words += distance
        text = self._give(words, begin, len(words))
        self.given, self.distinct = [], []
        return text

    def _align(self, compared: List[str]) -> Tuple[int, int]:
        """Returns how far compared[:j] is from what was given out, and the j of the best alignment."""
        if compared[:len(self.given)] == self.given:
            return 0, len(self.given)
        # Cells are [distance, minus the number of equal words].
        row = [(j, 0) for j in range(len(compared) + 1)]
        for i, given in enumerate(self.given):
            above, row = row, [(i + 1, 0)]
            for j, word in enumerate(compared):
                row.append(min((above[j][0] + (given != word), above[j][1] - (given == word)),
                               (above[j + 1][0] + 1, above[j + 1][1]), (row[j][0] + 1, row[j][1])))
        best = min(range(len(row)), key=lambda j: (row[j], abs(j - len(self.given)), j))
        return row[best][0], best

    def _give(self, words: List[Word], begin: int, end: int) -> str:
        text = ""
        for i in range(begin, end):
            space = words[i - 1].space if i > 0 else not is_unspaced(words[i].text[0])
            text += (" " if self.within_word and space else "") + words[i].text + (" " if words[i].space else "")
            self.within_word = not words[i].space
            self.given.append(words[i].folded)
            self.words += 1
        return text


def main() -> None:
    source = StableSource(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    for line in sys.stdin:
        hypothesis = json.loads(line)
        final = hypothesis.get("final", False)
        print(source.add(hypothesis["text"], final, hypothesis.get("stable_words", 0)), end="\n" if final else "",
              flush=True)
    print(source.finish())
    if source.repairs:
        print(f"{source.repairs} repairs: the recogniser revised {source.repaired_words} words that had been sent",
              file=sys.stderr)


if __name__ == "__main__":
    main()
