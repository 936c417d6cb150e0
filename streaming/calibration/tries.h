#ifndef LEAPSTREAM_STREAMING_CALIBRATION_TRIES_H_
#define LEAPSTREAM_STREAMING_CALIBRATION_TRIES_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/api/languages.h"
#include "model/api/model.h"
#include "model/api/model_config.h"

namespace leapstream {

// One step of the decoder: it has read the first tokens of a sentence and written the first tokens
// of the sentence's translation, the one that the model gives once it has read all.
struct Try {
  int source_read = 0;
  int written = 0;
  float log_prob = 0;  // Of the best token.
  bool right = false;  // The best token is the next one of that translation.
  // For each layer of the decoder, the place in the source to which each of its heads attends
  // most, and then the place to which all of them do on average. kNoSource: not known. As with
  // Decision::attended, the newest token and those of the frame do not count.
  std::vector<int> attended;

  int lag() const { return source_read - written; }
};

// The tries of many sentences.
struct Tries {
  int layers = 0;
  int heads = 0;
  int sentences = 0;
  int target_tokens = 0;
  std::vector<Try> tries;
};

struct TryOptions {
  int sentences = 200;  // The first ones that are not too short and not too long.
  LanguagePair languages;  // By the model's own codes; see Model::FrameOf().
  bool attention = true;   // Fills in Try::attended.
  std::function<void(int done)> on_sentence;
};

// Translates each sentence greedily, and then tries each token of its translation with some
// prefixes of the sentence. `model` was loaded from a directory with the configuration `config`,
// and computes with leapstream's own kernels. INVALID_ARGUMENT: it takes speech, it has no such
// languages, or no sentence can be used. Other errors: those of Translator.
absl::StatusOr<Tries> CollectTries(const Model& model, const ModelConfig& config,
                                   absl::Span<const std::string> sentences,
                                   const TryOptions& options);

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_CALIBRATION_TRIES_H_
