#include "streaming/term_finder.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "base/budget.h"
#include "streaming/markup.h"

namespace leapstream {
namespace {

// The number of the word's tokens that have its text up to `end`. If the tokens do not say which
// text they have, these are all of them.
int TokensUpTo(const SourceWord& word, size_t end, size_t text_bytes) {
  const auto all = static_cast<int>(word.tokens.size());
  if (word.ends.size() != word.tokens.size() || word.ends.empty() ||
      word.ends.back() != text_bytes) {
    return all;
  }
  const auto found = std::lower_bound(word.ends.begin(), word.ends.end(), end);
  return std::min(static_cast<int>(found - word.ends.begin()) + 1, all);
}

// The character of `text` that ends at `end`.
absl::string_view CharacterBefore(absl::string_view text, size_t end) {
  size_t begin = end;
  while (begin > 0) {
    --begin;
    if ((static_cast<unsigned char>(text[begin]) & 0xC0) != 0x80) break;
  }
  return text.substr(begin, end - begin);
}

}  // namespace

void TermFinder::Reset() {
  atoms_.clear();
  folded_.clear();
  text_.clear();
  count_ = words_ = all_found_ = 0;
  found_.clear();
}

void TermFinder::Append(const SourceWord& word, int first, int64_t* work) {
  ForgetOld();
  text_bytes_ = markup_ ? WithoutTags(word.text).size() : word.text.size();
  if (!word.continued) {
    if (count_ > 0) AddAtom(" ", " ");
    // A word of tags alone is none.
    if (word.text.empty() || text_bytes_ > 0) ++words_;
  }
  if (word.text.empty() || all_found_ >= budget::kTermsPerSegment) return;
  const size_t found_before_word = found_.size();
  std::vector<MarkupSpan> tags;
  if (markup_) {
    for (const MarkupSpan& span : MarkupOf(word.text)) {
      if (span.kind == MarkupSpan::Kind::kTag) tags.push_back(span);
    }
  }
  const int before = count_;
  size_t at = 0, tag_bytes = 0;
  auto tag = tags.begin();
  std::vector<size_t> ends;  // Of the word's atoms.
  for (const TextAtom& atom : AtomsOf(word.text)) {
    AddAtom(atom.folded, absl::string_view(word.text).substr(at, atom.end - at));
    at = atom.end;
    ends.push_back(at);
    while (tag != tags.end() && tag->end <= at) tag_bytes += tag->end - tag->begin, ++tag;
    if (glossary_ != nullptr) FindEndingHere(word, first, at, tag_bytes);
  }
  const int lookups = glossary_ == nullptr ? 1 : glossary_->lengths();
  *work -= static_cast<int64_t>(ends.size()) * lookups / budget::kTermLookupsPerWork;
  const size_t found_before = found_.size();
  if (markup_) FindMarkup(word, first);
  for (size_t i = found_before; i < found_.size(); ++i) {
    // Mark-up begins and ends with atoms.
    FoundTerm& found = found_[i];
    const auto place = [&](int byte) {
      return before + static_cast<int>(
                          std::lower_bound(ends.begin(), ends.end(), static_cast<size_t>(byte)) -
                          ends.begin());
    };
    found.begin = place(found.begin + 1);
    found.end = place(found.end) + 1;
  }
  all_found_ += static_cast<int>(found_.size() - found_before_word);
}

void TermFinder::AddAtom(absl::string_view folded, absl::string_view text) {
  atoms_.push_back({folded_.size(), text_.size()});
  folded_.append(folded.data(), folded.size());
  text_.append(text.data(), text.size());
  ++count_;
}

void TermFinder::FindEndingHere(const SourceWord& word, int first, size_t end, size_t tag_bytes) {
  const size_t most = std::min(atoms_.size(), Glossary::kMostAtoms);
  for (size_t length = most; length > 0; --length) {
    if (!glossary_->has_length(length)) continue;
    const Atom& atom = atoms_[atoms_.size() - length];
    const int entry = glossary_->Find(absl::string_view(folded_).substr(atom.folded),
                                      absl::string_view(text_).substr(atom.text));
    if (entry == Glossary::kNone) continue;
    FoundTerm found;
    found.entry = entry;
    found.begin = count_ - static_cast<int>(length);
    found.end = count_;
    found.ready_at = first + TokensUpTo(word, end - tag_bytes, text_bytes_);
    found_.push_back(std::move(found));
    return;  // The longest one.
  }
}

void TermFinder::FindMarkup(const SourceWord& word, int first) {
  const absl::string_view text = word.text;
  size_t tag_bytes = 0;
  for (const MarkupSpan& span : MarkupOf(text)) {
    FoundTerm found;
    found.text = std::string(text.substr(span.begin, span.end - span.begin));
    found.is_tag = span.kind == MarkupSpan::Kind::kTag;
    found.begin = static_cast<int>(span.begin);  // Append() makes atoms of these.
    found.end = static_cast<int>(span.end);
    found.word = words_ - (span.begin == 0 && text_bytes_ > 0 ? 1 : 0);
    found.glued_before = span.begin > 0;
    found.before = std::string(CharacterBefore(text, span.begin));
    found.glued_behind = found.is_tag && span.end < text.size();
    if (found.is_tag) {
      const size_t at = span.begin - tag_bytes;
      found.ready_at = first + (at == 0 ? 0 : TokensUpTo(word, at, text_bytes_));
      tag_bytes += span.end - span.begin;
    } else {
      found.ready_at = first + TokensUpTo(word, span.end - tag_bytes, text_bytes_);
    }
    found_.push_back(std::move(found));
  }
}

void TermFinder::ForgetOld() {
  if (atoms_.size() <= 4 * Glossary::kMostAtoms) return;
  const size_t dropped = atoms_.size() - Glossary::kMostAtoms;
  const Atom first = atoms_[dropped];
  atoms_.erase(atoms_.begin(), atoms_.begin() + static_cast<std::ptrdiff_t>(dropped));
  for (Atom& atom : atoms_) {
    atom.folded -= first.folded;
    atom.text -= first.text;
  }
  folded_.erase(0, first.folded);
  text_.erase(0, first.text);
}

}  // namespace leapstream
