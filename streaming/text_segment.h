#ifndef LEAPSTREAM_STREAMING_TEXT_SEGMENT_H_
#define LEAPSTREAM_STREAMING_TEXT_SEGMENT_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "metrics/word_timing.h"
#include "streaming/segment_source.h"
#include "streaming/word_source.h"

namespace leapstream {

// Text, pieces or token ids: a READ reads one source token, the last one </s>. Where a segment
// leaves source to the next one (SessionOptions::next_segments), that begins with whole words.
class TextSegment final : public SegmentSource {
 public:
  // `model` takes text and must outlive this. The first `skip_tokens` tokens of the first word that
  // has some are of an earlier segment.
  TextSegment(const SessionOptions& options, const Model& model, int skip_tokens);

  void Open() override;
  void OpenWithRest() override;
  absl::Status Append(SourceInput source, SourcePosition at, int64_t* work) override;
  void Close() override;
  absl::StatusOr<Next> NextRead(int64_t* work) override;
  int due_reads() const override { return static_cast<int>(due_.size()); }
  SourceRows due_rows(SessionState* state) const override { return {state, due_}; }
  void ForgetReads() override { due_.clear(); }
  Progress progress() const override;
  bool is_empty() const override { return given_ == 0 && (closed_ || cut_); }
  int64_t encoder_rows() const override { return given_; }
  double Delay(int source_read) const override { return source_read; }
  const metrics::SourceWordEnds* words() const override { return &words_; }
  SourceLeft Leave(int source_read) override;

 private:
  struct Word : SourceWord {
    int first = 0;    // Source tokens of the segment before it.
    int skipped = 0;  // Tokens of the word's beginning that are of segments before.
    int end() const { return first + static_cast<int>(tokens.size()); }
  };

  // Moves the next word to tokens_. False: there is none yet, or the work is used up.
  absl::StatusOr<bool> ReadWord(int64_t* work);
  // Keeps a word that the next segment may begin with, and forgets words that it cannot begin with.
  void Keep(const Word& word);
  // Finds in kept_ where the next segment begins; `read`: source tokens that were read.
  void FindRest(int read, SourceLeft* left);
  int waiting() const { return static_cast<int>(tokens_.size() - next_); }
  void DropTokens();
  void OpenTokens();

  const Model& model_;
  const bool next_segments_;
  const int limit_;  // Source tokens of a segment, </s> included.
  int skip_tokens_;  // Tokens to be skipped of the next word that has some.
  WordSource source_;
  std::vector<TokenId> due_;

  // The open segment:
  int given_ = 0;                // Source tokens that were made due, </s> included.
  std::vector<TokenId> tokens_;  // Tokens of words that were popped,
  size_t next_ = 0;              // of which so many were made due.
  int unread_ = 0;            // Tokens of a word that were dropped because a limit cut the source.
  std::deque<Word> carried_;  // Words that the segment before left; they are read first.
  std::deque<Word> kept_;     // Words that the next segment may begin with.
  metrics::SourceWordEnds words_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_TEXT_SEGMENT_H_
