// One name with several addresses: each of them is a server. Several loopback addresses with one
// port stand for the pods of a headless service.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/budget.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "client/client.h"
#include "client/servers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "spdlog/spdlog.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

using client::Client;
using client::Stream;
using testing::HasSubstr;

// The addresses of any name; they may be changed at any time. A lookup of slow.test goes on until
// this object is gone.
class FakeNames {
 public:
  ~FakeNames() {
    MutexLock lock(&state_->mutex);
    state_->over = true;
    state_->changed.NotifyAll();
  }
  void Set(std::vector<std::string> addresses) {
    MutexLock lock(&state_->mutex);
    state_->addresses = std::move(addresses);
  }
  client::AddressLookup lookup() {
    return [state = state_](const std::string& host) -> absl::StatusOr<std::vector<std::string>> {
      MutexLock lock(&state->mutex);
      ++state->lookups;
      while (host == "slow.test" && !state->over) state->changed.Wait(&state->mutex);
      if (state->addresses.empty()) return absl::UnavailableError("no such name here");
      return state->addresses;
    };
  }
  int lookups() const {
    MutexLock lock(&state_->mutex);
    return state_->lookups;
  }

 private:
  struct State {
    Mutex mutex;
    CondVar changed;
    std::vector<std::string> addresses ABSL_GUARDED_BY(mutex);
    int lookups ABSL_GUARDED_BY(mutex) = 0;
    bool over ABSL_GUARDED_BY(mutex) = false;
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();  // The lookups' too.
};

// A port where connections are made, and nobody says anything.
class MuteServer {
 public:
  MuteServer(const std::string& host, int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    inet_pton(AF_INET, host.c_str(), &address.sin_addr);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(fd_, 16), 0);
  }
  ~MuteServer() { close(fd_); }

 private:
  const int fd_;
};

std::unique_ptr<Server> StartServer(const std::string& listen, int slots) {
  spdlog::set_level(spdlog::level::off);
  ServerOptions options;
  options.listen = listen;
  options.max_sessions = slots;
  static const std::string key_file = [] {
    const std::string path = absl::StrCat(testing::TempDir(), "leapstream_names_key.", getpid());
    std::ofstream(path) << std::string(32, 'k') << "\n";
    return path;
  }();
  options.resume_key_file = key_file;
  auto server = Server::Start(options, {FakeModel()});
  EXPECT_TRUE(server.ok()) << server.status();
  return server.ok() ? *std::move(server) : nullptr;
}

class NamesTest : public testing::Test {
 protected:
  // Starts servers on 127.0.0.1, 127.0.0.2, …, with one port.
  void StartServers(size_t count, int slots) {
    for (int tries = 0; servers_.size() < count && tries < 20; ++tries) {
      servers_.clear();
      servers_.push_back(StartServer("127.0.0.1:0", slots));
      ASSERT_NE(servers_[0], nullptr);
      port_ = servers_[0]->port();
      // Somebody else may have the port there.
      while (servers_.size() < count && IsFree(static_cast<int>(servers_.size()) + 1)) {
        servers_.push_back(StartServer(
            absl::StrCat("127.0.0.", servers_.size() + 1, ":", port_), slots));
        ASSERT_NE(servers_.back(), nullptr);
      }
    }
    ASSERT_EQ(servers_.size(), count);
  }
  bool IsFree(int host) const {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port_));
    address.sin_addr.s_addr = htonl((127u << 24) + static_cast<uint32_t>(host));
    const bool free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    return free;
  }
  static std::string Host(size_t server) { return absl::StrCat("127.0.0.", server + 1); }
  std::string Address(size_t server) const { return absl::StrCat(Host(server), ":", port_); }

  void Connect(const std::string& form = "leapstream.test:") {
    client::ClientOptions options;
    options.address = absl::StrCat(form, port_);
    options.connect_timeout = absl::Seconds(20);
    options.lookup = names_.lookup();
    auto client = Client::Connect(options);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }
  // Opens a stream that has no second try anywhere, unless it `resumes`.
  std::unique_ptr<Stream> Open(bool resumes = false) {
    client::StreamOptions options;
    if (!resumes) options.resume_timeout = absl::ZeroDuration();
    return client_->StartStream(options);
  }
  static absl::Status Begun(Stream& stream) {
    while (const auto event = stream.Next()) {
      if (std::holds_alternative<client::Started>(*event)) return absl::OkStatus();
      if (const auto* lost = std::get_if<client::Interrupted>(&*event)) return lost->why;
    }
    return stream.Wait();
  }

  FakeNames names_;
  int port_ = 0;
  std::vector<std::unique_ptr<Server>> servers_;
  std::unique_ptr<Client> client_;
};

TEST_F(NamesTest, StreamsGoToAllAddressesByTurns) {
  names_.Set({Host(0), Host(1), Host(2)});
  for (const char* form : {"leapstream.test:", "dns:///leapstream.test:"}) {
    servers_.clear();
    ASSERT_NO_FATAL_FAILURE(StartServers(3, 2));
    ASSERT_NO_FATAL_FAILURE(Connect(form));
    std::vector<std::unique_ptr<Stream>> streams;
    for (int i = 0; i < 6; ++i) streams.push_back(Open());
    for (const auto& stream : streams) EXPECT_TRUE(Begun(*stream).ok()) << stream->Wait();
    EXPECT_EQ(client::ErrorReason(Begun(*Open())), "SERVER_FULL");
  }
}

TEST_F(NamesTest, AfterARefusalAnotherAddressComesFirst) {
  ASSERT_NO_FATAL_FAILURE(StartServers(2, 3));
  names_.Set({Host(0)});
  ASSERT_NO_FATAL_FAILURE(Connect());
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < 3; ++i) streams.push_back(Open());
  for (const auto& stream : streams) ASSERT_TRUE(Begun(*stream).ok()) << stream->Wait();
  names_.Set({Host(0), Host(1)});  // The server of Host(0) is full.
  ASSERT_NO_FATAL_FAILURE(Connect());
  for (int i = 0; i < 3; ++i) {
    streams.push_back(Open());
    EXPECT_TRUE(Begun(*streams.back()).ok()) << streams.back()->Wait();
  }
  EXPECT_EQ(client::ErrorReason(Begun(*Open())), "SERVER_FULL");
}

TEST_F(NamesTest, ADrainingServersStreamsGoToTheOthers) {
  ASSERT_NO_FATAL_FAILURE(StartServers(2, 20));
  names_.Set({Host(0), Host(1)});
  ASSERT_NO_FATAL_FAILURE(Connect());
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < 2; ++i) {
    streams.push_back(Open(/*resumes=*/true));
    ASSERT_TRUE(Begun(*streams.back()).ok());
    ASSERT_TRUE(streams.back()->PushText("a segment that is open ").ok());
  }
  std::thread drain([&] { servers_[0]->Shutdown(SteadyNow() + absl::Seconds(30)); });
  for (int i = 0; i < 6; ++i) {  // None of these is interrupted, or sees an error.
    auto stream = Open(/*resumes=*/true);
    EXPECT_TRUE(Begun(*stream).ok());
    EXPECT_TRUE(stream->PushText("a word").ok());
    EXPECT_TRUE(stream->CloseSource().ok());
    EXPECT_TRUE(stream->Wait().ok()) << stream->Wait();
  }
  for (const auto& stream : streams) {
    EXPECT_TRUE(stream->CloseSource().ok());
    EXPECT_TRUE(stream->Wait().ok()) << stream->Wait();
  }
  drain.join();
}

TEST_F(NamesTest, AChangedAddressIsFound) {
  ASSERT_NO_FATAL_FAILURE(StartServers(2, 10));
  names_.Set({Host(0)});
  ASSERT_NO_FATAL_FAILURE(Connect());
  auto stream = Open(/*resumes=*/true);
  ASSERT_TRUE(Begun(*stream).ok());
  ASSERT_TRUE(stream->PushText("a segment that is open ").ok());
  servers_[0]->Shutdown(SteadyNow());
  // The name still has the old address when the server is lost.
  std::string resumed;
  absl::Time changed = absl::InfiniteFuture();
  while (resumed.empty()) {
    const auto event = stream->Next();
    ASSERT_TRUE(event.has_value()) << stream->Wait();
    if (std::holds_alternative<client::Interrupted>(*event)) {
      names_.Set({Host(1)});
      changed = absl::Now();
    }
    if (const auto* found = std::get_if<client::Resumed>(&*event)) resumed = found->address;
  }
  std::printf("found after %s\n", absl::FormatDuration(absl::Now() - changed).c_str());
  EXPECT_EQ(resumed, Address(1));
  EXPECT_TRUE(stream->CloseSource().ok());
  EXPECT_TRUE(stream->Wait().ok()) << stream->Wait();
}

TEST_F(NamesTest, ANewAddressIsUsedWhileTheOldOnesServe) {
  ASSERT_NO_FATAL_FAILURE(StartServers(2, 1));
  names_.Set({Host(0)});
  ASSERT_NO_FATAL_FAILURE(Connect());
  auto first = Open();
  ASSERT_TRUE(Begun(*first).ok());
  names_.Set({Host(0), Host(1)});
  absl::SleepFor(absl::Seconds(2));  // By now the change must have been found.
  auto second = Open();
  EXPECT_TRUE(Begun(*second).ok()) << second->Wait();
}

TEST_F(NamesTest, AddressesStayWhenTheNameServerFails) {
  // The places of streams that are over are free a moment later.
  ASSERT_NO_FATAL_FAILURE(StartServers(1, 1000));
  names_.Set({Host(0)});
  ASSERT_NO_FATAL_FAILURE(Connect());
  names_.Set({});
  const int before = names_.lookups();
  while (names_.lookups() < before + 2) {
    auto stream = Open();
    ASSERT_TRUE(Begun(*stream).ok()) << stream->Wait();
  }
}

TEST_F(NamesTest, ANameThatIsNotKnownIsNamed) {
  client::ClientOptions options;
  options.address = "leapstream.invalid:1";
  options.connect_timeout = absl::Seconds(20);
  options.lookup = names_.lookup();
  const absl::Status status = Client::Connect(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("no server answers at leapstream.invalid:1; leapstream.invalid: no such "
                        "name here"));
}

// `localhost` is a name of both kinds, as on many machines, and one of them refuses.
TEST_F(NamesTest, LocalhostIsBothItsAddresses) {
  ASSERT_NO_FATAL_FAILURE(StartServers(1, 2));
  client::ClientOptions options;
  options.address = absl::StrCat("localhost:", port_);
  auto client = Client::Connect(options);
  ASSERT_TRUE(client.ok()) << client.status();
  client_ = *std::move(client);
  EXPECT_TRUE(client_->ListModels().ok());
  EXPECT_TRUE(client_->Probe(absl::Seconds(20)).ok());
  for (int i = 0; i < 4; ++i) {
    auto stream = Open();
    EXPECT_TRUE(Begun(*stream).ok()) << stream->Wait();
    stream->CloseSource().IgnoreError();
    stream->Wait().IgnoreError();
  }
}

TEST_F(NamesTest, AddressesOfBothKindsTakeTurns) {
  ASSERT_NO_FATAL_FAILURE(StartServers(1, 2));
  const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 loopback = {};
  loopback.sin6_family = AF_INET6;
  loopback.sin6_addr = in6addr_loopback;
  const bool has_ipv6 = bind(fd, reinterpret_cast<sockaddr*>(&loopback), sizeof(loopback)) == 0;
  close(fd);
  if (!has_ipv6) GTEST_SKIP() << "this machine has no IPv6";
  const auto ipv6 = StartServer(absl::StrCat("[::1]:", port_), 2);
  ASSERT_NE(ipv6, nullptr);
  names_.Set({"::1", "127.0.0.1"});
  ASSERT_NO_FATAL_FAILURE(Connect());
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < 4; ++i) streams.push_back(Open());
  for (const auto& stream : streams) EXPECT_TRUE(Begun(*stream).ok()) << stream->Wait();
}

TEST_F(NamesTest, ANameOfVeryManyAddressesIsCut) {
  std::vector<std::string> many;
  for (int i = 0; i < 1000; ++i) many.push_back(absl::StrCat("127.1.", i / 250, ".", i % 250 + 1));
  names_.Set(many);
  client::ClientOptions options;
  options.address = "leapstream.test:1";
  options.lookup = names_.lookup();
  auto servers = client::Servers::Create(options);
  ASSERT_TRUE(servers.ok());
  EXPECT_FALSE((*servers)->WaitUntilConnected(absl::Seconds(20)).ok());
  EXPECT_EQ((*servers)->All().size(), budget::kAddressesPerName);
}

// A name server may rotate them, and an answer has only some of them in the end.
TEST_F(NamesTest, OfVeryManyAddressesTheSameAreKept) {
  std::vector<std::string> many;
  for (int i = 0; i < 200; ++i) many.push_back(absl::StrCat("127.1.0.", i + 1));
  names_.Set(many);
  client::ClientOptions options;
  options.address = "leapstream.test:1";
  options.lookup = names_.lookup();
  auto servers = client::Servers::Create(options);
  ASSERT_TRUE(servers.ok());
  EXPECT_FALSE((*servers)->WaitUntilConnected(absl::Seconds(20)).ok());
  const auto first = (*servers)->All();
  ASSERT_EQ(first.size(), budget::kAddressesPerName);
  std::rotate(many.begin(), many.begin() + 100, many.end());
  names_.Set(many);
  const int before = names_.lookups();
  while (names_.lookups() < before + 2) (*servers)->All();
  EXPECT_EQ((*servers)->All(), first);
}

TEST_F(NamesTest, ANameWithoutAddressesStandsForItself) {
  client::ClientOptions options;
  options.address = "leapstream.invalid:1";
  options.lookup = [](const std::string&) { return std::vector<std::string>(); };
  auto servers = client::Servers::Create(options);
  ASSERT_TRUE(servers.ok());
  const absl::Status status = (*servers)->WaitUntilConnected(absl::Seconds(20));
  EXPECT_THAT(std::string(status.message()), HasSubstr("the name has no address"));
  EXPECT_EQ((*servers)->All().size(), 1u);
  EXPECT_EQ((*servers)->Next()->address, "leapstream.invalid:1");
}

TEST_F(NamesTest, ASlowNameDelaysNoOther) {
  ASSERT_NO_FATAL_FAILURE(StartServers(1, 10));
  names_.Set({Host(0)});
  client::ClientOptions options;
  options.address = absl::StrCat("slow.test:1,leapstream.test:", port_);
  options.connect_timeout = absl::Seconds(10);
  options.lookup = names_.lookup();
  const absl::Time began = absl::Now();
  auto client = Client::Connect(options);
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_LT(absl::Now() - began, absl::Seconds(8));
  client_ = *std::move(client);
  auto stream = Open();
  EXPECT_TRUE(Begun(*stream).ok()) << stream->Wait();
}

TEST_F(NamesTest, ANameThatIsStillLookedUpIsNamed) {
  client::ClientOptions options;
  options.address = "slow.test:1";
  options.connect_timeout = absl::Milliseconds(500);
  options.lookup = names_.lookup();
  const absl::Status status = Client::Connect(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("no server answered at slow.test:1 within 500ms; slow.test: the name is "
                        "being looked up"));
}

TEST_F(NamesTest, AServerThatIsConnectedComesBeforeOneThatIsNot) {
  ASSERT_NO_FATAL_FAILURE(StartServers(1, 10));
  const MuteServer mute(Host(1), port_);
  names_.Set({Host(0)});
  client::ClientOptions options;
  options.address = absl::StrCat("leapstream.test:", port_);
  options.lookup = names_.lookup();
  auto servers = client::Servers::Create(options);
  ASSERT_TRUE(servers.ok());
  ASSERT_TRUE((*servers)->WaitUntilConnected(absl::Seconds(20)).ok());
  names_.Set({Host(1), Host(0)});
  while ((*servers)->All().size() < 2) absl::SleepFor(absl::Milliseconds(5));
  for (int i = 0; i < 4; ++i) EXPECT_EQ((*servers)->Next()->address, Address(0));
}

TEST_F(NamesTest, AChangedAddressIsFoundWhileNobodyAnswersAtTheOldOne) {
  ASSERT_NO_FATAL_FAILURE(StartServers(1, 10));
  const MuteServer mute(Host(1), port_);
  client::ClientOptions options;
  options.address = absl::StrCat("leapstream.test:", port_);
  options.lookup = names_.lookup();
  for (const bool probed : {false, true}) {
    names_.Set({Host(1)});
    options.connect_timeout = probed ? absl::ZeroDuration() : absl::Seconds(20);
    std::thread change([&] {
      absl::SleepFor(absl::Milliseconds(300));
      names_.Set({Host(0)});
    });
    auto client = Client::Connect(options);
    EXPECT_TRUE(client.ok()) << client.status();
    if (client.ok() && probed) {
      const absl::Status status = (*client)->Probe(absl::Seconds(20));
      EXPECT_TRUE(status.ok()) << status;
    }
    change.join();
  }
}

// A proxy that nobody can reach.
TEST_F(NamesTest, NoProxyIsAskedForThisMachineAndOthersAreNamed) {
  ASSERT_NO_FATAL_FAILURE(StartServers(1, 10));
  names_.Set({Host(0)});
  setenv("http_proxy", "http://127.0.0.1:9", 1);
  for (const std::string& address :
       {absl::StrCat("localhost:", port_), absl::StrCat("127.0.0.1:", port_),
        absl::StrCat("ipv4:127.0.0.1:", port_), absl::StrCat("dns:///localhost:", port_),
        absl::StrCat("leapstream.test:", port_)}) {
    client::ClientOptions options;
    options.address = address;
    if (address[0] == 'l' && address[1] == 'e') options.lookup = names_.lookup();
    auto client = Client::Connect(options);
    ASSERT_TRUE(client.ok()) << address << ": " << client.status();
    EXPECT_TRUE((*client)->ListModels().ok()) << address;
  }
  names_.Set({"192.0.2.1"});
  client::ClientOptions options;
  options.address = "leapstream.test:50051";
  options.lookup = names_.lookup();
  const std::string message(Client::Connect(options).status().message());
  EXPECT_THAT(message, HasSubstr("asked through http://127.0.0.1:9, the proxy that the "
                                 "environment's http_proxy names"));
  setenv("no_proxy", "leapstream.test", 1);
  names_.Set({Host(0)});
  ASSERT_NO_FATAL_FAILURE(Connect());
  unsetenv("no_proxy");
  unsetenv("http_proxy");
}

}  // namespace
}  // namespace leapstream
