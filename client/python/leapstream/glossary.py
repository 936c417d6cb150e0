"""Glossaries: the terms of a text. docs/terms.md says when a term is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping, Union


def parse_glossary(text: str, name: str = "glossary") -> Dict[str, str]:
    """The target of each source term. In each line stand a source term, a tab or " = ", and its target; a term alone is
    not translated. ValueError: a line is none of these; the message has `name` and the line's number."""
    terms: Dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("# "):
            continue
        sides = line.split("\t") if "\t" in line else line.split(" = ", 1)
        source = sides[0].strip()
        if len(sides) > 2 or not source:
            raise ValueError(f'{name}:{number}: want a source term, a tab or " = ", and a target term, got {line!r}')
        terms[source] = sides[1].strip() if len(sides) == 2 else ""
    return terms


def read_glossary(path: Union[str, Path]) -> Dict[str, str]:
    """parse_glossary() of a file."""
    return parse_glossary(Path(path).read_text(encoding="utf-8"), str(path))


def message(glossary: Mapping[str, str]) -> Dict[str, Any]:
    """The fields of the proto's Glossary."""
    return {"terms": [{"source": source, "target": target} for source, target in glossary.items()]}
