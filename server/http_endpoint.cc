#include "server/http_endpoint.h"

#include <httplib.h>

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

constexpr int kThreads = 4;            // A scraper and the probes; one may be slow.
constexpr time_t kTimeoutSeconds = 5;  // For a request to arrive, and for an answer to be taken.
constexpr size_t kMaxRequestBytes = 4096;

class HttplibEndpoint final : public HttpEndpoint {
 public:
  ~HttplibEndpoint() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen(const Address& address, const std::vector<HttpPage>& pages) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server_.set_read_timeout(kTimeoutSeconds);
    server_.set_write_timeout(kTimeoutSeconds);
    server_.set_keep_alive_timeout(1);
    server_.set_payload_max_length(kMaxRequestBytes);
    // Not httplib's SO_REUSEPORT: two servers on one port would share its requests.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    for (const HttpPage& page : pages) {
      server_.Get(page.path, [page](const httplib::Request&, httplib::Response& response) {
        const absl::StatusOr<std::string> body = page.body();
        if (body.ok()) return response.set_content(*body, page.content_type.c_str());
        response.status = 503;
        response.set_content(absl::StrCat(std::string(body.status().message()), "\n"),
                             "text/plain");
      });
    }
    port_ = address.port;
    const bool bound = address.port == 0 ? (port_ = server_.bind_to_any_port(address.host)) > 0
                                         : server_.bind_to_port(address.host, address.port);
    if (!bound) {
      return absl::UnavailableError(absl::StrCat("cannot listen on ", address.host, ":",
                                                 address.port, " for metrics; is the port free?"));
    }
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    // stop() before it listens would be forgotten.
    while (!server_.is_running()) std::this_thread::yield();
    return absl::OkStatus();
  }
  int port() const override { return port_; }

 private:
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(
    const Address& address, const std::vector<HttpPage>& pages) {
  auto endpoint = std::make_unique<HttplibEndpoint>();
  absl::Status status = endpoint->Listen(address, pages);
  if (!status.ok()) return status;
  return std::unique_ptr<HttpEndpoint>(std::move(endpoint));
}

}  // namespace leapstream
