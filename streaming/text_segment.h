#ifndef LEAPSTREAM_STREAMING_TEXT_SEGMENT_H_
#define LEAPSTREAM_STREAMING_TEXT_SEGMENT_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "metrics/word_timing.h"
#include "streaming/segment_source.h"
#include "streaming/term_finder.h"
#include "streaming/word_source.h"

namespace leapstream {

// A source of text, pieces or token ids. A READ reads one source token; the last READ reads the
// tokens of the frame's end, which count as one.
// If a segment leaves source to the next one (SessionOptions::next_segments), that source begins
// with a whole word, or within a long one, or within one of a script without spaces.
class TextSegment final : public SegmentSource {
 public:
  // `model` takes text and must outlive this. The first segment begins at `from`: the first
  // from.skip_tokens tokens of the first word with tokens belong to an earlier segment.
  TextSegment(const SessionOptions& options, const Model& model, const Frame& frame,
              const ResumeFrom& from);

  void Open() override;
  void OpenWithRest() override;
  absl::Status Append(SourceInput source, SourcePosition at, int64_t* work) override;
  void Close() override;
  absl::StatusOr<Next> NextRead(int64_t* work) override;
  int due_reads() const override { return due_reads_; }
  SourceRows due_rows(SessionState* state) const override { return {state, due_}; }
  void ForgetReads() override {
    due_.clear();
    due_reads_ = 0;
  }
  Progress progress() const override;
  bool is_empty() const override { return given_ == 0 && (closed_ || cut_); }
  int64_t encoder_rows() const override { return given_; }
  double Delay(int source_read) const override { return source_read; }
  const metrics::SourceWordEnds* words() const override { return &words_; }
  std::vector<FoundTerm> TakeTerms() override {
    return finder_ == nullptr ? std::vector<FoundTerm>() : finder_->Take();
  }
  SourceLeft Leave(int source_read) override;

 private:
  // Counts the token that a READ has made due, which may end a word and a chunk.
  void CountRead();

  struct Word : SourceWord {
    int first = 0;    // The number of the segment's source tokens before the word.
    int skipped = 0;  // The number of the word's first tokens that belong to earlier segments.
    int end() const { return first + static_cast<int>(tokens.size()); }
    // Whether all of it is among so many tokens.
    bool IsWithin(int read) const { return tokens.empty() ? first < read : end() <= read; }
  };

  // Moves the next word's tokens to tokens_. False: there is no word yet, or the work is used up.
  absl::StatusOr<bool> ReadWord(int64_t* work);
  // Leaves out the first tokens of `word` that belong to an earlier segment.
  void SkipTokens(Word* word);
  static void DropFirst(int count, Word* word);  // Leaves out so many tokens, and their text.
  // Keeps a word that the next segment may begin with, and forgets words that it cannot begin with.
  // A part of a word is added to the part that is kept.
  void Keep(const Word& word);
  // Finds the beginning of the next segment in kept_. `read`: the source tokens that were read.
  void FindRest(int read, SourceLeft* left);
  int waiting() const { return static_cast<int>(tokens_.size() - next_); }
  void DropTokens();
  void OpenTokens();

  const Model& model_;
  const bool next_segments_;
  const int read_tokens_;  // The chunk of source of a READ; 0: it is in words, or one token.
  const int read_words_;
  const int limit_;  // The most READs of a segment, the end included.
  int skip_tokens_;  // The number of tokens to skip of the next word that has some.
  int open_tokens_ = 0;  // The tokens of the newest word's parts so far; 0: it is complete.
  WordSource source_;
  std::unique_ptr<TermFinder> finder_;  // Null: the session has neither a glossary nor mark-up.
  const std::vector<TokenId> tail_;  // The frame's tokens at the source's end.
  std::vector<TokenId> due_;         // The tokens of the READs that are due.
  int due_reads_ = 0;

  // The open segment:
  int given_ = 0;                // The number of READs that were made due, the end included.
  std::vector<TokenId> tokens_;  // The tokens of words that were popped.
  size_t next_ = 0;              // The number of tokens_ that were made due.
  std::vector<bool> ends_word_;  // Whether a word ends with each of tokens_.
  int words_read_ = 0;           // The complete words of the tokens that were made due.
  int looked_tokens_ = 0;        // The tokens and the words at the end of the last whole chunk.
  int looked_words_ = 0;
  int unread_ = 0;            // The tokens of a word that were dropped when a limit cut the source.
  std::deque<Word> carried_;  // Words that the segment before this one left; they are read first.
  std::deque<Word> kept_;     // Words that the next segment may begin with.
  metrics::SourceWordEnds words_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_TEXT_SEGMENT_H_
