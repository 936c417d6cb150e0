#!/usr/bin/env python3
"""Source text that is only appended to, out of a speech recogniser's hypotheses, which revise themselves.

usage: stable_source.py [AGREEMENT] < hypotheses.jsonl
A line is {"text": TEXT, "final": false, "stable_words": 0}; the words come out as soon as they are stable, and each
utterance ends a line. docs/recognisers.md explains it. The class is that of client/hypotheses/source_stabilizer.h.
"""
import json, sys, unicodedata

# Scripts that put no space between words, each with its marks: Thai to Tibetan, Burmese, Khmer, Han, kana, and others.
UNSPACED = ((0x0E00, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19FF), (0x1A20, 0x1AAF), (0x1B00, 0x1B7F), (0x2E80, 0x2FFF),
            (0x3001, 0x312F), (0x3190, 0x4DBF), (0x4E00, 0xA4CF), (0xA980, 0xA9FF), (0xAA60, 0xAADF), (0xF900, 0xFAFF),
            (0xFE10, 0xFE1F), (0xFE30, 0xFE4F), (0xFF01, 0xFF9F), (0x1B000, 0x1B16F), (0x20000, 0x3FFFF))


def is_unspaced(character):
    return any(first <= ord(character) <= last for first, last in UNSPACED)


def is_mark(character):  # "5%" is not "5".
    return unicodedata.category(character)[0] == "P" and character not in "%#&@"


def folded(word):  # The word as it is compared.
    inner = [i for i, character in enumerate(word) if not is_mark(character)]
    if not inner:
        return ""
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in word[inner[0]:inner[-1] + 1]).replace("’", "'")


def parts(word):  # A word, cut at each character of a script without spaces; marks stay with the part before them.
    result, open_part = [], ""
    for character in word:
        letters = [c for c in open_part if not is_mark(c)]
        if letters and not is_mark(character) and (is_unspaced(character) or is_unspaced(letters[-1])):
            result.append(open_part)
            open_part = ""
        open_part += character
    return result + [open_part]


def words_of(text):  # [text, folded, number of the word between white space, whether a space follows]
    words, marks = [], ""
    for number, word in enumerate(text.split()):
        if all(map(is_mark, word)):
            if words:
                words[-1][0] += " " + word
            else:
                marks += word + " "
            continue
        for part in parts(word):
            words.append([marks + part, folded(part), number, False])
            marks = ""
        words[-1][3] = True
    if words:
        words[-1][3] = not is_unspaced(words[-1][0][-1])
    elif marks:
        words.append([marks[:-1], "", 0, True])
    return words


class StableSource:
    """Give each hypothesis to add(); it returns the text to append, and finish() the rest."""

    def __init__(self, agreement=2):  # 3 is for recognisers that change their minds a lot.
        self.agreement = agreement
        self.given, self.distinct = [], []  # Of the open utterance: words given out; its last distinct hypotheses.
        self.within_word = False            # What was given out last has no space behind it.
        self.words = self.repairs = self.repaired_words = 0

    def add(self, text, final=False, stable_words=0):
        words = words_of(text)
        if final:
            return self._end(words)
        compared = [word[1] for word in words]
        if self.distinct and [word[1] for word in self.distinct[-1]] == compared:
            self.distinct[-1] = words  # The same again is no second vote.
        else:
            self.distinct = (self.distinct + [words])[-self.agreement:]
        end = 0
        if len(self.distinct) == self.agreement:
            while end < len(words) and all(len(other) > end and other[end][1] == words[end][1]
                                           for other in self.distinct):
                end += 1
            end = max(end - 1, 0)  # The newest word may still be growing.
        while end < len(words) and words[end][2] < stable_words:
            end += 1
        if end == 0 or compared[:end] == [""]:
            return ""
        return self._give(words, self._align(compared)[1], end)

    def finish(self):
        return self._end(self.distinct[-1]) if self.distinct else ""

    def _end(self, words):
        distance, begin = self._align([word[1] for word in words])
        self.repairs += distance > 0
        self.repaired_words += distance
        text = self._give(words, begin, len(words))
        self.given, self.distinct = [], []
        return text

    def _align(self, compared):
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

    def _give(self, words, begin, end):
        text = ""
        for i in range(begin, end):
            space = words[i - 1][3] if i > 0 else not is_unspaced(words[i][0][0])
            text += (" " if self.within_word and space else "") + words[i][0] + (" " if words[i][3] else "")
            self.within_word = not words[i][3]
            self.given.append(words[i][1])
            self.words += 1
        return text


def main():
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
