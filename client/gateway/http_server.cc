#include "client/gateway/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ssl/context.hpp>
#include <chrono>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/gateway/connection.h"
#include "client/gateway/tls_context.h"

namespace leapstream::gateway {
namespace {

constexpr std::chrono::milliseconds kAcceptPause{50};  // When no connection can be taken.

class BeastServer final : public HttpServer {
 public:
  explicit BeastServer(HttpServerOptions options) {
    connections_.options = std::move(options);
    thread_ = std::thread([this] { Run(); });
  }
  ~BeastServer() override {
    AbortAll();
    Post([this] {
      work_.reset();
      context_.stop();
    });
    thread_.join();
    context_.restart();
    context_.poll();  // The operations that were aborted hold their connections.
  }

  void Adopt(int socket) override {
    Post([this, socket] {
      AnyStream::Socket connected(context_);
      error_code error;
      connected.assign(asio::ip::tcp::v6(), socket, error);
      if (error) {
        close(socket);
      } else {
        Serve(std::move(connected));
      }
    });
  }

  absl::Status Listen(const std::string& host, int port) override {
    error_code error;
    const asio::ip::address address =
        asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, error);
    if (!error) {
      const asio::ip::tcp::endpoint end(address, static_cast<unsigned short>(port));
      acceptor_ = std::make_unique<Acceptor>(context_);
      acceptor_->open(end.protocol(), error);
      if (!error) acceptor_->set_option(asio::socket_base::reuse_address(true), error);
      if (!error) acceptor_->bind(end, error);
      if (!error) acceptor_->listen(asio::socket_base::max_listen_connections, error);
    }
    if (error) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot listen on ", host, ":", port, ": ", error.message()));
    }
    port_ = acceptor_->local_endpoint(error).port();
    pause_ = std::make_unique<Timer>(context_.get_executor());
    // The other half of the descriptors is for the calls of these connections.
    rlimit files = {};
    getrlimit(RLIMIT_NOFILE, &files);
    max_connections_ = static_cast<int>(std::min<rlim_t>(files.rlim_cur / 2, 1 << 20));
    Post([this] { Accept(); });
    return absl::OkStatus();
  }
  int port() const override { return port_; }

  absl::Status UseTls(const std::string& certificate, const std::string& key,
                      const std::string& client_ca) override {
    const absl::StatusOr<SSL_CTX*> context = NewServerContext(certificate, key, client_ca);
    if (!context.ok()) return context.status();
    auto tls = std::make_shared<asio::ssl::context>(*context);
    Post([this, tls] { tls_ = tls; });
    return absl::OkStatus();
  }

  void Post(std::function<void()> what) override { asio::post(context_, std::move(what)); }
  void After(absl::Duration time, std::function<void()> what) override {
    Post([this, time, what = std::move(what)] {
      const auto timer = std::make_shared<Timer>(context_.get_executor());
      timer->expires_after(std::chrono::milliseconds(absl::ToInt64Milliseconds(time)));
      timer->async_wait([timer, what](error_code error) {
        if (!error) what();
      });
    });
  }

  void Drain(absl::Duration patience) override {
    Post([this] {
      connections_.draining = true;
      ForEach([](Connection& connection) { connection.Drain(); });
    });
    const std::chrono::milliseconds time(absl::ToInt64Milliseconds(patience));
    const auto deadline = std::chrono::steady_clock::now() + time;
    while (connections() > 0 && std::chrono::steady_clock::now() < deadline) {
      std::promise<void> turn;
      After(absl::Milliseconds(5), [&turn] { turn.set_value(); });
      turn.get_future().wait();
    }
  }
  void AbortAll() override {
    Post([this] {
      error_code error;
      if (acceptor_ != nullptr) acceptor_->close(error);
      stopped_ = true;
      ForEach([](Connection& connection) { connection.Abort(); });
    });
  }
  int connections() const override { return connections_.open; }

 private:
  using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                           asio::wait_traits<std::chrono::steady_clock>,
                                           AnyStream::executor_type>;
  using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, AnyStream::executor_type>;

  // One handler that finds no memory must not end the process, nor the others.
  void Run() {
    while (true) {
      try {
        context_.run();
        return;
      } catch (const std::exception&) {
      }
    }
  }

  void Serve(AnyStream::Socket socket) {
    if (stopped_) return;
    const int yes = 1;
    const int descriptor = socket.native_handle();
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    // The system would otherwise hold megabytes for a client that reads slowly.
    const int send_buffer = budget::kGatewaySendBuffer;
    setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
    // These find a peer whose machine is gone.
    const int idle = 20, interval = 5, timeout_ms = 30000;
    setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
    auto connection = std::make_shared<Connection>(std::move(socket), tls_, &connections_);
    if (all_.size() > 2 * static_cast<size_t>(connections()) + 16) Forget();
    all_.push_back(connection);
    connection->Start();
  }

  void Accept() {
    acceptor_->async_accept([this](error_code error, AnyStream::Socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (!error) Serve(std::move(socket));
      // Without descriptors, or above the limit, the next ones wait in the system.
      if (!error && connections() < max_connections_) return Accept();
      AcceptLater();
    });
  }
  void AcceptLater() {
    pause_->expires_after(kAcceptPause);
    pause_->async_wait([this](error_code stopped) {
      if (stopped) return;
      if (connections() < max_connections_) return Accept();
      AcceptLater();
    });
  }

  void Forget() {
    all_.erase(std::remove_if(all_.begin(), all_.end(),
                              [](const auto& connection) { return connection.expired(); }),
               all_.end());
  }
  template <typename F>
  void ForEach(F f) {
    for (const auto& weak : std::vector(all_)) {
      if (const auto connection = weak.lock()) f(*connection);
    }
  }

  Connections connections_;  // Outlives the context, whose operations hold connections.
  std::shared_ptr<asio::ssl::context> tls_;
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  std::unique_ptr<Acceptor> acceptor_;
  std::unique_ptr<Timer> pause_;
  std::vector<std::weak_ptr<Connection>> all_;
  bool stopped_ = false;
  int port_ = 0;
  int max_connections_ = 0;  // Of those that Listen() takes.
  std::thread thread_;
};

}  // namespace

std::unique_ptr<HttpServer> HttpServer::Start(HttpServerOptions options) {
  return std::make_unique<BeastServer>(std::move(options));
}

}  // namespace leapstream::gateway
