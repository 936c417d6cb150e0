#ifndef LEAPSTREAM_CLIENT_CLI_LOCAL_SERVER_H_
#define LEAPSTREAM_CLIENT_CLI_LOCAL_SERVER_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream::client {

// A leapstream-server that this process started on a free loopback port, from the folder of this
// program or else from $PATH. The server ends with this object, and dies with this process.
class LocalServer {
 public:
  // Waits until the server serves `model`, a model directory. NOT_FOUND: there is no such program.
  // FAILED_PRECONDITION: the server ended, for example because of the model; the message has the
  // end of its log.
  static absl::StatusOr<std::unique_ptr<LocalServer>> Start(const std::string& model);
  ~LocalServer();
  LocalServer(const LocalServer&) = delete;
  LocalServer& operator=(const LocalServer&) = delete;

  const std::string& address() const { return address_; }

 private:
  LocalServer() = default;
  bool running();
  std::string LogEnd() const;
  void RemoveFolder();

  // Folder of the port file and the log. It is removed as soon as the server serves, so that it
  // does not stay when this process is killed.
  std::string folder_;
  pid_t pid_ = 0;
  std::string address_;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_LOCAL_SERVER_H_
