#ifndef LEAPSTREAM_CLIENT_CLI_SIMULEVAL_BRIDGE_H_
#define LEAPSTREAM_CLIENT_CLI_SIMULEVAL_BRIDGE_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/client.h"
#include "client/evaluation/latency_unit.h"

namespace leapstream::client {

struct BridgeOptions {
  std::string host = "127.0.0.1";
  int port = 12321;          // SimulEval's default; 0: a free one.
  std::string port_file;     // If set, the port is written to it once the bridge listens.
  std::string model_folder;  // If set, a server of our own is started for it.
  ClientOptions connection;  // The server to use if model_folder is not set.
  StreamOptions stream;
  // The evaluator's unit. If it is not set, words are taken, and characters where
  // IsWrittenWithoutSpaces() holds for the target language, which is then said on standard error.
  std::optional<LatencyUnit> unit;
};

// Speaks the remote protocol of SimulEval 1.1 (simuleval/agents/service.py), a gRPC session per
// sentence, until SIGINT or SIGTERM, which it takes over:
//   POST /reset    a new sentence
//   PUT  /input    a segment: {"content": "word", "finished": false, …}
//   GET  /output   the units that it completed: {"content": "Wort", "finished": false, …}
//   GET  /         what this is
// A request that says neither how long its body is nor that it comes in chunks has no body. Other
// requests are answered with status 404, or 405 if only the method is wrong, and with a list of
// these. A server's error is answered with status 500 and its text, and logged. INVALID_ARGUMENT:
// the address cannot be listened on.
absl::Status SimulEvalBridge(const BridgeOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_SIMULEVAL_BRIDGE_H_
