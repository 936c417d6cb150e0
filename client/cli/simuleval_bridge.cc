#include "client/cli/simuleval_bridge.h"

#include <httplib.h>
#include <pthread.h>
#include <signal.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/mutex.h"
#include "base/status.h"
#include "client/cli/local_server.h"
#include "client/cli/port_file.h"
#include "client/evaluation/piece_counter.h"
#include "client/evaluation/simuleval_session.h"
#include "client/json/dump.h"
#include "client/json/http_body.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr size_t kMaxRequestBytes = 16 << 20;
constexpr int kThreads = 16;  // Each connection that is kept open has one.

// The agent that the evaluator sees: one sentence at a time. Thread-safe; calls wait for each
// other.
class Agent {
 public:
  Agent(Client* client, const StreamOptions& options, LatencyUnit unit)
      : client_(client), options_(options), unit_(unit), pieces_(client, options) {}

  void Reset() {
    MutexLock lock(&mutex_);
    session_.reset();
  }

  absl::Status Push(const std::string& body) {
    const OrderedJson segment = OrderedJson::parse(body, nullptr, /*allow_exceptions=*/false);
    if (!segment.is_object()) {
      return absl::InvalidArgumentError("want a segment as a JSON object, such as SimulEval sends");
    }
    const auto content = segment.find("content");
    // An empty segment's content is a list.
    std::string text;
    if (content != segment.end() && content->is_string()) text = content->get<std::string>();
    const auto finished = segment.find("finished");
    MutexLock lock(&mutex_);
    return session().Push(
        text, finished != segment.end() && finished->is_boolean() && finished->get<bool>());
  }

  // Returns a text segment, even when it holds no word: SimulEval 1.1.0 leaves out empty segments,
  // and with them that the sentence is finished.
  absl::StatusOr<std::string> Pop() {
    MutexLock lock(&mutex_);
    LEAPSTREAM_ASSIGN_OR_RETURN(const SimulEvalSession::Output output, session().Pop());
    const OrderedJson segment = {{"index", 0},
                          {"content", output.text},
                          {"finished", output.finished},
                          {"is_empty", output.text.empty() && !output.finished},
                          {"data_type", "text"}};
    return Dump(segment);
  }

 private:
  SimulEvalSession& session() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (session_ == nullptr) {
      session_ = std::make_unique<SimulEvalSession>(client_, &pieces_, options_, unit_);
    }
    return *session_;
  }

  Client* const client_;
  const StreamOptions options_;
  const LatencyUnit unit_;
  PieceCounter pieces_;
  Mutex mutex_;
  std::unique_ptr<SimulEvalSession> session_ ABSL_GUARDED_BY(mutex_);
};

void Answer(const absl::Status& status, httplib::Response& response) {
  if (status.ok()) return;
  absl::FPrintF(stderr, "leapstream: %s\n", std::string(status.message()));
  response.status = absl::IsInvalidArgument(status) ? 400 : 500;
  response.set_content(absl::StrCat(status.message(), "\n"), "text/plain");
}

// Answers a path that is none of these, or a wrong method.
void Explain(const httplib::Request& request, httplib::Response& response) {
  static constexpr std::pair<absl::string_view, absl::string_view> kMethods[] = {
      {"/reset", "POST"}, {"/input", "PUT"}, {"/output", "GET"}, {"/", "GET"}};
  for (const auto& [path, method] : kMethods) {
    if (request.path != path) continue;
    response.status = 405;
    response.set_header("Allow", std::string(method));
  }
  response.set_content(
      "want what SimulEval asks: POST /reset, PUT /input, GET /output, or GET /\n", "text/plain");
}

// The flags that `simuleval` needs for a target that is not scored by words.
std::string ScoringFlags(LatencyUnit unit, absl::string_view language) {
  if (unit == LatencyUnit::kWord) return "";
  std::string flags = absl::StrCat(" --eval-latency-unit ", LatencyUnitName(unit));
  if (unit == LatencyUnit::kSpm) absl::StrAppend(&flags, " --eval-latency-spm-model FILE");
  if (IsWrittenWithoutSpaces(language)) {
    absl::StrAppend(&flags, " --sacrebleu-tokenizer ", IsChinese(language) ? "zh" : "char");
  }
  return flags;
}

absl::Status Serve(Client& client, const BridgeOptions& options, const std::string& language,
                   const sigset_t& signals) {
  const LatencyUnit unit = options.unit.value_or(
      IsWrittenWithoutSpaces(language) ? LatencyUnit::kChar : LatencyUnit::kWord);
  Agent agent(&client, options.stream, unit);
  httplib::Server server;
  server.set_payload_max_length(kMaxRequestBytes);
  // The evaluator opens a connection for each request.
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_tcp_nodelay(true);
  server.set_pre_routing_handler([](const httplib::Request& request, httplib::Response& response) {
    TakeNoLengthAsNoBody(request);
    // httplib takes HEAD for GET; so HEAD would take away the output that the evaluator is to get.
    if (request.method != "HEAD" || request.path != "/output") {
      return httplib::Server::HandlerResponse::Unhandled;
    }
    Explain(request, response);
    return httplib::Server::HandlerResponse::Handled;
  });
  server.set_error_handler([](const httplib::Request& request, httplib::Response& response) {
    if (response.status == 404 && response.body.empty()) Explain(request, response);
  });
  server.Post("/reset", [&](const httplib::Request&, httplib::Response&) { agent.Reset(); });
  server.Put("/input", [&](const httplib::Request& request, httplib::Response& response) {
    Answer(agent.Push(request.body), response);
  });
  server.Get("/output", [&](const httplib::Request&, httplib::Response& response) {
    const absl::StatusOr<std::string> segment = agent.Pop();
    if (segment.ok()) response.set_content(*segment, "application/json");
    Answer(segment.status(), response);
  });
  server.Get("/", [&](const httplib::Request&, httplib::Response& response) {
    const OrderedJson info = {{"info", absl::StrCat("leapstream at ", options.connection.address)}};
    response.set_content(Dump(info),
                         "application/json");
  });

  int port = options.port;
  const bool bound = port == 0 ? (port = server.bind_to_any_port(options.host.c_str())) > 0
                               : server.bind_to_port(options.host.c_str(), port);
  if (!bound) {
    return absl::InvalidArgumentError(absl::StrCat("cannot listen on ", options.host, ":",
                                                   options.port, "; choose another --port"));
  }
  if (!options.port_file.empty())
    LEAPSTREAM_RETURN_IF_ERROR(WritePortFile(options.port_file, port));
  absl::FPrintF(stderr,
                "leapstream: listening; run, in leapstream's repository,\n"
                "simuleval --user-dir client/examples/simuleval_text_fix --remote-eval "
                "--remote-address %s --remote-port %d --source-type text --target-type text%s "
                "--source FILE --target FILE --output DIR\n",
                options.host, port, ScoringFlags(unit, language));
  if (IsWrittenWithoutSpaces(language) && options.unit == LatencyUnit::kWord) {
    absl::FPrintF(stderr,
                  "leapstream: %s is written without spaces, and a word is all between two: with "
                  "--eval-latency-unit word its lagging is that of whole sentences; use char\n",
                  language);
  }
  std::thread serving([&] { server.listen_after_bind(); });
  int signal = 0;
  sigwait(&signals, &signal);
  server.stop();
  serving.join();
  return absl::OkStatus();
}

}  // namespace

absl::Status SimulEvalBridge(const BridgeOptions& given) {
  // The signals are blocked before any thread is made, so that the threads inherit it.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  BridgeOptions options = given;
  std::unique_ptr<LocalServer> server;
  if (!options.model_folder.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(server, LocalServer::Start(options.model_folder));
    options.connection.address = server->address();
  }
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                              Client::Connect(options.connection));
  // The server's refusal is reported now, and not to an evaluator that cannot read it.
  const std::unique_ptr<Stream> trial = client->StartStream(options.stream);
  LEAPSTREAM_RETURN_IF_ERROR(trial->CloseSource());
  std::string language;
  while (const std::optional<Event> event = trial->Next()) {
    const auto* started = std::get_if<Started>(&*event);
    if (started != nullptr) language = started->applied.target_language_code;
  }
  LEAPSTREAM_RETURN_IF_ERROR(trial->Wait());
  return Serve(*client, options, language, signals);
}

}  // namespace leapstream::client
