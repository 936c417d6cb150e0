#ifndef LEAPSTREAM_SERVER_WIRE_OPEN_REQUEST_H_
#define LEAPSTREAM_SERVER_WIRE_OPEN_REQUEST_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "server/rpc/resume_points.h"
#include "server/serving.h"
#include "streaming/scheduler.h"
#include "streaming/session.h"

namespace leapstream {

// The checked content of a stream's first message.
struct OpenRequest {
  std::shared_ptr<Scheduler> scheduler;  // Keeps the weights that the session begins with.
  SessionOptions options;
  PauseRule pause;                // If it is off, the client or a cut ends segments.
  bool sentences = false;         // The server ends segments of text where sentences end.
  absl::Duration idle_timeout;
  v1::SessionConfig effective;    // The client's config with every unset field filled in.
  std::string config_digest;
  std::string resumed_id;         // The session that goes on; empty: a new one begins.
  ResumeFrom from;
  ResumePoint start;

  bool is_audio() const { return scheduler->model()->info.speech.has_value(); }
  // True: the server decides where segments end, or where the source of a next segment begins. It
  // also does so in audio that becomes too long.
  bool server_ends_segments() const { return pause.on() || options.next_segments; }
};

// Reads and checks the config of a stream of `principal`, and the token of a resume.
// INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION: see the error table of docs/protocol.md.
absl::StatusOr<OpenRequest> ReadOpenRequest(const v1::SessionConfig& config,
                                            const Serving& serving, absl::string_view principal);

// The answer to a request, for the session of this id.
v1::SessionStarted ToStarted(const OpenRequest& request, const SessionLimits& limits,
                             const std::string& session_id);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_WIRE_OPEN_REQUEST_H_
