#ifndef LEAPSTREAM_SERVER_LISTENER_H_
#define LEAPSTREAM_SERVER_LISTENER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/address.h"

namespace leapstream {

// The sockets on which connections to one address arrive: one for each address that the host's name
// has, and for 0.0.0.0 as for [::] one of both families, if the machine has both. Closed when it
// goes.
class ListeningSockets {
 public:
  // UNAVAILABLE: it cannot be listened on.
  static absl::StatusOr<ListeningSockets> Open(const Address& address);
  ListeningSockets() = default;
  ~ListeningSockets() { Close(); }
  ListeningSockets(ListeningSockets&& other) noexcept { *this = std::move(other); }
  ListeningSockets& operator=(ListeningSockets&& other) noexcept;

  int port() const { return port_; }
  const std::vector<int>& descriptors() const { return descriptors_; }
  void Close();

 private:
  std::vector<int> descriptors_;
  int port_ = 0;
};

// Whether a name or an address of a host is known here. UNAVAILABLE: it is not.
absl::Status CheckHost(const Address& address);

// Accepts connections for as long as it lives, whatever happens: gRPC's own listener gives up at
// the first connection for which there is no descriptor. Thread-safe.
class Listener {
 public:
  // Gets a new connection, which is non-blocking, and is its owner. Called on the listener's
  // thread.
  using Take = std::function<void(int listening, int connection)>;

  // Connections whose descriptor is not below `most` are closed at once. `what`: of the port, for
  // the log.
  Listener(ListeningSockets sockets, int most, std::string what);
  ~Listener() { Stop(); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int port() const { return sockets_.port(); }
  void Start(Take take);  // Once. Until then connections wait.
  // Closes the port; when it returns, Take is not called any more. Nothing, if that was done.
  void Stop();

  // Whether a connection that came now would be taken; OK once it was stopped. UNAVAILABLE: there
  // is no descriptor for one, or the thread hangs.
  absl::Status Accepts() const;
  // Whether its thread does anything, connections or not. UNAVAILABLE: it hangs.
  absl::Status Turns() const;
  int64_t refused() const { return refused_.load(std::memory_order_relaxed); }

 private:
  void Run();
  // Takes what waits on one socket. False: something is lacking, and it is of no use to go on now.
  bool AcceptFrom(int listening);
  // Without a descriptor for it: ends the next connection by means of the spare one. 0, or an
  // errno; EAGAIN: none waits.
  int RefuseByTheSpare(int listening);
  void Refused(const char* why);
  void Recovered();

  ListeningSockets sockets_;
  const int most_;
  const std::string what_;
  Take take_;
  int wake_ = -1;   // An eventfd.
  int spare_ = -1;  // To be given up for a connection that is to be refused.
  std::atomic<bool> stopped_{false};
  std::atomic<bool> failing_{false};      // A connection could not even be refused.
  std::atomic<int64_t> busy_since_{0};    // Steady time in ns; 0: it waits.
  std::atomic<int64_t> refused_{0};
  // Of the listener's thread.
  int64_t refused_before_ = 0;
  bool refusing_ = false;
  bool told_ = false;  // The log says that it refuses, and not yet that it does not any more.
  int64_t said_ = 0;   // When it was said, by the steady clock.
  std::thread thread_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_LISTENER_H_
