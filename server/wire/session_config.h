#ifndef LEAPSTREAM_SERVER_WIRE_SESSION_CONFIG_H_
#define LEAPSTREAM_SERVER_WIRE_SESSION_CONFIG_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "model/api/model.h"
#include "server/options.h"
#include "streaming/session.h"

namespace leapstream {

// The options of a session of `model`, with the model's default languages. INVALID_ARGUMENT: an
// enum value that does not exist, or a number that no session can have; the scheduler checks the
// rest.
absl::StatusOr<SessionOptions> ToSessionOptions(const v1::SessionConfig& config,
                                                const SessionLimits& limits,
                                                const ModelInfo& model);

// The options of a beam search, and back. The scheduler checks them.
BeamOptions ToBeamOptions(const v1::BeamSearch& search);
v1::BeamSearch ToProto(const BeamOptions& options);

// Returns `requested` with every unset field set to the value that holds.
v1::SessionConfig EffectiveConfig(const v1::SessionConfig& requested, const SessionOptions& options,
                                  const ModelInfo& model);

// The pauses that end segments of audio: those of `config` or, if it has none, the server's
// default. The rule is off for text. INVALID_ARGUMENT: the pauses are out of range, or the model
// takes text.
absl::StatusOr<PauseRule> ToPauseRule(const v1::SessionConfig& config,
                                      const PauseRule& default_rule, const ModelInfo& model);

// A digest of all settings that decide a session's output. A resume must not change them.
std::string ConfigDigest(const v1::SessionConfig& effective, const SessionOptions& options);

// The client's idle timeout, but not more than the server's limit. Without one the limit holds.
absl::Duration IdleTimeout(const v1::SessionConfig& config, const SessionLimits& limits);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_WIRE_SESSION_CONFIG_H_
