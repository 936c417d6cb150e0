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
  int sessions = 64;    // At once.
  int first_index = 0;  // Of `sources`, in the test set that they are of; lines count from it.
  LatencyUnit unit = LatencyUnit::kWord;
  // For computation-aware lagging: a second that passed is worth this many words, and as many
  // pieces as this many words of the sentence have on average.
  double words_per_second = 3;
  // The server's source tokenizer is its target tokenizer too, so that it can count the references'
  // pieces, which lagging in pieces is then measured against. Else the translation's own length
  // stands for the reference's.
  bool joined_vocabulary = false;
  std::function<void(int done)> on_progress;  // Called from several threads, not at once.
};

// Translates each source as a session of its own and says when each target unit was complete. All
// of a source is sent at once: how fast text comes changes neither the translation nor what had
// been read when it was written. `sources` and `references` are of one length and UTF-8. The first
// error ends the evaluation and is returned. RESOURCE_EXHAUSTED: also if a source is longer than
// the server takes.
absl::StatusOr<std::vector<Instance>> Evaluate(Client& client, PieceCounter& pieces,
                                               absl::Span<const std::string> sources,
                                               absl::Span<const std::string> references,
                                               const EvaluationOptions& options);

// The same of recordings, by their paths. Delays are ms of audio, and computation counts as it is:
// words_per_second and joined_vocabulary are not used. Errors also as AudioFile::Open().
absl::StatusOr<std::vector<Instance>> EvaluateSpeech(Client& client,
                                                     absl::Span<const std::string> recordings,
                                                     absl::Span<const std::string> references,
                                                     const EvaluationOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_EVALUATE_H_
