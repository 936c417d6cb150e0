"""Finds comments that begin as a relative clause, such as "What is left" or "Of those that act": they have no subject.

Argument: the repository. A comment is a sentence with a subject and a verb, or a noun phrase.
"""

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(sys.argv[1])
SOURCES = ("*.cc", "*.h", "*.proto", "*.py", "*.js", "*.mjs", "*.ts", "*.cmake", "CMakeLists.txt", "dev", "*.sh",
           "*.yaml", "*.yml")
MARK = re.compile(r"^\s*(//|#(?!!)|\*)\s?")
# A question, such as "What is it?", is a sentence.
FRAGMENT = re.compile(r"^(What|That|Whose|Which|Who|Whoever|Of [a-z-]+\.? |As it|The same of|Those "
                      r"(?:that|who|which)|For (?:those|whom|which|whoever))\b(?!.*\?)")
# Here such a word begins a whole sentence: "That costs a lookup." "What waits is dropped."
VERB = re.compile(r"^(?:That|This|Which)\s+(?:is|was|are|has|had|can|may|must|will|would|does|did|costs?|takes?|needs?|"
                  r"gives?|makes?|keeps?|holds?|means|leaves|ends|counts?|comes|goes|happens|works?|lets)\b")


def comments(path):
    """(line, first line of text) of each comment that has lines of its own."""
    before = False
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        mark = MARK.match(line)
        if mark and not before:
            yield number, line[mark.end():].strip()
        before = bool(mark)


def main():
    listed = subprocess.run(["git", "ls-files", "--", *SOURCES], cwd=REPOSITORY, capture_output=True, text=True)
    paths = listed.stdout.splitlines() or [str(path.relative_to(REPOSITORY)) for pattern in SOURCES
                                           for path in REPOSITORY.rglob(pattern)]
    wrong = []
    for name in paths:
        if name.startswith((".cache/", "build")) or not (REPOSITORY / name).is_file():
            continue
        wrong += [f"{name}:{number}: {text}" for number, text in comments(REPOSITORY / name)
                  if FRAGMENT.match(text) and not VERB.match(text)]
    if wrong:
        print("expected comments that are sentences or noun phrases, got these; give each a subject:")
        print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
