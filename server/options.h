#ifndef LEAPSTREAM_SERVER_OPTIONS_H_
#define LEAPSTREAM_SERVER_OPTIONS_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "base/budget.h"
#include "server/tls_files.h"
#include "streaming/pause_segmenter.h"

namespace leapstream {

// What one session may take, and how long; 0 turns a time limit off.
struct SessionLimits {
  int max_chunk_bytes = 64 << 10;        // Of a message of a stream, too.
  int max_source_tokens = 10000;         // Per segment, </s> included.
  int max_target_tokens = 20000;         // Per segment.
  int64_t max_queued_bytes = 256 << 10;  // Source that waits to be translated; then reading stops.
  int64_t max_unread_bytes =
      64 << 10;  // Output that the client leaves unread; then decoding stops.
  absl::Duration config_timeout = absl::Seconds(10);  // For the first message.
  absl::Duration idle_timeout = absl::Minutes(5);     // Without a message from the client.
  absl::Duration max_session_duration = absl::Hours(12);
  absl::Duration stuck_reader_timeout = absl::Seconds(30);  // For one message to be taken.
  absl::Duration heartbeat_interval = absl::Seconds(15);    // After a silence of the server.
};

struct ServerOptions {
  std::string listen = "0.0.0.0:50051";  // Port 0: any free one.
  bool log_text = false;                 // Translations and error messages are logged.
  int replicas = 1;                      // Step threads of each model, which share its weights.
  int max_sessions = 0;                  // 0: as many as fit into half of the memory.
  SessionLimits limits;
  PauseRule pause;                                    // For sessions of audio that ask for none.
  int max_message_bytes = 1 << 20;                    // Of any request; what gRPC itself refuses.
  int64_t buffer_bytes = 0;  // For gRPC, of messages that are not read; 0: by the free memory.
  absl::Duration idle_connection = budget::kIdleConnection;  // Until one without a call is closed.
  int64_t text_bytes = 0;    // For the texts of all calls, see ByteBudget; 0: by the free memory.
  absl::Duration keepalive_time = absl::Seconds(20);  // Then a silent peer is pinged…
  absl::Duration keepalive_timeout = absl::Seconds(10);  // …and taken for dead.
  std::string resume_key_file;  // Shared by all replicas; empty: a random key of this process.
  absl::Duration resume_lifetime = absl::Hours(1);  // Of a resume token.

  TlsFiles tls;
  std::string auth_tokens_file;        // See TokenFile; empty: nobody needs a token.
  int64_t max_state_bytes = 0;         // 0: see DefaultMaxStateBytes().
  int max_sessions_per_principal = 0;  // 0: no limit.

  // A drain also closes the port, for proxies that know of no health but a refused connection.
  bool drain_stops_listening = false;

  std::string metrics_listen;  // HTTP, for scrapers and probes; empty: none.
  std::string admin_listen;    // leapstream.admin.v1; empty: none.
  // How long a turn of a step loop may take before the server calls itself dead.
  absl::Duration liveness_timeout = absl::Seconds(60);
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_OPTIONS_H_
