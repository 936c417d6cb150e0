#ifndef LEAPSTREAM_STREAMING_POLICY_H_
#define LEAPSTREAM_STREAMING_POLICY_H_

#include <string>
#include <variant>

#include "absl/status/status.h"
#include "model/api/model.h"

// When to READ and when to WRITE. A policy is one pure value: the same progress gives the same
// action. Never kRead once the source is finished. A new one is a struct with these three functions
// and a line in Policy; the compiler then asks for its place on the wire
// (server/wire/session_config.cc).
namespace leapstream {

enum class Action { kRead, kWrite };

// How far a segment is, in tokens.
struct Progress {
  int source_read = 0;  // </s> counts. Of speech, pre-decision steps (SpeechInput::Steps()).
  int target_written = 0;
  bool source_finished = false;  // The source's </s> has been read.
  // What deciding the open step has asked for so far:
  int lag = 0;     // READs in this segment that were for an early </s>: EarlyEnd::kReadOn.
  int wanted = 0;  // The open step is decided again when so many source tokens have been read.
  // Speech: less has been read than one whole step. The reference then writes only when exactly as
  // much as is due has been read.
  bool source_is_short = false;
};

// Wait-k (Ma et al. 2019): reads k source tokens, then writes and reads by turns. With a model that
// was trained offline, test-time wait-k.
struct WaitK {
  int k = 3;
  int write_stride = 1;  // Tokens written per turn.

  // Target token t (from 1) is written when the source is finished or
  // k + lag + (t - 1) / write_stride tokens of it have been read.
  Action Decide(const Progress& progress) const;
  // INVALID_ARGUMENT: k is out of the model's range, or it decides itself.
  absl::Status CheckFor(const ModelInfo& model) const;
  std::string Name() const { return "k=" + std::to_string(k); }
};

// Reads the whole segment before it writes.
struct Offline {
  Action Decide(const Progress& progress) const;
  absl::Status CheckFor(const ModelInfo& model) const;
  std::string Name() const { return "offline"; }
};

// The model decides (Decision::wants_source): a WRITE is tried as soon as it can be.
struct Learned {
  Action Decide(const Progress& progress) const;
  // INVALID_ARGUMENT: the model has no policy of its own.
  absl::Status CheckFor(const ModelInfo& model) const;
  std::string Name() const { return "learned"; }
};

using Policy = std::variant<WaitK, Offline, Learned>;

Action Decide(const Policy& policy, const Progress& progress);
absl::Status CheckFor(const Policy& policy, const ModelInfo& model);
// What a session gets that asks for nothing: what the model was trained with, or else Offline.
Policy DefaultPolicy(const ModelInfo& model);
// "k=3", "offline", "learned"; for logs.
std::string ToString(const Policy& policy);

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_POLICY_H_
