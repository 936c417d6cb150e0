#ifndef LEAPSTREAM_SERVER_SERVER_H_
#define LEAPSTREAM_SERVER_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/api/model.h"

namespace leapstream {

struct ServerOptions {
  std::string listen = "0.0.0.0:50051";  // Port 0: any free one.
  bool log_text = false;                 // Translations and error messages are logged.
};

// A listening gRPC server with one scheduler per model, health and reflection. Thread-safe.
class Server {
 public:
  // INVALID_ARGUMENT: no model, or two of one name; UNAVAILABLE: the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const ServerOptions& options, std::vector<std::shared_ptr<const Model>> models);
  virtual ~Server() = default;  // Shuts down at once if that was not done.

  virtual int port() const = 0;
  // Refuses new calls, waits for the open ones until `deadline`, then cancels them. Blocks.
  virtual void Shutdown(absl::Time deadline) = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_SERVER_H_
