#ifndef LEAPSTREAM_SERVER_OPTIONS_H_
#define LEAPSTREAM_SERVER_OPTIONS_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "base/budget.h"
#include "server/tls_files.h"
#include "streaming/pause_segmenter.h"

namespace leapstream {

// The limits of one session, in bytes, tokens and time. 0 turns a time limit off.
struct SessionLimits {
  // The size of a source chunk. Any message after the first may have 1 KiB more.
  int max_chunk_bytes = 64 << 10;
  int max_source_tokens = 10000;  // The most of one segment, </s> included.
  int max_target_tokens = 20000;  // The most of one segment.
  // The source that may wait to be translated. Beyond it the server reads nothing more.
  int64_t max_queued_bytes = 256 << 10;
  // The output that the client may leave unread. Beyond it the server decodes nothing more.
  int64_t max_unread_bytes = 64 << 10;
  absl::Duration config_timeout = absl::Seconds(10);  // The wait for the first message.
  absl::Duration idle_timeout = absl::Minutes(5);     // The wait for any later message.
  absl::Duration max_session_duration = absl::Hours(12);
  absl::Duration stuck_reader_timeout = absl::Seconds(30);  // The wait for one message to be taken.
  // The silence of the server after which it sends a heartbeat.
  absl::Duration heartbeat_interval = absl::Seconds(15);
};

// The characters that a principal may send in so long; 0: no limit. See Account.
struct CharacterQuotas {
  int64_t per_minute = 0;
  int64_t per_day = 0;
};

struct ServerOptions {
  std::string listen = "0.0.0.0:50051";  // Port 0: any free one.
  bool log_text = false;                 // True: translations and error messages are logged.
  int replicas = 1;                      // Step threads of each model, which share its weights.
  int max_sessions = 0;                  // 0: as many as fit into half of the memory.
  SessionLimits limits;
  PauseRule pause;                  // The pauses for sessions of audio that do not choose any.
  int max_message_bytes = 1 << 20;  // The size of a request.
  // The size of a Generate with a state, which Server::Start() finds from the models; no setting.
  int max_state_message_bytes = 1 << 20;
  // The bytes that gRPC may hold of messages that are not read yet; 0: a share of the free memory.
  int64_t buffer_bytes = 0;
  // The time after which a connection without a call is closed.
  absl::Duration idle_connection = budget::kIdleConnection;
  // The limit of the ByteBudget of all calls; 0: a share of the free memory.
  int64_t text_bytes = 0;
  absl::Duration keepalive_time = absl::Seconds(20);  // The silence after which a peer is pinged.
  // The wait for the answer to a ping. Then the peer is taken for dead.
  absl::Duration keepalive_timeout = absl::Seconds(10);
  // The key of resume tokens, which all servers share; empty: a random key of this process.
  std::string resume_key_file;
  absl::Duration resume_lifetime = absl::Hours(1);  // The time that a resume token is good.

  TlsFiles tls;
  std::string auth_tokens_file;        // See TokenFile; empty: nobody needs a token.
  int64_t max_state_bytes = 0;         // 0: see DefaultMaxStateBytes().
  int max_sessions_per_principal = 0;  // 0: no limit.
  CharacterQuotas quotas;              // Those of each principal.

  // The files of glossaries, by the names of the models whose sessions have them unless they bring
  // one; no setting, but a part of each model's.
  std::map<std::string, std::string> glossary_files;

  // True: a drain also closes the port, for proxies that only notice a refused connection.
  bool drain_stops_listening = false;

  std::string http_listen;  // The port of the gateway for HTTP and WebSockets; empty: none.
  std::string http_allowed_origins;  // Origins of pages that may use it, with commas; "*": all.
  std::string metrics_listen;  // The HTTP port for scrapers and probes; empty: none.
  std::string admin_listen;    // The port of leapstream.admin.v1; empty: none.
  // The time that a turn of a step loop may take before the server calls itself dead.
  absl::Duration liveness_timeout = absl::Seconds(60);
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_OPTIONS_H_
