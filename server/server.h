#ifndef LEAPSTREAM_SERVER_SERVER_H_
#define LEAPSTREAM_SERVER_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/budget.h"
#include "base/clock.h"
#include "model/api/model.h"
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

struct ServerOptions {
  std::string listen = "0.0.0.0:50051";  // Port 0: any free one.
  bool log_text = false;                 // True: translations and error messages are logged.
  int replicas = 1;                      // Step threads of each model, which share its weights.
  int max_sessions = 0;                  // 0: as many as fit into half of the memory.
  SessionLimits limits;
  PauseRule pause;                  // The pauses for sessions of audio that do not choose any.
  int max_message_bytes = 1 << 20;  // The size of any request; gRPC itself refuses larger ones.
  // The bytes that gRPC may hold of messages that are not read yet; 0: a share of the free memory.
  int64_t buffer_bytes = 0;
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

  // True: a drain also closes the port, for proxies that only notice a refused connection.
  bool drain_stops_listening = false;

  std::string metrics_listen;  // The HTTP port for scrapers and probes; empty: none.
  std::string admin_listen;    // The port of leapstream.admin.v1; empty: none.
  // The time that a turn of a step loop may take before the server calls itself dead.
  absl::Duration liveness_timeout = absl::Seconds(60);
};

// Functions that the owner of a server provides. The server calls them from several threads at
// once.
struct ServerHooks {
  // Loads the model of this name anew from the place that it came from. `loaded` has its versions
  // that are in memory. If one of them has the same content, it is returned again. Null: models are
  // not reloaded.
  std::function<absl::StatusOr<std::shared_ptr<const Model>>(
      const std::string& name, const std::vector<std::shared_ptr<const Model>>& loaded)>
      load;
  // Starts a drain, as SIGTERM does. Null: the admin service cannot drain.
  std::function<void()> drain;
};

struct ReloadedModel {
  std::string name;
  std::string old_checksum;
  std::string new_checksum;
};

// A listening gRPC server with `replicas` schedulers per model, health and reflection. If addresses
// for them are given, it also has metrics over HTTP and the admin service. Thread-safe.
//
// Health (grpc.health.v1) knows three services. "" and the name of the translation service are
// SERVING unless the server drains or its port refuses connections. "liveness" is SERVING unless a
// thread hangs that steps a model or accepts connections.
class Server {
 public:
  // INVALID_ARGUMENT: no model, two of one name, a bad address, or a bad key, certificate or token
  // file. NOT_FOUND: a file cannot be read. RESOURCE_EXHAUSTED: no memory for the states of
  // sessions, or no descriptors for TLS. UNAVAILABLE: nothing can listen on an address.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const ServerOptions& options, std::vector<std::shared_ptr<const Model>> models,
      const ServerHooks& hooks = {});
  virtual ~Server() = default;  // Shuts down at once, unless Shutdown() was called before.

  virtual int port() const = 0;
  virtual int metrics_port() const = 0;  // 0: there is none.
  virtual int admin_port() const = 0;    // 0: there is none.
  virtual int max_sessions() const = 0;
  // Health, /readyz and the metrics say that this server drains, but it serves on as before: load
  // balancers need time to notice, and send calls here meanwhile. Blocks until the time `until`, or
  // until Force(). To be followed by Shutdown().
  virtual void AnnounceDrain(SteadyTime until) = 0;
  // Drains the server: health says NOT_SERVING, new calls are refused, and open streams are told
  // and end with their open segments. Calls that are left at the deadline, or when Force() is
  // called, end with UNAVAILABLE. Blocks until the server has ended; a call after that does
  // nothing.
  virtual void Shutdown(SteadyTime deadline) = 0;
  // Ends AnnounceDrain() and the wait of Shutdown(), now and whenever they are called later.
  virtual void Force() = 0;
  // Loads all models anew; see ModelReloader.
  virtual absl::StatusOr<std::vector<ReloadedModel>> ReloadModels() = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_SERVER_H_
