#ifndef LEAPSTREAM_CLIENT_CLI_WEB_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_WEB_COMMAND_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/client.h"
#include "client/web/page_server.h"

namespace leapstream::client {

// The command `leapstream web`. It must outlive the parsing of the arguments.
class WebCommand {
 public:
  void AddTo(CLI::App& app, const std::string& footer);
  // Serves until SIGINT or SIGTERM if the command was chosen; nullopt if not.
  std::optional<absl::Status> Run();

 private:
  absl::Status Serve();

  CLI::App* command_ = nullptr;
  ClientOptions connection_;
  PageOptions options_;
  std::string listen_ = "127.0.0.1:8080";
  std::string port_file_;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_WEB_COMMAND_H_
