#ifndef LEAPSTREAM_CLIENT_EVALUATION_PIECE_COUNTER_H_
#define LEAPSTREAM_CLIENT_EVALUATION_PIECE_COUNTER_H_

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "client/client.h"

namespace leapstream::client {

// Counts the source tokens that a server makes of a word. The client has no tokenizer, so it asks
// the server: a segment that holds the word alone reads that many tokens, and </s>. Servers
// tokenise word by word, so counts add up. Each word is asked for once. Thread-safe.
class PieceCounter {
 public:
  // `client` must outlive it. Only the model and languages of `options` matter.
  PieceCounter(Client* client, const StreamOptions& options);

  // The count of each word. Errors are the server's.
  absl::StatusOr<std::vector<int>> Count(absl::Span<const std::string> words);

 private:
  absl::Status Ask(const std::vector<std::string>& words);

  Client* const client_;
  StreamOptions options_;
  Mutex mutex_;
  absl::flat_hash_map<std::string, int> counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_PIECE_COUNTER_H_
