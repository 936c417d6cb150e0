#include "streaming/word_source.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/budget.h"
#include "base/quoted.h"
#include "base/scripts.h"
#include "base/status.h"
#include "model/api/sentencepiece.h"
#include "streaming/markup.h"
#include "streaming/source_bytes.h"

namespace leapstream {
namespace {

constexpr size_t kTextForm = 0;  // The alternative of SourceInput that is text.

// The size of the beginning of `text` of which the mark-up is settled.
size_t SettledSize(absl::string_view text) {
  size_t settled = 0, next = 0;
  do {
    next = NextSettledPlace(text.substr(settled), /*markup=*/true).end;
    settled += next;
  } while (next > 0);
  return settled;
}

}  // namespace

bool WordSource::IsSpecial(TokenId id) const {
  return id == kPadding || model_.source_frame_tokens.Has(id);
}

absl::Status WordSource::SpecialToken(absl::string_view what) const {
  return absl::InvalidArgumentError(
      absl::StrCat("a source ", what,
                   "; the server itself adds </s> at the segment's end, and the "
                   "tokens of the session's languages"));
}

void WordSource::Open() {
  form_.reset();
  text_.Reset();
  chunks_.clear();
  OpenWords();
  state_.begun = in_text_ = std::exchange(next_in_text_, false);
  pieces_ = std::vector<std::string>();
  ids_ = std::vector<TokenId>();
  at_ = SourcePosition();
  popped_ = 0;
}

void WordSource::OpenWords() {
  closed_ = words_finished_ = false;
  state_ = TokenizerState();
  in_text_ = false;
  held_.clear();
  ready_.clear();
  next_ready_ = 0;
  early_.clear();
  peeked_ = 0;
  open_word_ = false;
}

absl::Status WordSource::Append(SourceInput source, SourcePosition at, int64_t* work) {
  if (form_.has_value() && *form_ != source.index()) {
    return absl::InvalidArgumentError(
        "a segment's source is either text, pieces or token ids; end the segment before changing");
  }
  form_ = source.index();
  if (auto* text = std::get_if<std::string>(&source)) {
    if (places_) {
      TextAt(text_.rest_begin());  // This forgets chunks without a rest, such as white space.
      chunks_.push_back({text_.end(), at});
    }
    text_.Append(*text);
    return absl::OkStatus();
  }
  at_ = at;
  popped_ = 0;
  if (auto* pieces = std::get_if<std::vector<std::string>>(&source)) {
    pieces_ = std::move(*pieces);
    return absl::OkStatus();
  }
  ids_ = std::get<std::vector<TokenId>>(std::move(source));
  *work -= static_cast<int64_t>(ids_.size()) / budget::kIdsPerWork;
  for (const TokenId id : ids_) {
    if (id < 0 || id >= model_.source_vocabulary.size() || IsSpecial(id)) {
      return SpecialToken(absl::StrCat("token id must be in [0, ", model_.source_vocabulary.size(),
                                       ") and not <pad>, </s> or a language's token, got ", id));
    }
  }
  return absl::OkStatus();
}

void WordSource::Close() {
  closed_ = true;
  text_.Finish();
}

absl::StatusOr<bool> WordSource::PopWord(int64_t* work, SourceWord* word) {
  if (popped_ < ids_.size()) {
    word->at = rest_at();
    word->tokens.push_back(ids_[popped_++]);
    return true;
  }
  if (popped_ >= pieces_.size()) return PopTextWord(work, word);
  word->at = rest_at();
  const std::string& piece = pieces_[popped_++];
  *work -= budget::kPieceWork;
  word->tokens.push_back(model_.source_vocabulary.Id(piece));
  if (IsSpecial(word->tokens[0])) {
    return SpecialToken(
        absl::StrCat("piece must not be <pad>, </s> or a language's token, got ", Quoted(piece)));
  }
  return true;
}

absl::StatusOr<bool> WordSource::PopTextWord(int64_t* work, SourceWord* word) {
  while (next_ready_ == ready_.size() && early_.empty() &&
         (held_.empty() || !held_.front().is_tags)) {
    bool appended = false;
    LEAPSTREAM_ASSIGN_OR_RETURN(appended, AppendWord(work));
    if (!appended) return false;
  }
  Held& held = held_.front();
  SourceTokenizer::Symbols symbols;
  if (!held.is_tags) {
    // Early symbols are of the word after all that are ready.
    word->open = next_ready_ == ready_.size();
    symbols = word->open ? std::exchange(early_, {}) : std::move(ready_[next_ready_++]);
  }
  for (const std::string& symbol : symbols) {
    const TokenId id = model_.source_vocabulary.Id(symbol);
    // A text that looks like a special token is a text all the same.
    word->tokens.push_back(IsSpecial(id) ? kUnknown : id);
  }
  if (keeps_text_) SetText(symbols, &held, word);
  if (word->tokens.empty()) *work -= budget::kEmptyWordWork;
  word->at = held.at;
  word->unspaced = held.unspaced;
  word->continued = held.begun;
  if (!held.begun) held.in_text = in_text_;
  held.begun = true;
  word->in_text = held.in_text;
  in_text_ = in_text_ || !word->tokens.empty();
  if (!word->open) held_.pop_front();
  return true;
}

void WordSource::SetText(const SourceTokenizer::Symbols& symbols, Held* held,
                         SourceWord* word) const {
  if (held->unspaced) {
    const size_t begin = held->alignment.end();
    const std::vector<MarkupSpan> tags =
        without_tags_ ? TagsOf(held->text) : std::vector<MarkupSpan>();
    for (const std::string& symbol : symbols) {
      const size_t end = held->alignment.Append(symbol, held->text, tags);
      word->ends.push_back(static_cast<uint16_t>(end - begin));
    }
    const size_t end = word->open ? held->alignment.end() : held->text.size();
    word->text = held->text.substr(begin, end - begin);
    return;
  }
  size_t end = 0;
  for (absl::string_view symbol : symbols) {
    absl::ConsumePrefix(&symbol, kSpaceSymbol);
    absl::ConsumeSuffix(&symbol, "@@");
    end += symbol.size();
    word->ends.push_back(static_cast<uint16_t>(end));
  }
  word->text = std::move(held->text);
}

absl::StatusOr<bool> WordSource::AppendWord(int64_t* work) {
  ready_.clear();
  next_ready_ = 0;
  std::string text;
  LEAPSTREAM_ASSIGN_OR_RETURN(text, text_.NextWord(work));
  if (text.empty()) {
    if (*work <= 0 || words_finished_) return false;
    if (!closed_) return PeekWord(work);
    words_finished_ = true;
    model_.source_tokenizer->FinishWords(&state_, &ready_);
    return !ready_.empty();
  }
  if (!open_word_) {
    held_.emplace_back().at = places_ ? TextAt(text_.word_begin()) : SourcePosition();
  }
  open_word_ = false;
  peeked_ = 0;
  held_.back().bytes = text.size();
  held_.back().unspaced = HasScriptWithoutSpaces(text);
  if (keeps_text_) held_.back().text = text;
  if (without_tags_) {
    text = WithoutTags(text);
    held_.back().is_tags = text.empty();
    if (text.empty()) return true;
  }
  model_.source_tokenizer->AppendWord(text, &state_, &ready_);
  *work -= static_cast<int64_t>(text.size()) * budget::kEncodedByteWork;
  return true;
}

bool WordSource::PeekWord(int64_t* work) {
  absl::string_view beginning = text_.beginning();
  std::string tagless;
  if (without_tags_ && beginning.find_first_of("<{%$") != absl::string_view::npos) {
    *work -= static_cast<int64_t>(beginning.size());
    beginning = beginning.substr(0, SettledSize(beginning));
  }
  if (beginning.size() <= peeked_) return false;
  peeked_ = beginning.size();
  if (without_tags_) tagless = WithoutTags(beginning);
  const int64_t encoded = model_.source_tokenizer->PeekWord(without_tags_ ? tagless : beginning,
                                                            &state_, &ready_, &early_);
  *work -= encoded * budget::kEncodedByteWork;
  if (!early_.empty()) {
    if (!open_word_) {
      open_word_ = true;
      Held& word = held_.emplace_back();
      word.at = places_ ? TextAt(text_.beginning_at()) : SourcePosition();
      word.unspaced = true;
    }
    if (keeps_text_) held_.back().text = std::string(beginning);
  }
  return !ready_.empty() || !early_.empty();
}

bool WordSource::is_text() const { return form_ == kTextForm; }

SourcePosition WordSource::rest_at() {
  if (is_text()) return held_.empty() ? TextAt(text_.rest_begin()) : held_.front().at;
  return {at_.chunks, at_.samples + static_cast<int64_t>(popped_)};
}

bool WordSource::rest_in_text() const {
  return !held_.empty() && held_.front().begun ? held_.front().in_text : in_text_;
}

SourcePosition WordSource::TextAt(size_t offset) {
  while (chunks_.size() > 1 && chunks_[1].begin <= offset) chunks_.pop_front();
  if (chunks_.empty()) return {};
  const Chunk& chunk = chunks_.front();
  return {chunk.at.chunks, chunk.at.samples + static_cast<int64_t>(offset - chunk.begin)};
}

int64_t WordSource::DropRest() {
  int64_t bytes = VisibleBytes(text_.rest());
  for (const Held& held : held_) bytes += held.begun ? 0 : static_cast<int64_t>(held.bytes);
  if (popped_ < ids_.size()) {
    bytes += static_cast<int64_t>((ids_.size() - popped_) * sizeof(TokenId));
  }
  for (size_t i = popped_; i < pieces_.size(); ++i) bytes += PieceBytes(pieces_[i]);
  pieces_.clear();
  ids_.clear();
  text_.Reset();
  chunks_.clear();
  OpenWords();
  return bytes;
}

}  // namespace leapstream
