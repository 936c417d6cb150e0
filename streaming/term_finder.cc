#include "streaming/term_finder.h"

#include <algorithm>

#include "base/budget.h"

namespace leapstream {
namespace {

// The number of places before `place`.
int PlacesBefore(absl::Span<const size_t> places, size_t place) {
  return static_cast<int>(std::lower_bound(places.begin(), places.end(), place) - places.begin());
}

}  // namespace

void TermFinder::Reset() {
  atoms_.clear();
  folded_.clear();
  text_.clear();
  count_ = words_ = terms_found_ = markup_found_ = 0;
  markup_bytes_ = 0;
  found_.clear();
  BeginUnspaced(0);
}

void TermFinder::BeginUnspaced(int first) {
  rest_.clear();
  ends_.clear();
  first_ = first;
  known_ = 0;
  character_.clear();
}

void TermFinder::Append(const SourceWord& word, int first, int64_t* work) {
  ForgetOld();
  if (!word.continued && count_ > 0) AddAtom(" ", " ");
  if (word.unspaced) return AppendUnspaced(word, first, work);
  Piece piece;
  piece.text = word.text;
  piece.first = first;
  piece.words = words_;
  const std::vector<MarkupSpan> tags = markup_ ? TagsOf(word.text) : std::vector<MarkupSpan>();
  size_t tag_bytes = 0;
  for (const MarkupSpan& tag : tags) tag_bytes += tag.end - tag.begin;
  const size_t tagless_bytes = word.text.size() - tag_bytes;
  if (word.text.empty() || tagless_bytes > 0) ++words_;  // A word of tags alone is none.
  // If the tokens do not say which text they have, all of them must have been read.
  const bool says = !word.ends.empty() && word.ends.back() == tagless_bytes;
  if (!says) piece.ready_at = first + std::max(static_cast<int>(word.tokens.size()), 1);
  auto tag = tags.begin();
  size_t before = 0;
  for (const size_t end : word.ends) {
    for (; tag != tags.end() && tag->begin < end + before; ++tag) before += tag->end - tag->begin;
    piece.ends.push_back(end + before);
  }
  Find(piece, work);
}

void TermFinder::AppendUnspaced(const SourceWord& word, int first, int64_t* work) {
  if (!word.continued) BeginUnspaced(first);
  for (const size_t end : word.ends) ends_.push_back(rest_.size() + end);
  rest_ += word.text;
  size_t at = 0;
  while (at < rest_.size()) {
    Piece piece;
    piece.text = absl::string_view(rest_).substr(at);
    const SettledPlace settled = NextSettledPlace(piece.text, markup_);
    if (settled.end == 0 && word.open) break;
    if (settled.end > 0) piece.text = piece.text.substr(0, settled.end);
    const size_t end = at + piece.text.size();
    int tokens = PlacesBefore(ends_, end);
    for (int i = 0; i < tokens; ++i) piece.ends.push_back(ends_[static_cast<size_t>(i)] - at);
    piece.before = character_;
    piece.words = words_;
    piece.unspaced = true;
    // A token of the word shows it, or else the one behind the word.
    if (settled.end > 0) known_ = std::max(known_, at + settled.known);
    const int shown =
        settled.end > 0 ? PlacesBefore(ends_, known_) : static_cast<int>(ends_.size());
    piece.ready_at = first_ + shown + 1;
    Find(piece, work);
    character_ = std::string(CharacterBefore(rest_, end));
    tokens = PlacesBefore(ends_, end + 1);  // One that goes on is of the next piece, too.
    ends_.erase(ends_.begin(), ends_.begin() + tokens);
    first_ += tokens;
    words_ += tokens;
    at = end;
  }
  rest_.erase(0, at);
  for (size_t& end : ends_) end -= at;
  known_ -= std::min(known_, at);
  if (!word.open) words_ += static_cast<int>(ends_.size());
}

void TermFinder::Find(const Piece& piece, int64_t* work) {
  if (piece.text.empty()) return;
  const int before = count_;
  size_t at = 0;
  std::vector<size_t> ends;  // Of the piece's atoms.
  for (const TextAtom& atom : AtomsOf(piece.text)) {
    AddAtom(atom.folded, piece.text.substr(at, atom.end - at));
    at = atom.end;
    ends.push_back(at);
    if (glossary_ != nullptr) FindTerm(piece, at);
  }
  const int lookups = glossary_ == nullptr ? 1 : glossary_->lengths();
  *work -= static_cast<int64_t>(ends.size()) * lookups / budget::kTermLookupsPerWork;
  if (!markup_) return;
  for (const MarkupSpan& span : MarkupOf(piece.text)) {
    // Mark-up begins and ends with atoms.
    AddMarkup(piece, span, before + PlacesBefore(ends, span.begin + 1),
              before + PlacesBefore(ends, span.end) + 1, work);
  }
}

int TermFinder::ReadyAt(const Piece& piece, size_t end) {
  if (piece.ready_at > 0) return piece.ready_at;
  const int tokens = end == 0 ? 0 : PlacesBefore(piece.ends, end) + 1;
  // Until a token of the word has been read, nothing of it need be known.
  return piece.first + std::max(std::min(tokens, static_cast<int>(piece.ends.size())), 1);
}

void TermFinder::AddAtom(absl::string_view folded, absl::string_view text) {
  atoms_.push_back({folded_.size(), text_.size()});
  folded_.append(folded.data(), folded.size());
  text_.append(text.data(), text.size());
  ++count_;
}

void TermFinder::FindTerm(const Piece& piece, size_t end) {
  if (terms_found_ >= budget::kTermsPerSegment) return;
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
    found.ready_at = ReadyAt(piece, end);
    found_.push_back(std::move(found));
    ++terms_found_;
    return;
  }
}

void TermFinder::AddMarkup(const Piece& piece, const MarkupSpan& span, int begin, int end,
                           int64_t* work) {
  const size_t size = span.end - span.begin;
  if (markup_found_ >= budget::kTermsPerSegment) return;
  if (markup_bytes_ + size > budget::kMarkupBytes) return;
  ++markup_found_;
  markup_bytes_ += size;
  *work -= static_cast<int64_t>(size) * budget::kEncodedByteWork;
  FoundTerm found;
  found.text = std::string(piece.text.substr(span.begin, size));
  found.is_tag = span.kind == MarkupSpan::Kind::kTag;
  found.begin = begin;
  found.end = end;
  found.ready_at = ReadyAt(piece, found.is_tag ? span.begin : span.end);
  const bool behind_text = !WithoutTags(piece.text.substr(0, span.begin)).empty();
  found.word = piece.words + (piece.unspaced ? PlacesBefore(piece.ends, span.begin + 1)
                              : behind_text  ? 1
                                             : 0);
  found.before =
      span.begin == 0 ? piece.before : std::string(CharacterBefore(piece.text, span.begin));
  found.glued_before = !found.before.empty();
  found.glued_behind = found.is_tag && span.end < piece.text.size();
  found_.push_back(std::move(found));
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
