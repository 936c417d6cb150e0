#include "server/listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/quoted.h"
#include "base/status.h"

namespace leapstream {
namespace {

constexpr int kBacklog = 65535;         // The kernel takes less if it wants to.
constexpr int kAcceptsAtOnce = 64;      // The most of one socket, before the others' turn.
constexpr int kPauseMilliseconds = 50;  // The wait when something is lacking.
// A thread that is busy for so many ns with a few connections hangs.
constexpr int64_t kHangs = 5'000'000'000;

int64_t SteadyNanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

using Resolved = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::StatusOr<Resolved> Resolve(const Address& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints,
                                 &found);
  if (failed != 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", Quoted(address.host), ": ",
                                               gai_strerror(failed),
                                               "; is the host this machine?"));
  }
  return Resolved(found, &freeaddrinfo);
}

bool IsWildcard(const addrinfo& address) {
  if (address.ai_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in*>(address.ai_addr)->sin_addr.s_addr == INADDR_ANY;
  }
  if (address.ai_family != AF_INET6) return false;
  const auto* const ipv6 = reinterpret_cast<const sockaddr_in6*>(address.ai_addr);
  return IN6_IS_ADDR_UNSPECIFIED(&ipv6->sin6_addr);
}

// Returns the descriptor of a socket that listens, or -errno. With `both`, a socket on an IPv6
// address takes IPv4 connections as well.
int OpenSocket(const sockaddr* address, socklen_t size, bool both) {
  const int descriptor =
      socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  if (descriptor < 0) return -errno;
  const int yes = 1, only_one = both ? 0 : 1;
  // SO_REUSEPORT is not set: two servers on one port would share its connections without a word.
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (address->sa_family == AF_INET6) {
    setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &only_one, sizeof(only_one));
  }
  if (bind(descriptor, address, size) != 0 || listen(descriptor, kBacklog) != 0) {
    const int error = errno;
    close(descriptor);
    return -error;
  }
  return descriptor;
}

int PortOf(int descriptor) {
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  if (getsockname(descriptor, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return 0;
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                           : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
}

void SetPort(int port, addrinfo* address) {
  if (address->ai_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(address->ai_addr)->sin6_port =
        htons(static_cast<uint16_t>(port));
  } else if (address->ai_family == AF_INET) {
    reinterpret_cast<sockaddr_in*>(address->ai_addr)->sin_port = htons(static_cast<uint16_t>(port));
  }
}

// True if the list has the same address before this one: /etc/hosts may say a thing twice.
bool IsRepeated(const addrinfo* list, const addrinfo& address) {
  for (const addrinfo* before = list; before != &address; before = before->ai_next) {
    if (before->ai_addrlen == address.ai_addrlen &&
        std::memcmp(before->ai_addr, address.ai_addr, address.ai_addrlen) == 0) {
      return true;
    }
  }
  return false;
}

// True if the error means that the machine does not have this address or this kind of address.
bool IsAbsent(int error) {
  return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
}

}  // namespace

ListeningSockets& ListeningSockets::operator=(ListeningSockets&& other) noexcept {
  Close();
  descriptors_ = std::exchange(other.descriptors_, {});
  port_ = other.port_;
  return *this;
}

void ListeningSockets::Close() {
  for (const int descriptor : descriptors_) close(descriptor);
  descriptors_.clear();
}

absl::StatusOr<ListeningSockets> ListeningSockets::Open(const Address& address) {
  absl::StatusOr<Resolved> resolved = Resolve(address);
  if (!resolved.ok()) return resolved.status();
  ListeningSockets sockets;
  sockets.port_ = address.port;
  int failed = EADDRNOTAVAIL;
  for (addrinfo* found = resolved->get(); found != nullptr; found = found->ai_next) {
    int descriptor = -EAFNOSUPPORT;
    if (IsWildcard(*found)) {
      sockaddr_in6 any{};
      any.sin6_family = AF_INET6;
      any.sin6_addr = in6addr_any;
      any.sin6_port = htons(static_cast<uint16_t>(sockets.port_));
      descriptor = OpenSocket(reinterpret_cast<sockaddr*>(&any), sizeof(any), /*both=*/true);
      if (descriptor < 0 && IsAbsent(-descriptor)) {  // The machine has no IPv6.
        sockaddr_in any_ipv4{};
        any_ipv4.sin_family = AF_INET;
        any_ipv4.sin_port = any.sin6_port;
        descriptor =
            OpenSocket(reinterpret_cast<sockaddr*>(&any_ipv4), sizeof(any_ipv4), /*both=*/false);
      }
    } else {
      SetPort(sockets.port_, found);
      if (IsRepeated(resolved->get(), *found)) continue;
      descriptor = OpenSocket(found->ai_addr, found->ai_addrlen, /*both=*/false);
    }
    if (descriptor >= 0) {
      sockets.descriptors_.push_back(descriptor);
      sockets.port_ = PortOf(descriptor);
      if (IsWildcard(*found)) break;
      continue;
    }
    failed = -descriptor;
    // A name may have an address that this machine lacks; then its other addresses are enough. An
    // address whose port is taken is an error.
    if (!IsAbsent(failed)) {
      sockets.Close();
      break;
    }
  }
  if (!sockets.descriptors_.empty()) return sockets;
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", Quoted(absl::StrCat(address.host, ":", address.port)), ": ",
                   std::strerror(failed), "; is the port free, and the host this machine?"));
}

absl::Status CheckHost(const Address& address) { return Resolve(address).status(); }

Listener::Listener(ListeningSockets sockets, int most, std::string what)
    : sockets_(std::move(sockets)),
      most_(most),
      what_(std::move(what)),
      wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      spare_(open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

void Listener::Start(Take take) {
  take_ = std::move(take);
  thread_ = std::thread([this] { Run(); });
}

void Listener::Stop() {
  if (stopped_.exchange(true)) return;
  const uint64_t one = 1;
  if (write(wake_, &one, sizeof(one)) < 0) {
    // The thread is woken already.
  }
  if (thread_.joinable()) thread_.join();
  sockets_.Close();
  close(wake_);
  if (spare_ >= 0) close(spare_);
}

absl::Status Listener::Turns() const {
  const int64_t busy_since = busy_since_;
  if (stopped_ || busy_since == 0 || SteadyNanoseconds() - busy_since <= kHangs) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(
      absl::StrCat("the thread of the ", what_, " port hangs: it takes no connections"));
}

absl::Status Listener::Accepts() const {
  if (stopped_) return absl::OkStatus();
  LEAPSTREAM_RETURN_IF_ERROR(Turns());
  // `next` is the number that a new connection would get.
  const int next = fcntl(wake_, F_DUPFD_CLOEXEC, 0);
  if (next >= 0) close(next);
  if ((next >= 0 && next < most_ && !failing_) || stopped_) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the ", what_, " port refuses connections: there is no descriptor for one"));
}

void Listener::Run() {
  std::vector<pollfd> waiting = {{wake_, POLLIN, 0}};
  for (const int descriptor : sockets_.descriptors()) waiting.push_back({descriptor, POLLIN, 0});
  bool paused = false;
  while (!stopped_) {
    // While something is lacking, only Stop() ends the wait early.
    poll(waiting.data(), paused ? 1 : waiting.size(), paused ? kPauseMilliseconds : -1);
    busy_since_ = SteadyNanoseconds();
    const bool retry = std::exchange(paused, false);
    for (size_t i = 1; i < waiting.size() && !stopped_; ++i) {
      if ((retry || waiting[i].revents != 0) && !AcceptFrom(waiting[i].fd)) paused = true;
    }
    failing_ = paused;
    if (refusing_ && refused_ == refused_before_) Recovered();
    refused_before_ = refused_;
    busy_since_ = 0;
  }
}

bool Listener::AcceptFrom(int listening) {
  for (int i = 0; i < kAcceptsAtOnce && !stopped_; ++i) {
    if (spare_ < 0) spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int connection = accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection >= most_) {
      close(connection);
      Refused("no descriptor is left for it");
      continue;
    }
    if (connection >= 0) {
      take_(listening, connection);
      continue;
    }
    switch (errno) {
      case EAGAIN:
        return true;
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM: {
        const int error = errno;
        const int refusal = RefuseByTheSpare(listening);
        if (refusal == EAGAIN) return true;  // No connection waits, so none is refused.
        Refused(std::strerror(error));
        if (refusal != 0) return false;
        break;
      }
      case EBADF:
      case EFAULT:
      case EINVAL:
      case ENOTSOCK:
        Refused(std::strerror(errno));
        return false;
      default:
        break;  // The connection or its network is gone already; see accept(2).
    }
  }
  return true;
}

int Listener::RefuseByTheSpare(int listening) {
  if (spare_ < 0) return EMFILE;
  close(spare_);
  const int connection = accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  const int error = connection < 0 ? errno : 0;
  if (connection >= 0) close(connection);
  spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  return error;
}

void Listener::Refused(const char* why) {
  ++refused_;
  refusing_ = true;
  if (!lines_.Passes(SteadyNow())) return;
  told_ = true;
  spdlog::warn(
      "the {} port refuses a connection: {}; {} so far. Raise the limit of descriptors (ulimit -n, "
      "LimitNOFILE=)",
      what_, why, refused_.load());
}

void Listener::Recovered() {
  refusing_ = false;
  if (!std::exchange(told_, false)) return;
  spdlog::info("the {} port takes connections again; it has refused {}", what_, refused_.load());
}

}  // namespace leapstream
