"""Writes unicode_categories.cc beside itself: the categories that sacreBLEU's tokenizer `intl` sees,
which are those of the package `regex`.

    python3 -m venv venv && venv/bin/pip install regex
    venv/bin/python metrics/unicode_categories.py
"""
import pathlib

import regex

HERE = pathlib.Path(__file__).parent
CATEGORIES = [("IsNumber", "N"), ("IsPunctuation", "P"), ("IsSymbol", "S")]


def ranges(category):
    matches = regex.compile(r"\p{%s}" % category).match
    result = []
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000 or not matches(chr(code)):
            continue
        if result and result[-1][1] == code - 1:
            result[-1][1] = code
        else:
            result.append([code, code])
    return result


def rows(items):
    line = " "
    for first, last in items:
        item = f" {{0x{first:X}, 0x{last:X}}},"
        if len(line) + len(item) > 98:
            yield line
            line = " "
        line += item
    yield line


text = f'''// Written by unicode_categories.py with regex {regex.__version__}.
#include <algorithm>
#include <iterator>

#include "metrics/unicode.h"

namespace leapstream::metrics {{
namespace {{

struct Range {{
  char32_t first, last;
}};

template <typename Ranges>
bool Contains(const Ranges& ranges, char32_t c) {{
  const auto* const range =
      std::lower_bound(std::begin(ranges), std::end(ranges), c,
                       [](const Range& each, char32_t code) {{ return each.last < code; }});
  return range != std::end(ranges) && range->first <= c;
}}

}}  // namespace
'''
for name, category in CATEGORIES:
    text += f"\nbool {name}(char32_t c) {{\n  static constexpr Range kRanges[] = {{\n"
    text += "\n".join("  " + row for row in rows(ranges(category)))
    text += "\n  };\n  return Contains(kRanges, c);\n}\n"
text += "\n}  // namespace leapstream::metrics\n"
(HERE / "unicode_categories.cc").write_text(text)
