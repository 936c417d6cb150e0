#ifndef LEAPSTREAM_CLIENT_EVALUATION_EVALUATE_H_
#define LEAPSTREAM_CLIENT_EVALUATION_EVALUATE_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/client.h"
#include "client/evaluation/instance.h"
#include "client/evaluation/latency_unit.h"
#include "client/evaluation/piece_counter.h"

namespace leapstream::client {

struct EvaluationOptions {
  StreamOptions stream;
  int sessions = 64;    // Number at once.
  int first_index = 0;  // Index of sources[0] in its test set; lines in messages count from it.
  LatencyUnit unit = LatencyUnit::kWord;
  // For computation-aware lagging: a second of time counts as this many words, and as many pieces
  // as this many words of the sentence have on average.
  double words_per_second = 3;
  // The server's source tokenizer is its target tokenizer too. It can then count the references'
  // pieces, and lagging in pieces is measured against these. Otherwise the translation's own length
  // stands for the reference's.
  bool joined_vocabulary = false;
  std::function<void(int done)> on_progress;  // Called from several threads, not at once.
};

// Translates each source in a session of its own and records when each target unit was complete. A
// source is sent all at once: the pace of the text changes neither the translation nor what had
// been read when it was written. `sources` and `references` have one length and are UTF-8. The
// first error ends the evaluation and is returned. RESOURCE_EXHAUSTED: also if a source is longer
// than the server takes.
absl::StatusOr<std::vector<Instance>> Evaluate(Client& client, PieceCounter& pieces,
                                               absl::Span<const std::string> sources,
                                               absl::Span<const std::string> references,
                                               const EvaluationOptions& options);

// Does the same with recordings, given by their paths. Delays are ms of audio, and computation
// counts with its real duration: words_per_second and joined_vocabulary are not used. Errors are
// also those of AudioFile::Open().
absl::StatusOr<std::vector<Instance>> EvaluateSpeech(Client& client,
                                                     absl::Span<const std::string> recordings,
                                                     absl::Span<const std::string> references,
                                                     const EvaluationOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_EVALUATE_H_
