#include "streaming/glossary.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/budget.h"
#include "base/quoted.h"
#include "base/scripts.h"
#include "base/status.h"
#include "base/utf8.h"
#include "model/api/sentencepiece.h"
#include "streaming/text_sink.h"

namespace leapstream {
namespace {

// Whether `c` is a part of a word: a letter, a digit, or a mark on one of them.
bool IsOfWord(char32_t c) {
  const auto point = static_cast<UChar32>(c);
  return (u_isalnum(point) != 0 || (U_GET_GC_MASK(point) & U_GC_M_MASK) != 0) &&
         !IsOfScriptWithoutSpaces(c);
}

// In a script without spaces no space stands before a term, except for one that a tokenizer puts at
// a text's beginning.
void DropFirstSpace(const Model& model, TargetTerm* term) {
  absl::string_view first = term->symbols[0];
  if (!absl::ConsumePrefix(&first, kSpaceSymbol)) return;
  if (first.empty()) {
    if (term->symbols.size() == 1) return;
    term->symbols.erase(term->symbols.begin());
    term->ids.erase(term->ids.begin());
    return;
  }
  const TokenId id = model.target_vocabulary.Id(first);
  if (id == kUnknown) return;
  term->symbols[0] = std::string(first);
  term->ids[0] = id;
}

std::string TextOfTerm(const TargetTerm& term, const Model& model) {
  TextSink sink(model.target_tokenizer.get());
  std::string text;
  for (const std::string& symbol : term.symbols) text += sink.Append(symbol);
  return text + sink.Finish();
}

}  // namespace

TargetTerm MakeTargetTerm(absl::string_view text, const Model& model) {
  TargetTerm term;
  term.symbols = model.target_tokenizer->Encode(text);
  for (const std::string& symbol : term.symbols) {
    const TokenId id = model.target_vocabulary.Id(symbol);
    // A text that looks like a token of a frame is a text all the same.
    term.ids.push_back(id == kPadding || model.target_frame_tokens.Has(id) ? kUnknown : id);
  }
  if (!term.symbols.empty() && HasScriptWithoutSpaces(text)) DropFirstSpace(model, &term);
  return term;
}

std::vector<TextAtom> AtomsOf(absl::string_view text) {
  std::vector<TextAtom> atoms;
  bool in_word = false;
  size_t at = 0;
  while (at < text.size()) {
    size_t length = 1;  // A byte that is no character is an atom.
    char32_t character = 0xFFFD;
    if (ReadUtf8(text.substr(at), &length, &character) != Utf8::kCharacter) length = 1;
    const bool of_word = IsOfWord(character);
    if (!of_word || !in_word) atoms.emplace_back();
    in_word = of_word;
    AppendUtf8(static_cast<char32_t>(u_tolower(static_cast<UChar32>(character))),
               &atoms.back().folded);
    at += length;
    atoms.back().end = at;
  }
  return atoms;
}

absl::StatusOr<std::shared_ptr<const Glossary>> Glossary::Create(std::vector<GlossaryTerm> terms,
                                                                 const Model& model) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckGlossary(terms));
  auto glossary = std::make_shared<Glossary>();
  for (const GlossaryTerm& term : terms) {
    const std::string source(absl::StripAsciiWhitespace(term.source));
    const std::vector<TextAtom> atoms = AtomsOf(source);
    if (atoms.size() > kMostAtoms) {
      return absl::InvalidArgumentError(absl::StrCat("a term may have ", kMostAtoms,
                                                     " words and other characters, got ",
                                                     atoms.size(), " in ", Quoted(source)));
    }
    Entry entry;
    entry.source = source;
    entry.kept = term.target.empty() || term.target == term.source;
    const std::string target(
        absl::StripAsciiWhitespace(term.target.empty() ? term.source : term.target));
    entry.target = MakeTargetTerm(target, model);
    const std::string written = TextOfTerm(entry.target, model);
    if (entry.target.ids.empty() || std::find(entry.target.ids.begin(), entry.target.ids.end(),
                                              kUnknown) != entry.target.ids.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "model ", model.info.name, " has no symbols for the target ", Quoted(target),
          " of the term ", Quoted(source), "; leave it out, or write it in another way"));
    }
    if (absl::StripAsciiWhitespace(written) != target) {
      return absl::InvalidArgumentError(absl::StrCat(
          "model ", model.info.name, " writes the target ", Quoted(target), " of the term ",
          Quoted(source), " as ", Quoted(written), "; write it so in the glossary"));
    }
    glossary->by_source_.emplace(source, static_cast<int>(glossary->entries_.size()));
    glossary->lengths_ |= uint64_t{1} << (atoms.size() - 1);
    glossary->entries_.push_back(std::move(entry));
  }
  glossary->terms_ = std::move(terms);
  return std::shared_ptr<const Glossary>(std::move(glossary));
}

int Glossary::Find(absl::string_view folded, absl::string_view text) const {
  for (const absl::string_view source : {text, folded}) {
    const auto found = by_source_.find(source);
    if (found != by_source_.end()) return found->second;
  }
  return kNone;
}

int Glossary::lengths() const {
  int count = 0;
  for (uint64_t rest = lengths_; rest != 0; rest &= rest - 1) ++count;
  return count;
}

int64_t Glossary::bytes() const {
  int64_t bytes = 0;
  for (const GlossaryTerm& term : terms_) {
    bytes +=
        static_cast<int64_t>(term.source.size() + term.target.size()) * budget::kBytesPerTermByte +
        budget::kBytesPerTerm;
  }
  return bytes;
}

}  // namespace leapstream
