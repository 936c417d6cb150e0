#ifndef LEAPSTREAM_CLIENT_TEXTS_H_
#define LEAPSTREAM_CLIENT_TEXTS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/client.h"

// Language models that go on with texts; docs/generation.md says what the fields mean.
namespace leapstream::client {

struct GenerateOptions {
  std::string model;  // Empty: the only one that generates.
  int max_tokens = 0;  // 0: the server's default.
  int min_tokens = 0;
  double temperature = 0;
  int top_k = 0;
  double top_p = 0;  // 0: all.
  uint64_t seed = 0;
  std::vector<std::string> stop;
  std::string state;  // GeneratedEnd::state of an earlier call; empty: a new text.
  bool return_state = false;
  absl::Duration deadline = absl::InfiniteDuration();
};

struct TextToken {
  int32_t id = 0;
  std::string piece;
  float log_prob = 0;
};

struct GeneratedEnd {
  std::string end;  // "end-of-sentence", "max-tokens" or "stop-sequence".
  int prompt_tokens = 0;
  int generated_tokens = 0;
  std::string state;
  bool state_too_large = false;
};

// A text in ids, of which the tokens from `scored_from` on are scored.
struct ScoredRow {
  std::vector<int32_t> ids;
  int scored_from = 0;
  bool without_start = false;  // It begins with its first token, not with </s> in front.
};

// The calls of LanguageModelService. Thread-safe. `client` must outlive this. A call is made once:
// the errors are those of docs/generation.md, and UNAVAILABLE if the server cannot be reached.
class Texts {
 public:
  explicit Texts(Client* client) : client_(client) {}

  // `on_text` gets text to append, and the tokens that gave it.
  using OnText =
      std::function<void(const std::string& text, const std::vector<TextToken>& tokens)>;
  absl::StatusOr<GeneratedEnd> Generate(absl::string_view prompt, const GenerateOptions& options,
                                        const OnText& on_text);
  // The log-probabilities of the scored tokens of each row.
  absl::StatusOr<std::vector<std::vector<float>>> Score(const std::string& model,
                                                        const std::vector<ScoredRow>& rows);
  // The ids of each text; `pieces`: the texts are pieces with spaces between them.
  absl::StatusOr<std::vector<std::vector<int32_t>>> Tokenize(const std::string& model,
                                                             const std::vector<std::string>& texts,
                                                             bool pieces);

 private:
  Client* const client_;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_TEXTS_H_
