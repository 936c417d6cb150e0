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
#include "model/api/tokenizer.h"
#include "streaming/session.h"
#include "streaming/symbol_alignment.h"
#include "streaming/text_source.h"

namespace leapstream {

// A word of text and its tokens, or one piece or token id.
// A word of a script without spaces comes in parts, since it may be a whole text: each part has the
// tokens that are final.
struct SourceWord {
  absl::InlinedVector<TokenId, 8> tokens;
  SourcePosition at;  // The word's beginning. For text it is set only if places are wanted.
  bool unspaced = false;   // It is text with a character of a script without spaces.
  bool continued = false;  // It is a part, but not the first one, of the word popped before it.
  bool open = false;       // It is a part, but not the last one.
  bool in_text = false;    // It is text, and tokens of the text came before it.
  // With KeepText(): the text, as it came, and the place at which each token ends. Of an unspaced
  // word that is a place of `text`, which goes up to the end of the part's last token unless the
  // word ends; of any other word it is one of the text that was tokenised.
  std::string text;
  absl::InlinedVector<uint16_t, 8> ends;
};

// The source of one segment as words, whatever form it has: text, pieces or token ids. The words of
// a text do not depend on its chunks. TextSource cuts text, and the source side of the model's
// tokenizer makes tokens of each word, some only after later words. Work is counted as in
// SegmentSource. Used by the step thread only; not thread-safe.
class WordSource {
 public:
  // `model` must outlive this. `places`: SourceWord::at and rest_at() are wanted for text.
  // `in_text`: the first segment goes on within a text; see ResumeFrom.
  WordSource(const Model& model, bool places, bool in_text = false)
      : model_(model),
        places_(places),
        next_in_text_(in_text),
        text_(model.source_tokenizer->cuts_at_spaces_only()) {}

  // Asks for the texts of words. `without_tags`: they are tokenised without their tags.
  void KeepText(bool without_tags) {
    keeps_text_ = true;
    without_tags_ = without_tags;
  }

  void Open();  // Begins a segment, and forgets all of the segment before it.
  // Takes a chunk of source, which begins at `at`. INVALID_ARGUMENT: it has another form than the
  // segment, or a token id that no source may have. REQUIRES: all pieces and ids that came before
  // have been popped.
  absl::Status Append(SourceInput source, SourcePosition at, int64_t* work);
  void Close();  // Ends the segment: the last word is complete, and all words are final.

  // Pops the next word. False: there is none yet, or the work is used up. INVALID_ARGUMENT: the
  // text is not UTF-8, or the piece is one that no source may have.
  absl::StatusOr<bool> PopWord(int64_t* work, SourceWord* word);

  bool is_text() const;      // Whether source has come, and is text.
  SourcePosition rest_at();  // The beginning of the source that was not popped.
  bool rest_in_text() const;  // SourceWord::in_text of the word there.
  // Forgets all source from rest_at() on, and returns how many bytes it had: see DroppedBytes().
  int64_t DropRest();

 private:
  // Whether no source may have the token: those of frames are the server's to add, and fairseq pads
  // between sentences only.
  bool IsSpecial(TokenId id) const;
  // The error for a piece or an id of that kind.
  absl::Status SpecialToken(absl::string_view what) const;

  struct Chunk {  // A chunk of text.
    size_t begin;  // Its offset in the text of text_.
    SourcePosition at;
  };
  struct Held {  // A word of text that the tokenizer has seen and that was not popped.
    SourcePosition at;
    size_t bytes = 0;
    bool unspaced = false;
    bool begun = false;  // A part of it was popped.
    bool in_text = false;  // SourceWord::in_text; set once a part of it was popped.
    // With KeepText():
    bool is_tags = false;  // It has nothing else, and the tokenizer does not see it.
    std::string text;      // As far as the tokenizer has seen it.
    SymbolAlignment alignment;
  };
  absl::StatusOr<bool> PopTextWord(int64_t* work, SourceWord* word);
  // Fills in the text of a word, or the part of one, with these symbols.
  void SetText(const SourceTokenizer::Symbols& symbols, Held* held, SourceWord* word) const;
  void OpenWords();  // Forgets all words.
  // Gives the tokenizer the next word of text, or the end of the text. False: see PopWord().
  absl::StatusOr<bool> AppendWord(int64_t* work);
  // Gives the tokenizer the beginning of the next word. False: nothing new is final.
  bool PeekWord(int64_t* work);
  // The place of an offset in the text of text_. Offsets must not fall from call to call.
  SourcePosition TextAt(size_t offset);

  const Model& model_;
  const bool places_;
  bool keeps_text_ = false;
  bool without_tags_ = false;
  bool next_in_text_;     // The segment that Open() begins next goes on within a text.
  bool in_text_ = false;  // Tokens of the text were popped.
  std::optional<size_t> form_;  // The alternative of SourceInput that the segment has.
  TextSource text_;
  std::deque<Chunk> chunks_;  // The chunks of which text_ has a part.
  TokenizerState state_;
  std::deque<Held> held_;  // Words in order. The first ones belong to the words of ready_.
  std::vector<SourceTokenizer::Symbols> ready_;  // The words that are final.
  size_t next_ready_ = 0;                        // The number of ready_ that were popped.
  SourceTokenizer::Symbols early_;  // The final symbols of the word that is not complete.
  size_t peeked_ = 0;               // The bytes of that word that the tokenizer has seen.
  bool open_word_ = false;          // The last one of held_ is that word.
  bool closed_ = false;                          // Close() was called.
  bool words_finished_ = false;                  // The tokenizer was told the end of the text.
  // The newest chunk of pieces or ids:
  std::vector<std::string> pieces_;
  std::vector<TokenId> ids_;
  SourcePosition at_;  // The chunk's beginning.
  size_t popped_ = 0;  // The number of pieces or ids of the chunk that were popped.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_WORD_SOURCE_H_
