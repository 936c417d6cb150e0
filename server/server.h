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
  absl::Duration idle_connection = budget::kIdleConnection;
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

// What the owner of a server does for it. Called from several threads at once.
struct ServerHooks {
  // Loads the model of this name anew from where it came from; gives one of `loaded` again, which
  // are those of that name, if nothing has changed since that was. Null: models are not reloaded.
  std::function<absl::StatusOr<std::shared_ptr<const Model>>(
      const std::string& name, const std::vector<std::shared_ptr<const Model>>& loaded)>
      load;
  // Begins what SIGTERM begins. Null: the admin service cannot drain.
  std::function<void()> drain;
};

struct ReloadedModel {
  std::string name;
  std::string old_checksum;
  std::string new_checksum;
};

// A listening gRPC server with one scheduler per model, health and reflection; with metrics over
// HTTP and the admin service, if addresses for them are given. Thread-safe.
//
// Health (grpc.health.v1) knows "" and the service's name: SERVING unless it drains or its port
// refuses connections; and "liveness": SERVING, whatever comes over the port, unless a thread hangs
// that steps a model or accepts connections.
class Server {
 public:
  // INVALID_ARGUMENT: no model, two of one name, a bad address, or a bad key, certificate or token
  // file; NOT_FOUND: no such file; UNAVAILABLE: an address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const ServerOptions& options, std::vector<std::shared_ptr<const Model>> models,
      const ServerHooks& hooks = {});
  virtual ~Server() = default;  // Shuts down at once if that was not done.

  virtual int port() const = 0;
  virtual int metrics_port() const = 0;  // 0: there is none.
  virtual int admin_port() const = 0;    // The same.
  virtual int max_sessions() const = 0;
  // Health, /readyz and the metrics say that this server drains, and it serves on as before: load
  // balancers need time to notice, and until then send calls here. Blocks until then, or until
  // Force(). To be followed by Shutdown().
  virtual void AnnounceDrain(SteadyTime until) = 0;
  // Drains: health says NOT_SERVING, new calls are refused, open streams are told and end with
  // their open segments. What is left at the deadline, or when Force() is called, is ended with
  // UNAVAILABLE. Blocks; the second call and later ones do nothing.
  virtual void Shutdown(SteadyTime deadline) = 0;
  virtual void Force() = 0;
  // Loads all models anew; see ModelReloader.
  virtual absl::StatusOr<std::vector<ReloadedModel>> ReloadModels() = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_SERVER_H_
