#include "base/glossary_text.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/budget.h"
#include "base/quoted.h"
#include "base/small_file.h"
#include "base/status.h"
#include "base/utf8.h"

namespace leapstream {
namespace {

constexpr absl::string_view kEquals = " = ";  // It may stand for the tab.

// Returns "" or the reason for which a text can be no side of a term.
std::string WhyNoTerm(absl::string_view text) {
  if (text.size() > budget::kTermBytes) {
    return absl::StrCat("must have ", budget::kTermBytes, " bytes at most, got ", text.size());
  }
  while (!text.empty()) {
    size_t length = 0;
    char32_t character = 0;
    if (ReadUtf8(text, &length, &character) != Utf8::kCharacter) return "must be UTF-8";
    if (character < 0x20 || character == 0x7f) return "must have no tab, line end or control";
    text.remove_prefix(length);
  }
  return "";
}

absl::Status CheckTerm(const GlossaryTerm& term) {
  if (absl::StripAsciiWhitespace(term.source).empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the source of a term must be one or more words, got none for the target ",
                     Quoted(term.target)));
  }
  for (const std::string* side : {&term.source, &term.target}) {
    const std::string why = WhyNoTerm(*side);
    if (why.empty()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("each side of a term ", why, " in ", Quoted(*side)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckGlossary(const std::vector<GlossaryTerm>& terms) {
  if (terms.size() > budget::kGlossaryTerms) {
    return absl::InvalidArgumentError(absl::StrCat("a glossary may have ", budget::kGlossaryTerms,
                                                   " terms, got ", terms.size(),
                                                   "; leave out those that do not occur"));
  }
  size_t bytes = 0;
  for (const GlossaryTerm& term : terms) bytes += term.source.size() + term.target.size();
  if (bytes > budget::kGlossaryBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the terms of a glossary may have ",
                                                   budget::kGlossaryBytes, " bytes, got ", bytes,
                                                   "; leave out those that do not occur"));
  }
  for (const GlossaryTerm& term : terms) LEAPSTREAM_RETURN_IF_ERROR(CheckTerm(term));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<GlossaryTerm>> ParseGlossary(absl::string_view text,
                                                        absl::string_view name) {
  std::vector<GlossaryTerm> terms;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const bool has_tab = absl::StrContains(line, '\t');
    line = absl::StripTrailingAsciiWhitespace(line);
    if (line.empty() || absl::StartsWith(line, "# ")) continue;
    std::vector<absl::string_view> sides = absl::StrSplit(line, '\t');
    if (!has_tab) sides = absl::StrSplit(line, absl::MaxSplits(kEquals, 1));
    if (sides.size() > 2) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, ":", number, ": want a source term, a tab or \" = \", and a target term, got ",
          sides.size() - 1, " tabs"));
    }
    GlossaryTerm term;
    term.source = std::string(absl::StripAsciiWhitespace(sides[0]));
    if (sides.size() > 1) term.target = std::string(absl::StripAsciiWhitespace(sides[1]));
    if (const absl::Status status = CheckTerm(term); !status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(name, ":", number, ": ", status.message()));
    }
    terms.push_back(std::move(term));
    if (terms.size() > budget::kGlossaryTerms) break;  // CheckGlossary() says so.
  }
  if (const absl::Status status = CheckGlossary(terms); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", status.message()));
  }
  return terms;
}

absl::StatusOr<std::vector<GlossaryTerm>> ReadGlossary(const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  return ParseGlossary(text, path);
}

std::string GlossaryText(const std::vector<GlossaryTerm>& terms) {
  std::string text;
  for (const GlossaryTerm& term : terms) {
    const bool is_alone = term.target.empty() && !absl::StrContains(term.source, kEquals);
    absl::StrAppend(&text, term.source, is_alone ? "" : "\t", term.target, "\n");
  }
  return text;
}

}  // namespace leapstream
