#include "streaming/text_segment.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include "base/status.h"
#include "streaming/session_limits.h"

namespace leapstream {
namespace {

// The most tokens of a word within which no segment ends, if the segment has other words.
constexpr size_t kLongWord = 8;
// With more kept words, those that are mark-up alone are not kept.
constexpr size_t kKeptWords = 2048;

// See SessionOptions::read_words.
int WordsOfChunk(const SessionOptions& options) {
  if (options.read_tokens > 0 || options.read_words > 0) return options.read_words;
  return UsesDrafts(options.policy) ? 1 : 0;
}

}  // namespace

TextSegment::TextSegment(const SessionOptions& options, const Model& model, const Frame& frame,
                         const ResumeFrom& from)
    : model_(model),
      next_segments_(options.next_segments),
      read_tokens_(options.read_tokens),
      read_words_(WordsOfChunk(options)),
      limit_(SourceLimit(options, model.info)),
      skip_tokens_(std::max(from.skip_tokens, 0)),
      source_(model, options.next_segments, from.in_text),
      tail_(frame.source_tail) {
  if (options.glossary == nullptr && !options.keep_markup) return;
  finder_ = std::make_unique<TermFinder>(options.glossary, options.keep_markup);
  source_.KeepText(/*without_tags=*/options.keep_markup);
}

void TextSegment::Open() {
  OpenBase(false);
  open_tokens_ = 0;
  source_.Open();
  OpenTokens();
  carried_.clear();
  kept_.clear();
}

void TextSegment::OpenWithRest() {
  OpenBase(closed_);
  OpenTokens();
  std::move(carried_.begin(), carried_.end(), std::back_inserter(kept_));
  carried_ = std::move(kept_);
  kept_.clear();
}

void TextSegment::OpenTokens() {
  given_ = 0;
  tokens_ = std::vector<TokenId>();
  next_ = 0;
  unread_ = 0;
  ends_word_.clear();
  words_read_ = looked_tokens_ = looked_words_ = 0;
  words_ = metrics::SourceWordEnds();
  if (finder_ != nullptr) finder_->Reset();
}

absl::Status TextSegment::Append(SourceInput source, SourcePosition at, int64_t* work) {
  if (std::holds_alternative<AudioSamples>(source)) return WrongKind(model_.info, "text");
  return source_.Append(std::move(source), at, work);
}

void TextSegment::Close() {
  closed_ = true;
  source_.Close();
}

absl::StatusOr<SegmentSource::Next> TextSegment::NextRead(int64_t* work) {
  if (finished_) return Next::kNone;
  while (waiting() == 0 && !cut_) {
    bool found = false;
    if (*work > 0) {
      LEAPSTREAM_ASSIGN_OR_RETURN(found, ReadWord(work));
    }
    if (found) continue;
    if (*work <= 0) return Next::kWork;
    if (closed_) break;
    return Next::kWaits;
  }
  // The last position is kept for the end.
  if (given_ >= limit_ - 1 && waiting() > 0) cut_ = true;
  if (!cut_ && waiting() > 0) {
    due_.push_back(tokens_[next_]);
    ++due_reads_;
    ++given_;
    CountRead();
    return Next::kRead;
  }
  if (given_ == 0) return Next::kNone;  // The segment is empty.
  unread_ += waiting();
  DropTokens();
  finished_ = true;
  due_.insert(due_.end(), tail_.begin(), tail_.end());
  ++due_reads_;
  ++given_;
  return Next::kRead;
}

void TextSegment::CountRead() {
  if (ends_word_[next_++]) ++words_read_;
  const bool ends_tokens = read_tokens_ > 0 && given_ - looked_tokens_ >= read_tokens_;
  const bool ends_words = read_words_ > 0 && words_read_ - looked_words_ >= read_words_;
  if (!ends_tokens && !ends_words && (read_tokens_ > 0 || read_words_ > 0)) return;
  looked_tokens_ = given_;
  looked_words_ = words_read_;
}

absl::StatusOr<bool> TextSegment::ReadWord(int64_t* work) {
  Word word;
  if (!carried_.empty()) {
    word = std::move(carried_.front());
    carried_.pop_front();
  } else {
    bool found = false;
    LEAPSTREAM_ASSIGN_OR_RETURN(found, source_.PopWord(work, &word));
    if (!found) return false;
    const int before = word.continued ? open_tokens_ : 0;
    open_tokens_ = word.open ? before + static_cast<int>(word.tokens.size()) : 0;
    word.skipped = before;
    SkipTokens(&word);
  }
  word.first = given_;
  if (finder_ != nullptr && source_.is_text()) {
    finder_->Append(word, given_, work);
  }
  if (next_segments_ && (!word.tokens.empty() || !word.text.empty())) {
    Keep(word);
    // The limit cuts a word only if the word itself is longer than the limit, or is of a script
    // without spaces.
    if (word.first > 0 && word.end() > limit_ - 1 && !word.tokens.empty() && !word.unspaced) {
      cut_ = true;
      return true;
    }
  }
  if (source_.is_text()) {
    const int tokens = static_cast<int>(word.tokens.size());
    if (word.continued) {
      words_.Extend(tokens);
    } else {
      words_.Add(tokens);
    }
  }
  if (waiting() == 0) DropTokens();
  tokens_.insert(tokens_.end(), word.tokens.begin(), word.tokens.end());
  // In a script without spaces a word may be a whole text: there each token counts as one.
  ends_word_.resize(tokens_.size(), word.unspaced);
  if (!word.tokens.empty()) ends_word_.back() = true;
  return true;
}

void TextSegment::SkipTokens(Word* word) {
  if (skip_tokens_ == 0 || !source_.is_text() || word->tokens.empty()) return;
  const int skipped = std::min(skip_tokens_, static_cast<int>(word->tokens.size()));
  skip_tokens_ = word->open ? skip_tokens_ - skipped : 0;
  DropFirst(skipped, word);
}

void TextSegment::DropFirst(int count, Word* word) {
  word->skipped += count;
  word->tokens.erase(word->tokens.begin(), word->tokens.begin() + count);
  if (count == 0 || word->ends.empty()) return;
  if (!word->unspaced) {  // Its text is not looked at in parts.
    word->text.clear();
    word->ends.clear();
    return;
  }
  const uint16_t end = word->ends[static_cast<size_t>(count) - 1];
  word->text.erase(0, end);
  word->ends.erase(word->ends.begin(), word->ends.begin() + count);
  for (uint16_t& place : word->ends) place = static_cast<uint16_t>(place - end);
}

void TextSegment::Keep(const Word& word) {
  const int settled = end().value_or(given_);
  while (!kept_.empty() && kept_.front().IsWithin(settled)) kept_.pop_front();
  if (word.continued && !kept_.empty() && kept_.back().open) {
    Word& whole = kept_.back();
    whole.tokens.insert(whole.tokens.end(), word.tokens.begin(), word.tokens.end());
    for (const uint16_t end : word.ends) {
      whole.ends.push_back(static_cast<uint16_t>(whole.text.size() + end));
    }
    whole.text += word.text;
    whole.open = word.open;
  } else if (!word.tokens.empty() || kept_.size() < kKeptWords) {
    kept_.push_back(word);
  }
}

void TextSegment::DropTokens() {
  tokens_.clear();
  ends_word_.clear();
  next_ = 0;
}

Progress TextSegment::progress() const {
  Progress progress;
  progress.source_read = given_;
  progress.source_finished = finished_;
  progress.within_chunk = given_ > looked_tokens_ && !finished_;
  progress.source_words = words_read_;
  progress.source_length = given_;
  return progress;
}

SourceLeft TextSegment::Leave(int /*source_read*/) {
  const bool is_over = finished_ && !cut_;
  const int read = given_ - (finished_ ? 1 : 0);  // The number of tokens without the end.
  SourceLeft left;
  left.at_limit = cut_;
  if (next_segments_ && given_ > 0 && !is_over) {
    FindRest(read, &left);
    return left;
  }
  left.untranslated_tokens = unread_ + waiting() + ReadAfterEnd(read);
  left.dropped = given_ > 0 && !is_over;
  left.dropped_bytes = source_.DropRest();
  open_tokens_ = 0;
  DropTokens();
  kept_.clear();
  return left;
}

void TextSegment::FindRest(int read, SourceLeft* left) {
  const int end_read = std::min(end().value_or(read), read);
  while (!kept_.empty() && kept_.front().IsWithin(end_read)) kept_.pop_front();
  // A word of which a part was read comes again whole, unless it is long or of a script without
  // spaces, and so may be a whole text, or is all of the segment.
  if (!kept_.empty() && kept_.front().first < end_read) {
    Word& word = kept_.front();
    if (word.first == 0 || word.unspaced || word.tokens.size() > kLongWord) {
      DropFirst(end_read - word.first, &word);
    }
  }
  const std::deque<Word>& rest = kept_.empty() ? carried_ : kept_;
  left->continues_at = rest.empty() ? source_.rest_at() : rest.front().at;
  left->continues_in_text = rest.empty() ? source_.rest_in_text() : rest.front().in_text;
  left->continues_after_tokens = rest.empty() ? open_tokens_ : rest.front().skipped;
}

}  // namespace leapstream
