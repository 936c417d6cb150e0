#include "base/sentences/sentence_segmenter.h"

#include <utility>

#include "base/utf8.h"
#include "base/sentences/characters.h"

namespace leapstream {
namespace {

// After so many words or characters a segment ends in any case: a recogniser's text may have no
// marks at all.
constexpr int kMostWords = 50;
constexpr int kManyWords = 40;  // After so many words a clause ends a segment, too.
constexpr int kMostCharacters = 500;
// A text of so many characters without any space is cut, whatever they are.
constexpr int kMostInOneWord = 2000;
// A run of characters without a space has these limits; ASCII is not counted.
constexpr int kMostUnspacedCharacters = 100;
constexpr int kManyUnspacedCharacters = 60;

constexpr char32_t kParagraphSeparator = 0x2029;

// Longer words are no abbreviations; so many bytes of their ends are kept.
constexpr size_t kMostWordBytes = 512;
constexpr size_t kLongWordBytes = 256;

}  // namespace

std::vector<SentenceSegmenter::Part> SentenceSegmenter::Append(absl::string_view text) {
  while (!text.empty()) {
    const DecodedCharacter first = FirstCharacter(text);
    Take(first.code_point, text.substr(0, first.bytes));
    text.remove_prefix(first.bytes);
  }
  return std::exchange(parts_, {});
}

std::vector<SentenceSegmenter::Part> SentenceSegmenter::Finish() {
  if (holds_) Decide(/*whole=*/true);
  Begin();
  return std::exchange(parts_, {});
}

std::vector<SentenceSegmenter::Part> SentenceSegmenter::Pause() {
  if (holds_) Decide(/*whole=*/true);
  if (is_open_) {
    const bool in_word = !word_.empty();
    const bool ends = mode_ == Mode::kSentences &&
                      rules_.EndsBetween(in_word ? last_ : previous_, in_word ? word_ : last_, "",
                                         /*next_is_whole=*/true) == true;
    has_sentences_ = has_sentences_ || ends;
    if (ends || mode_ == Mode::kLength) End();
  }
  return std::exchange(parts_, {});
}

void SentenceSegmenter::Take(char32_t c, absl::string_view bytes) {
  if (IsPythonSpace(c)) return TakeSpace(c, bytes);
  if (holds_) {
    held_.append(bytes.data(), bytes.size());
    ++held_characters_;
    return Decide(/*whole=*/held_characters_ >= kLookAhead);
  }
  if (word_.empty() && is_open_) {
    const bool empty_line = mode_ == Mode::kSentences && line_feeds_ > 1;
    if (empty_line || IsTooLong()) {
      End();
    } else if (mode_ == Mode::kSentences &&
               rules_.EndsBetween(previous_, last_, "", /*next_is_whole=*/false) != false) {
      holds_ = true;
      return Take(c, bytes);
    }
  }
  TakeInWord(c, bytes);
}

void SentenceSegmenter::TakeSpace(char32_t c, absl::string_view bytes) {
  if (holds_) Decide(/*whole=*/true);
  if (!word_.empty()) {
    previous_ = std::exchange(last_, std::exchange(word_, ""));
    unspaced_ = line_feeds_ = 0;
    before_ = 0;
    after_end_ = after_clause_ = false;
  }
  if (c == '\n' || c == kParagraphSeparator) line_feeds_ += c == '\n' ? 1 : 2;
  Emit(bytes);
}

void SentenceSegmenter::TakeInWord(char32_t c, absl::string_view bytes) {
  if (after_end_ && !BelongsToEnd(c)) {
    has_sentences_ = true;
    End();
  } else if (after_clause_ || characters_ >= kMostInOneWord ||
             (unspaced_ >= kMostUnspacedCharacters && !IsMark(c))) {
    End();
  }
  if (word_.empty()) ++words_;
  is_open_ = true;
  ++characters_;
  if (c >= 0x80) ++unspaced_;
  word_.append(bytes.data(), bytes.size());
  if (word_.size() > kMostWordBytes) word_.erase(0, word_.size() - kLongWordBytes);
  after_end_ = mode_ == Mode::kSentences && (after_end_ || EndsWithoutSpace(c, before_));
  after_clause_ = unspaced_ - (c >= 0x80 ? 1 : 0) >= kManyUnspacedCharacters && EndsClause(c);
  before_ = c;
  Emit(bytes);
}

void SentenceSegmenter::Decide(bool whole) {
  const std::optional<bool> ends = rules_.EndsBetween(previous_, last_, held_, whole);
  if (!ends.has_value() && !whole) return;
  holds_ = false;
  if (ends == true) {
    has_sentences_ = true;
    End();
  }
  TakeHeld();
}

void SentenceSegmenter::TakeHeld() {
  const std::string held = std::exchange(held_, "");
  held_characters_ = 0;
  for (absl::string_view rest = held; !rest.empty();) {
    const DecodedCharacter first = FirstCharacter(rest);
    TakeInWord(first.code_point, rest.substr(0, first.bytes));
    rest.remove_prefix(first.bytes);
  }
}

bool SentenceSegmenter::IsTooLong() const {
  if (words_ >= kMostWords || characters_ >= kMostCharacters) return true;
  return words_ >= kManyWords && EndsClause(LastCharacter(last_).code_point);
}

void SentenceSegmenter::Emit(absl::string_view bytes) {
  if (parts_.empty() || parts_.back().ends_segment) parts_.push_back({"", given_, false});
  parts_.back().text.append(bytes.data(), bytes.size());
  given_ += static_cast<int64_t>(bytes.size());
}

void SentenceSegmenter::End() {
  Emit("");
  parts_.back().ends_segment = true;
  Begin();
}

void SentenceSegmenter::Begin() {
  previous_.clear();
  last_.clear();
  word_.clear();
  is_open_ = false;
  words_ = characters_ = unspaced_ = line_feeds_ = 0;
  before_ = 0;
  after_end_ = after_clause_ = false;
}

}  // namespace leapstream
