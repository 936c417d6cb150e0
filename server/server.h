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
// for them are given, it also has the gateway of HTTP, metrics over HTTP and the admin service. Thread-safe.
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
  virtual int http_port() const = 0;     // 0: there is none.
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
