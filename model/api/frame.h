#ifndef LEAPSTREAM_MODEL_API_FRAME_H_
#define LEAPSTREAM_MODEL_API_FRAME_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/api/vocabulary.h"

namespace leapstream {

// The token ids that surround a segment's words, for one pair of languages: FrameConfig with its
// symbols looked up. fairseq's `translation` task has the default. docs/fairseq.md, "Frames", has
// the rules.
struct Frame {
  std::vector<TokenId> source_lead;                    // Read before the first READ; no READs.
  std::vector<TokenId> source_tail = {kEndOfSentence};  // The last READ reads these together.
  TokenId start = kEndOfSentence;                      // The token that the first step feeds.
  std::vector<TokenId> forced;  // Written before the first WRITE; no WRITEs, and not in the text.
  TokenId end = kEndOfSentence;                        // The token that ends the translation.

  bool operator==(const Frame& other) const;
};

// The frame of `config` with the tokens of the two languages, either of which may be null if the
// frame does not name it. `source_vocabulary` is null for speech, which has neither lead nor tail.
// INVALID_ARGUMENT: a symbol that the dictionary of its side lacks, or a language that is missing
// or has no token for its side. The message names the place, the symbol and the remedy.
absl::StatusOr<Frame> ResolveFrame(const FrameConfig& config, const LanguageConfig* source,
                                   const LanguageConfig* target,
                                   const Vocabulary* source_vocabulary,
                                   const Vocabulary& target_vocabulary);

// The ids of one side's dictionary that its part of a frame may have, for any pair of languages,
// and </s>. No text, piece or id of a user becomes one of the source's, and the target's are not
// part of a translation's text.
class FrameTokens {
 public:
  FrameTokens() = default;  // The tokens of a frame without languages.

  // The tokens of the frame's lead and tail, for all languages, that are in `vocabulary`.
  static FrameTokens OfSource(const FrameConfig& config,
                              const std::vector<LanguageConfig>& languages,
                              const Vocabulary& vocabulary);
  // As OfSource(), of the start, the forced tokens and the end.
  static FrameTokens OfTarget(const FrameConfig& config,
                              const std::vector<LanguageConfig>& languages,
                              const Vocabulary& vocabulary);

  // The special symbols but for </s> are none, even if a frame has them.
  bool Has(TokenId id) const;

 private:
  FrameTokens(const std::vector<std::string>& entries,
              const std::vector<LanguageConfig>& languages, const Vocabulary& vocabulary);

  std::vector<TokenId> ids_ = {kEndOfSentence};  // Sorted.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_FRAME_H_
