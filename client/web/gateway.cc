#include "client/web/gateway.h"

#include <httplib.h>
#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/quoted.h"
#include "base/status.h"
#include "client/json/dump.h"
#include "client/json/events_json.h"
#include "client/json/http_body.h"
#include "client/web/page.h"
#include "client/web/public_url.h"
#include "client/web/web_session.h"
#include "nlohmann/json.hpp"
#include "openssl/crypto.h"

namespace leapstream::client {
namespace {

using Json = nlohmann::ordered_json;
using httplib::Request;
using httplib::Response;

constexpr size_t kMaxRequestBytes = 64 << 10;
constexpr int kOtherThreads = 16;  // Threads for all but viewers.
constexpr int kMaxK = 1000;
constexpr int kSampleRate = 16000;                             // Rate of audio if none is named.
constexpr int kMinSampleRate = 8000, kMaxSampleRate = 192000;  // The protocol's bounds.
constexpr absl::Duration kPause = absl::Milliseconds(600);     // A pause that ends a segment.
constexpr absl::Duration kViewerSilence = absl::Seconds(10);   // After this, a comment is sent.
constexpr absl::Duration kStopPoll = absl::Seconds(1);

// The page loads nothing but its own files, and no other page may have it in a frame.
constexpr char kContentPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

constexpr struct {
  const char* path;
  const char* file;
  const char* type;
} kPage[] = {
    {"/", "/index.html", "text/html; charset=utf-8"},
    {"/style.css", "/style.css", "text/css; charset=utf-8"},
    {"/page.js", "/page.js", "text/javascript; charset=utf-8"},
    {"/microphone.js", "/microphone.js", "text/javascript; charset=utf-8"},
    {"/icon.svg", "/icon.svg", "image/svg+xml"},
    {"/talk.txt", "/talk.txt", "text/plain; charset=utf-8"},
};

// 128 random bits in hex; empty if the system has none.
std::string RandomName() {
  char bytes[16] = {};
  if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) return "";
  return absl::BytesToHexString(absl::string_view(bytes, sizeof(bytes)));
}

bool SameSecret(const std::string& a, const std::string& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string Line(const Json& json) { return Dump(json) + "\n"; }

// Escapes the path of a PublicUrl for a regular expression.
std::string Escaped(absl::string_view path) { return absl::StrReplaceAll(path, {{".", "\\."}}); }

void Refuse(int status, absl::string_view message, Response& response) {
  response.status = status;
  response.set_header("Connection", "close");  // The request's body may not have been read.
  response.set_content(Line({{"error", message}}), "application/json");
}

int HttpStatus(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return 400;
    case absl::StatusCode::kFailedPrecondition:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    default:
      return 503;
  }
}

void Answer(const absl::Status& status, Response& response) {
  if (status.ok()) {
    response.set_content("{}\n", "application/json");
  } else {
    Refuse(HttpStatus(status), status.message(), response);
  }
}

struct Entry {
  std::string key;
  std::shared_ptr<WebSession> session;
};

class HttpGateway final : public Gateway {
 public:
  HttpGateway(Client* client, const GatewayOptions& options) : client_(client), options_(options) {}

  ~HttpGateway() override {
    stopping_ = true;
    {
      MutexLock lock(&mutex_);
      for (auto& [id, entry] : sessions_) entry.session->Cancel();  // Wakes their viewers.
    }
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  // INVALID_ARGUMENT: see Gateway::Start().
  absl::Status Listen() {
    host_names_.insert(options_.host_names.begin(), options_.host_names.end());
    for (const std::string& given : options_.public_urls) {
      LEAPSTREAM_ASSIGN_OR_RETURN(const PublicUrl url, ParsePublicUrl(given));
      host_names_.insert(url.name);
      origins_.insert(url.origin);
      if (&given != &options_.public_urls.front() && url.path != base_path_) {
        return absl::InvalidArgumentError(
            absl::StrCat("want one path in every --public-url, got ", Quoted(base_path_), " and ",
                         Quoted(url.path)));
      }
      base_path_ = url.path;
    }
    server_.set_payload_max_length(kMaxRequestBytes);
    server_.set_tcp_nodelay(true);
    server_.set_read_timeout(5);
    server_.set_write_timeout(10);
    server_.set_keep_alive_timeout(2);
    const int threads = options_.max_viewers + kOtherThreads;
    server_.new_task_queue = [threads] { return new httplib::ThreadPool(threads); };
    server_.set_default_headers({{"Content-Security-Policy", kContentPolicy},
                                 {"X-Content-Type-Options", "nosniff"},
                                 {"Referrer-Policy", "no-referrer"},
                                 {"Cross-Origin-Resource-Policy", "same-origin"},
                                 {"Cache-Control", "no-store"}});
    server_.set_pre_routing_handler([this](const Request& request, Response& response) {
      TakeNoLengthAsNoBody(request);
      return Check(request, response) ? httplib::Server::HandlerResponse::Unhandled
                                      : httplib::Server::HandlerResponse::Handled;
    });
    Route();
    port_ = options_.port;
    const bool bound = port_ == 0 ? (port_ = server_.bind_to_any_port(options_.host.c_str())) > 0
                                  : server_.bind_to_port(options_.host.c_str(), port_);
    if (!bound) {
      return absl::InvalidArgumentError(absl::StrCat("cannot listen on ", options_.host, ":",
                                                     options_.port, "; choose another --listen"));
    }
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();  // Before that, stop() does nothing.
    return absl::OkStatus();
  }

  int port() const override { return port_; }

 private:
  // Checks who asks: see the class comment. False: `response` is the refusal.
  bool Check(const Request& request, Response& response) {
    const std::string host = request.get_header_value("Host");
    const std::string name = HostName(host);
    if (name != "localhost" && !IsAddress(name) && host_names_.count(name) == 0) {
      Refuse(403,
             absl::StrCat("the host name ", Quoted(name),
                          " is not one of ours; give it with --host-name, or, if a proxy asks on "
                          "behalf of browsers, theirs with --public-url"),
             response);
      return false;
    }
    // httplib would inflate the body, and bounds only the bytes that came over the wire.
    if (request.has_header("Content-Encoding")) {
      Refuse(415, "compressed requests are not taken; send it without Content-Encoding", response);
      return false;
    }
    if (request.method != "POST") return true;
    const std::string origin = absl::AsciiStrToLower(request.get_header_value("Origin"));
    const std::string site = request.get_header_value("Sec-Fetch-Site");
    const size_t scheme = origin.find("://");
    const bool same = scheme != std::string::npos &&
                      absl::EqualsIgnoreCase(absl::string_view(origin).substr(scheme + 3), host);
    if ((!origin.empty() && !same && origins_.count(origin) == 0) ||
        (!site.empty() && site != "same-origin" && site != "none")) {
      Refuse(403,
             absl::StrCat("a page of another site may not write here; if ", Quoted(origin),
                          " is this one behind a proxy, give its address with --public-url"),
             response);
      return false;
    }
    // No form can send these types.
    const bool audio = absl::EndsWith(request.path, "/audio");
    const char* const type = audio ? "application/octet-stream" : "application/json";
    if (!absl::StartsWith(request.get_header_value("Content-Type"), type)) {
      Refuse(400, absl::StrCat("expected the content type ", type), response);
      return false;
    }
    return true;
  }

  void Route() {
    for (const auto& file : kPage) {
      server_.Get(Path(file.path), [&file](const Request&, Response& response) {
        response.set_content(std::string(PageFile(file.file)), file.type);
      });
    }
    if (!base_path_.empty()) {  // The page names its files relative to its own path.
      server_.Get(Escaped(base_path_), [this](const Request&, Response& response) {
        response.set_redirect(base_path_ + "/", 308);
      });
    }
    server_.Get(Path("/api/models"), [this](const Request&, Response& response) {
      const auto models = client_->ListModels();
      if (!models.ok()) return Refuse(503, models.status().message(), response);
      response.set_content(ToJson(*models), "application/json");
    });
    server_.Post(Path("/api/sessions"), [this](const Request& request, Response& response) {
      Create(Json::parse(request.body, nullptr, /*allow_exceptions=*/false), response);
    });
    server_.Get(Path("/api/sessions/([0-9a-f]{32})/events"),
                [this](const Request& request, Response& response) { Watch(request, response); });
    server_.Post(Path("/api/sessions/([0-9a-f]{32})/source"),
                 [this](const Request& request, Response& response) {
                   const auto session = Writable(request, response);
                   if (session != nullptr) Push(*session, request.body, response);
                 });
    server_.Post(Path("/api/sessions/([0-9a-f]{32})/audio"),
                 [this](const Request& request, Response& response) {
                   const auto session = Writable(request, response);
                   if (session != nullptr) Answer(session->PushAudio(request.body), response);
                 });
    server_.Post(Path("/api/sessions/([0-9a-f]{32})/close"),
                 [this](const Request& request, Response& response) {
                   const auto session = Writable(request, response);
                   if (session != nullptr) Answer(session->Close(), response);
                 });
  }

  // The pattern of a path, with and without the base path before it: some proxies take that away.
  std::string Path(absl::string_view path) const {
    return base_path_.empty() ? std::string(path)
                              : absl::StrCat("(?:", Escaped(base_path_), ")?", path);
  }

  void Create(const Json& body, Response& response) {
    if (!body.is_object()) return Refuse(400, "expected a JSON object", response);
    StreamOptions options;
    options.token_details = true;
    if (const auto model = body.find("model"); model != body.end()) {
      if (!model->is_string()) return Refuse(400, "expected a text as model", response);
      options.model = model->get<std::string>();
    }
    for (const auto& [name, code] :
         {std::pair("source_language_code", &options.source_language_code),
          {"target_language_code", &options.target_language_code}}) {
      const auto found = body.find(name);
      if (found == body.end()) continue;
      if (!found->is_string()) {
        return Refuse(400, absl::StrCat("expected a text as ", name), response);
      }
      *code = found->get<std::string>();
    }
    if (const auto k = body.find("k"); k != body.end() && !k->is_null()) {
      if (!k->is_number_integer() || *k < 1 || *k > kMaxK) {
        return Refuse(400, absl::StrCat("expected a k from 1 to ", kMaxK), response);
      }
      options.k = k->get<int>();
    }
    if (const auto audio = body.find("audio"); audio != body.end()) {
      if (!audio->is_boolean()) return Refuse(400, "expected true or false as audio", response);
      if (audio->get<bool>()) {
        options.audio = AudioFormat::kPcmS16Le;
        options.sample_rate = kSampleRate;
        options.pause = kPause;
      }
    }
    if (const auto rate = body.find("sample_rate"); rate != body.end()) {
      if (options.audio == AudioFormat::kNone || !rate->is_number_integer() ||
          *rate < kMinSampleRate || *rate > kMaxSampleRate) {
        return Refuse(400,
                      absl::StrCat("expected a sample_rate from ", kMinSampleRate, " to ",
                                   kMaxSampleRate, ", of audio"),
                      response);
      }
      options.sample_rate = rate->get<int>();
    }
    // As `leapstream translate`.
    options.next_segments = options.sentences = options.audio == AudioFormat::kNone;
    const std::string id = RandomName(), key = RandomName();
    if (id.empty() || key.empty()) return Refuse(503, "no random numbers", response);
    std::vector<std::shared_ptr<WebSession>> forgotten;  // Sessions to be joined without the lock.
    {
      MutexLock lock(&mutex_);
      if (!MakeRoom(&forgotten)) {
        response.set_header("Retry-After", "10");
        return Refuse(503, "too many sessions are open here; try again later", response);
      }
      sessions_[id] = {key, std::make_shared<WebSession>(client_->StartStream(options), options)};
    }
    response.set_content(Line({{"id", id}, {"key", key}}), "application/json");
  }

  // Ends idle sessions, and forgets sessions that ended a while ago. False: too many are open.
  bool MakeRoom(std::vector<std::shared_ptr<WebSession>>* forgotten)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const SteadyTime now = SteadyNow();
    int open = 0;
    auto oldest = sessions_.end();  // The oldest session that has ended.
    for (auto it = sessions_.begin(); it != sessions_.end();) {
      const SteadyTime ended = it->second.session->ended_at();
      if (ended + options_.keep_ended < now) {
        forgotten->push_back(std::move(it->second.session));
        it = sessions_.erase(it);
        continue;
      }
      if (ended == SteadyTime::InfiniteFuture()) {
        ++open;
        if (it->second.session->last_push() + options_.idle_timeout < now) {
          it->second.session->Cancel();
        }
      } else if (oldest == sessions_.end() || ended < oldest->second.session->ended_at()) {
        oldest = it;
      }
      ++it;
    }
    if (open >= options_.max_sessions) return false;
    if (sessions_.size() >= 2 * static_cast<size_t>(options_.max_sessions)) {
      forgotten->push_back(std::move(oldest->second.session));
      sessions_.erase(oldest);
    }
    return true;
  }

  std::shared_ptr<WebSession> Find(const std::string& id, std::string* key) {
    MutexLock lock(&mutex_);
    const auto found = sessions_.find(id);
    if (found == sessions_.end()) return nullptr;
    *key = found->second.key;
    return found->second.session;
  }

  // The session of the path, if the request has its key. Null: `response` is the refusal.
  std::shared_ptr<WebSession> Writable(const Request& request, Response& response) {
    std::string key;
    std::shared_ptr<WebSession> session = Find(request.matches[1], &key);
    if (session == nullptr) {
      Refuse(404, "there is no such session, or it ended long ago", response);
    } else if (!SameSecret(request.get_header_value("X-Leapstream-Key"), key)) {
      Refuse(403, "only who started this session may write", response);
      session = nullptr;
    }
    return session;
  }

  static void Push(WebSession& session, const std::string& text, Response& response) {
    const Json body = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!body.is_object()) return Refuse(400, "expected a JSON object", response);
    const auto source = body.find("text"), ends = body.find("ends_segment");
    if ((source != body.end() && !source->is_string()) ||
        (ends != body.end() && !ends->is_boolean())) {
      return Refuse(400, "expected a text as text, and true or false as ends_segment", response);
    }
    Answer(session.Push(source == body.end() ? "" : source->get_ref<const std::string&>(),
                        ends != body.end() && ends->get<bool>()),
           response);
  }

  void Watch(const Request& request, Response& response) {
    std::string key;
    std::shared_ptr<WebSession> session = Find(request.matches[1], &key);
    if (session == nullptr) {
      return Refuse(404, "there is no such session, or it ended long ago", response);
    }
    size_t next = 0;
    if (absl::SimpleAtoi(request.get_header_value("Last-Event-ID"), &next)) ++next;
    if (session->over(next)) {
      response.status = 204;  // With another status the browser would ask again and again.
      return;
    }
    if (++viewers_ > options_.max_viewers) {
      --viewers_;
      response.set_header("Retry-After", "10");
      return Refuse(503, "too many viewers; try again later", response);
    }
    response.set_header("X-Accel-Buffering", "no");  // Otherwise nginx holds events back.
    response.set_chunked_content_provider(
        "text/event-stream",
        [this, session, next](size_t, httplib::DataSink& sink) mutable {
          return Send(*session, &next, sink);
        },
        [this](bool) { --viewers_; });
  }

  // One round of a viewer: sends new events, or a comment if there are none. False: the viewer has
  // gone.
  bool Send(WebSession& session, size_t* next, httplib::DataSink& sink) {
    std::string text;
    const SteadyTime silent = SteadyNow() + kViewerSilence;
    std::vector<std::string> events;
    while (events.empty() && !stopping_ && !session.over(*next) && SteadyNow() < silent) {
      events = session.EventsFrom(*next, std::min(silent, SteadyNow() + kStopPoll));
    }
    for (const std::string& event : events) {
      absl::StrAppend(&text, "id: ", (*next)++, "\ndata: ", event, "\n\n");
    }
    if (text.empty()) text = ": still here\n\n";
    if (!sink.write(text.data(), text.size())) return false;
    if (stopping_ || session.over(*next)) sink.done();
    return true;
  }

  Client* const client_;
  const GatewayOptions options_;
  std::set<std::string> host_names_, origins_;  // These, and base_path_, are set before serving.
  std::string base_path_;                       // "/live", or "".
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> viewers_{0};
  Mutex mutex_;
  std::map<std::string, Entry> sessions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Gateway>> Gateway::Start(Client* client,
                                                        const GatewayOptions& options) {
  auto gateway = std::make_unique<HttpGateway>(client, options);
  const absl::Status listening = gateway->Listen();
  if (!listening.ok()) return listening;
  return gateway;
}

}  // namespace leapstream::client
