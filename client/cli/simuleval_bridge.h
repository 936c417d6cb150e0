#ifndef LEAPSTREAM_CLIENT_CLI_SIMULEVAL_BRIDGE_H_
#define LEAPSTREAM_CLIENT_CLI_SIMULEVAL_BRIDGE_H_

#include <string>

#include "absl/status/status.h"
#include "client/client.h"

namespace leapstream::client {

struct BridgeOptions {
  std::string host = "127.0.0.1";
  int port = 12321;          // SimulEval's default; 0: a free one.
  std::string port_file;     // If set, the port is written to it once the bridge listens.
  std::string model_folder;  // If set, a server of its own is started for it.
  ClientOptions connection;  // Else this one is used.
  StreamOptions stream;
};

// Speaks the remote protocol of SimulEval 1.1 (simuleval/agents/service.py), a gRPC session per
// sentence, until SIGINT or SIGTERM, which it takes over:
//   POST /reset    a new sentence
//   PUT  /input    a segment: {"content": "word", "finished": false, …}
//   GET  /output   the words that it completed: {"content": "Wort", "finished": false, …}
//   GET  /         what this is
// An error of the server's is answered with status 500 and its text, and logged.
// INVALID_ARGUMENT: the address cannot be listened on.
absl::Status SimulEvalBridge(const BridgeOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_SIMULEVAL_BRIDGE_H_
