#ifndef LEAPSTREAM_MODEL_API_FRAME_H_
#define LEAPSTREAM_MODEL_API_FRAME_H_

#include <vector>

#include "model/api/translator.h"
#include "model/api/vocabulary.h"

namespace leapstream {

// The token ids that surround a segment's words, for one pair of languages: FrameConfig with its
// symbols looked up. fairseq's `translation` task has the default.
struct Frame {
  std::vector<TokenId> source_lead;                    // Read before the first READ; no READs.
  std::vector<TokenId> source_tail = {kEndOfSentence};  // The last READ reads these together.
  TokenId start = kEndOfSentence;                      // The token that the first step feeds.
  std::vector<TokenId> forced;  // Written before the first WRITE; no WRITEs, and not in the text.
  TokenId end = kEndOfSentence;                        // The token that ends the translation.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_FRAME_H_
