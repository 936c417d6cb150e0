#ifndef LEAPSTREAM_SERVER_SERVER_H_
#define LEAPSTREAM_SERVER_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "model/api/model.h"
#include "server/options.h"

namespace leapstream {

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
