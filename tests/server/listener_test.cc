#include "server/listener.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "server/descriptors.h"
#include "server/token_file.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

constexpr int kPatienceMilliseconds = 20000;

// Connects to a port of this machine. Returns -1 if nobody listens there.
int ConnectTo(int port, bool ipv6 = false) {
  sockaddr_in address4{};
  address4.sin_family = AF_INET;
  address4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address4.sin_port = htons(static_cast<uint16_t>(port));
  sockaddr_in6 address6{};
  address6.sin6_family = AF_INET6;
  address6.sin6_addr = in6addr_loopback;
  address6.sin6_port = address4.sin_port;
  const int descriptor = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  const auto* const address = ipv6 ? reinterpret_cast<const sockaddr*>(&address6)
                                   : reinterpret_cast<const sockaddr*>(&address4);
  if (connect(descriptor, address, ipv6 ? sizeof(address6) : sizeof(address4)) == 0) {
    return descriptor;
  }
  close(descriptor);
  return -1;
}

bool HasIpv6() {
  const auto sockets = ListeningSockets::Open({"::1", 0});
  return sockets.ok();
}

// Waits until the other side closes a connection. False: it does not.
bool IsClosed(int connection) {
  pollfd waiting = {connection, POLLIN, 0};
  char byte = 0;
  return poll(&waiting, 1, kPatienceMilliseconds) == 1 && recv(connection, &byte, 1, 0) <= 0;
}

// Keeps the connections that a listener has taken.
class Taken {
 public:
  ~Taken() { CloseAll(); }
  Listener::Take Function() {
    return [this](int /*listening*/, int connection) {
      MutexLock lock(&mutex_);
      connections_.push_back(connection);
      changed_.NotifyAll();
    };
  }
  bool WaitFor(size_t count) {
    const SteadyTime deadline = SteadyNow() + absl::Milliseconds(kPatienceMilliseconds);
    MutexLock lock(&mutex_);
    while (connections_.size() < count) {
      if (!changed_.WaitUntil(&mutex_, deadline)) return connections_.size() >= count;
    }
    return true;
  }
  size_t size() {
    MutexLock lock(&mutex_);
    return connections_.size();
  }
  void CloseAll() {
    MutexLock lock(&mutex_);
    for (const int connection : connections_) close(connection);
    connections_.clear();
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<int> connections_ ABSL_GUARDED_BY(mutex_);
};

std::unique_ptr<Listener> Listen(int most) {
  auto sockets = ListeningSockets::Open({"127.0.0.1", 0});
  EXPECT_TRUE(sockets.ok()) << sockets.status();
  return std::make_unique<Listener>(*std::move(sockets), most, "test");
}

// The number that the next descriptor of this process gets.
int NextDescriptor() {
  const int next = dup(STDIN_FILENO);
  close(next);
  return next;
}

TEST(ListeningSockets, EveryAddressIsOneOfBothFamilies) {
  if (!HasIpv6()) GTEST_SKIP() << "this machine has no IPv6";
  for (const char* host : {"0.0.0.0", "::"}) {
    const auto sockets = ListeningSockets::Open({host, 0});
    ASSERT_TRUE(sockets.ok()) << sockets.status();
    for (const bool ipv6 : {false, true}) {
      const int connection = ConnectTo(sockets->port(), ipv6);
      EXPECT_GE(connection, 0) << host << (ipv6 ? " over IPv6" : " over IPv4");
      close(connection);
    }
  }
}

TEST(ListeningSockets, OneAddressIsThatOneAlone) {
  const auto sockets = ListeningSockets::Open({"127.0.0.1", 0});
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  const int connection = ConnectTo(sockets->port());
  EXPECT_GE(connection, 0);
  close(connection);
  EXPECT_LT(ConnectTo(sockets->port(), /*ipv6=*/true), 0);
}

TEST(ListeningSockets, ATakenPortAndAStrangeHostAreErrors) {
  const auto first = ListeningSockets::Open({"0.0.0.0", 0});
  ASSERT_TRUE(first.ok()) << first.status();
  for (const char* host : {"0.0.0.0", "127.0.0.1", "localhost"}) {
    const auto second = ListeningSockets::Open({host, first->port()});
    EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable) << host;
    EXPECT_THAT(second.status().message(), HasSubstr("is the port free")) << host;
  }
  EXPECT_THAT(ListeningSockets::Open({"192.0.2.1", 0}).status().message(),
              HasSubstr("and the host this machine?"));
  EXPECT_FALSE(ListeningSockets::Open({"no-such-host.invalid", 0}).ok());
  EXPECT_FALSE(CheckHost({"no-such-host.invalid", 0}).ok());
  EXPECT_TRUE(CheckHost({"127.0.0.1", 0}).ok());
}

TEST(Listener, BeyondItsDescriptorsItRefusesAndThenTakesAgain) {
  Taken taken;
  std::vector<int> clients;
  const auto listener = Listen(NextDescriptor() + 20);
  listener->Start(taken.Function());
  EXPECT_TRUE(listener->Accepts().ok()) << listener->Accepts();
  // Both sides of a connection are in this process.
  for (int i = 0; i < 12; ++i) clients.push_back(ConnectTo(listener->port()));
  EXPECT_TRUE(IsClosed(clients.back()));
  EXPECT_GT(listener->refused(), 0);
  EXPECT_THAT(listener->Accepts().message(), HasSubstr("the test port refuses connections"));
  for (const int client : clients) close(client);
  taken.CloseAll();
  EXPECT_TRUE(listener->Accepts().ok()) << listener->Accepts();
  const int again = ConnectTo(listener->port());
  EXPECT_TRUE(taken.WaitFor(1));
  close(again);
}

// Once it had no descriptor, gRPC's own listener takes no connection any more.
TEST(Listener, WithoutAnyDescriptorItRefusesAndThenTakesAgain) {
  Taken taken;
  const auto listener = Listen(/*most=*/1 << 20);
  const int waiting = ConnectTo(listener->port());
  const int other = ConnectTo(listener->port());
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit none = limit;
  none.rlim_cur = static_cast<rlim_t>(NextDescriptor());
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  listener->Start(taken.Function());
  EXPECT_TRUE(IsClosed(waiting));
  EXPECT_TRUE(IsClosed(other));
  // For a moment after a refusal the spare descriptor is free.
  const absl::Time deadline = absl::Now() + absl::Seconds(5);
  while (listener->Accepts().ok() && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_FALSE(listener->Accepts().ok());
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(taken.size(), 0U);
  const int again = ConnectTo(listener->port());
  EXPECT_TRUE(taken.WaitFor(1));
  EXPECT_TRUE(listener->Accepts().ok()) << listener->Accepts();
  for (const int connection : {waiting, other, again}) close(connection);
}

// A restart helps when a thread hangs, and not when a port has no descriptors.
TEST(Listener, AThreadThatHangsIsToldFromAPortThatRefuses) {
  Taken taken;
  const auto full = Listen(NextDescriptor());
  full->Start(taken.Function());
  EXPECT_FALSE(full->Accepts().ok());
  EXPECT_TRUE(full->Turns().ok()) << full->Turns();
  absl::Notification go_on;
  const auto hanging = Listen(/*most=*/1 << 20);
  hanging->Start([&](int /*listening*/, int connection) {
    close(connection);
    go_on.WaitForNotification();
  });
  EXPECT_TRUE(hanging->Turns().ok());
  const int client = ConnectTo(hanging->port());
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (hanging->Turns().ok() && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(20));
  EXPECT_THAT(hanging->Turns().message(), HasSubstr("the thread of the test port hangs"));
  EXPECT_FALSE(hanging->Accepts().ok());
  go_on.Notify();
  close(client);
}

TEST(Listener, OnceStoppedThePortIsClosed) {
  Taken taken;
  const auto listener = Listen(/*most=*/1 << 20);
  listener->Start(taken.Function());
  const int port = listener->port();
  listener->Stop();
  listener->Stop();
  EXPECT_LT(ConnectTo(port), 0);
  EXPECT_TRUE(listener->Accepts().ok()) << "it is closed on purpose";
}

// Without this, a token that is revoked while there are no descriptors would be good for ever.
TEST(TokenFile, AChangeForWhichThereIsNoDescriptorIsReadLater) {
  const std::string path = testing::TempDir() + "/listener_test_tokens";
  const std::string token = TokenFile::NewToken(), other = TokenFile::NewToken();
  std::ofstream(path) << *TokenFile::Entry("alice", token) << "\n";
  const auto tokens = TokenFile::Open(path);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_TRUE((*tokens)->HolderOf(token, absl::Now()).ok());
  std::ofstream(path) << *TokenFile::Entry("robert", other) << "\n";
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit none = limit;
  none.rlim_cur = static_cast<rlim_t>(NextDescriptor());
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_TRUE((*tokens)->HolderOf(token, absl::Now()).ok()) << "what was read before stays";
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_FALSE((*tokens)->HolderOf(token, absl::Now()).ok());
  EXPECT_TRUE((*tokens)->HolderOf(other, absl::Now()).ok());
}

TEST(DescriptorPlan, LeavesSomeForAllThatIsNoConnection) {
  const DescriptorPlan small = PlanDescriptors(/*limit=*/64, /*open=*/20);
  EXPECT_EQ(small.connections, 48);
  EXPECT_EQ(small.administrators, 60);
  EXPECT_EQ(small.http, 8);
  EXPECT_EQ(small.sessions, 20);
  const DescriptorPlan usual = PlanDescriptors(1024, 20);
  EXPECT_EQ(usual.connections, 960);
  EXPECT_EQ(usual.http, 32);
  EXPECT_EQ(PlanDescriptors(16, 20).sessions, 1);
}

}  // namespace
}  // namespace leapstream
