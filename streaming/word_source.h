#ifndef LEAPSTREAM_STREAMING_WORD_SOURCE_H_
#define LEAPSTREAM_STREAMING_WORD_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/api/model.h"
#include "streaming/session.h"
#include "streaming/text_source.h"

namespace leapstream {

// A word of text and its tokens, or one piece or token id.
struct SourceWord {
  absl::InlinedVector<TokenId, 8> tokens;
  SourcePosition at;  // Where it begins; of text only if places are wanted.
};

// The source of one segment as words, whatever form it has: text, pieces or token ids. Any chunking
// of text gives the same words. Work is that of SegmentSource. Of the step thread; not thread-safe.
class WordSource {
 public:
  // `model` must outlive it. `places`: SourceWord::at and rest_at() are wanted of text.
  WordSource(const Model& model, bool places) : model_(model), places_(places) {}

  void Open();  // A segment begins; nothing of the one before it is left.
  // INVALID_ARGUMENT: a chunk of another form than the segment's, or a token id that no source has.
  // REQUIRES: all pieces and ids that came before have been popped.
  absl::Status Append(SourceInput source, SourcePosition at, int64_t* work);
  void Close();  // The segment's end: the last word is complete.

  // Pops the next word. False: there is none yet, or the work is used up. INVALID_ARGUMENT: the
  // text is not UTF-8, or a piece is one that no source has.
  absl::StatusOr<bool> PopWord(int64_t* work, SourceWord* word);

  bool is_text() const;  // Source has come, as text.
  SourcePosition rest_at();  // Where the source begins that no word has been made of.
  // Forgets that source, and returns how many bytes it had: see DroppedBytes().
  int64_t DropRest();

 private:
  struct Chunk {  // Of text.
    size_t begin;  // In text_.
    SourcePosition at;
  };
  absl::StatusOr<bool> PopTextWord(int64_t* work, SourceWord* word);
  SourcePosition TextAt(size_t offset);  // In text_; offsets must not fall.

  const Model& model_;
  const bool places_;
  std::optional<size_t> form_;  // The alternative of SourceInput.
  TextSource text_;
  std::deque<Chunk> chunks_;  // Those that text_ has something of.
  // What came last as pieces or ids, where that begins, and how many words were popped of it.
  std::vector<std::string> pieces_;
  std::vector<TokenId> ids_;
  SourcePosition at_;
  size_t popped_ = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_WORD_SOURCE_H_
