#ifndef LEAPSTREAM_SERVER_EFFECTIVE_CONFIG_H_
#define LEAPSTREAM_SERVER_EFFECTIVE_CONFIG_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "model/api/model.h"
#include "server/server.h"
#include "streaming/session.h"

namespace leapstream {

// What a session of `model` is to do. INVALID_ARGUMENT: an enum value that does not exist, or a
// number that no session can have; the scheduler checks the rest.
absl::StatusOr<SessionOptions> ToSessionOptions(const v1::SessionConfig& config,
                                                const SessionLimits& limits,
                                                const ModelInfo& model);

// `requested` with every unset field replaced by what was applied.
v1::SessionConfig EffectiveConfig(const v1::SessionConfig& requested, const SessionOptions& options,
                                  const ModelInfo& model);

// Where `config` or, if it says nothing, the server's default ends segments of audio. Off for text.
// INVALID_ARGUMENT: out of range, or asked for of a model of text.
absl::StatusOr<PauseRule> ToPauseRule(const v1::SessionConfig& config,
                                      const PauseRule& default_rule, const ModelInfo& model);
v1::PauseDetection ToProto(const PauseRule& rule);

// A digest of all that decides what a session puts out: what a resume must not change.
std::string ConfigDigest(const v1::SessionConfig& effective, const SessionOptions& options);

// What the client asks for, clamped to the server's limit; that, if it asks for nothing.
absl::Duration IdleTimeout(const v1::SessionConfig& config, const SessionLimits& limits);

v1::SegmentStats ToProto(const SegmentStats& stats);
v1::FinishReason ToProto(FinishReason reason);
google::protobuf::Duration ToProto(absl::Duration duration);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_EFFECTIVE_CONFIG_H_
