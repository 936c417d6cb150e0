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
  std::string model_folder;  // If set, a server of its own is started for it.
  ClientOptions connection;  // Else this one is used.
  StreamOptions stream;
  // Of the evaluator; not set: words, and characters where IsWrittenWithoutSpaces() holds for the
  // target language, which is then said on standard error.
  std::optional<LatencyUnit> unit;
};

// Speaks the remote protocol of SimulEval 1.1 (simuleval/agents/service.py), a gRPC session per
// sentence, until SIGINT or SIGTERM, which it takes over:
//   POST /reset    a new sentence
//   PUT  /input    a segment: {"content": "word", "finished": false, …}
//   GET  /output   the units that it completed: {"content": "Wort", "finished": false, …}
//   GET  /         what this is
// A request that says neither how long its body is nor that it comes in chunks has none. Others are
// answered with status 404, or 405 if only the method is wrong, and what there is.
// An error of the server's is answered with status 500 and its text, and logged.
// INVALID_ARGUMENT: the address cannot be listened on.
absl::Status SimulEvalBridge(const BridgeOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_SIMULEVAL_BRIDGE_H_
