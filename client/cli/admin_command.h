#ifndef LEAPSTREAM_CLIENT_CLI_ADMIN_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_ADMIN_COMMAND_H_

#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"

namespace leapstream::client {

// The command `leapstream admin sessions | stats | drain | reload`: its flags, and running it.
class AdminCommand {
 public:
  // Adds the command to `app`, which must not parse once this object is gone. `footer` ends the
  // command's --help.
  void AddTo(CLI::App& app, const std::string& footer);
  // Runs what was chosen; nullopt: the command was not chosen.
  std::optional<absl::Status> Run();

 private:
  CLI::App* admin_ = nullptr;
  CLI::App* sessions_ = nullptr;
  CLI::App* stats_ = nullptr;
  CLI::App* drain_ = nullptr;
  CLI::App* reload_ = nullptr;
  std::string address_ = "127.0.0.1:50052";
  std::string model_;
  bool json_ = false;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_ADMIN_COMMAND_H_
