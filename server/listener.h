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
#include "server/logging.h"

namespace leapstream {

// The sockets on which connections to one address arrive. There is one for each address that the
// host's name has; for 0.0.0.0 as for [::] there is one socket of both families, if the machine has
// both. The destructor closes them.
class ListeningSockets {
 public:
  // UNAVAILABLE: nothing can listen on the address.
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

// OK if the host's name or address is known on this machine. UNAVAILABLE: it is not.
absl::Status CheckHost(const Address& address);

// Accepts connections for as long as it lives, whatever happens. gRPC's own listener gives up at
// the first connection for which there is no descriptor. Thread-safe.
class Listener {
 public:
  // Gets a new connection and becomes its owner. The connection is non-blocking. Called on the
  // listener's thread.
  using Take = std::function<void(int listening, int connection)>;

  // Connections whose descriptor is not below `most` are closed at once. `what` is the port's name
  // in the log.
  Listener(ListeningSockets sockets, int most, std::string what);
  ~Listener() { Stop(); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int port() const { return sockets_.port(); }
  // To be called once. Connections that come before that wait.
  void Start(Take take);
  // Closes the port. After it has returned, Take is not called any more. Later calls do nothing.
  void Stop();

  // OK: a connection that came now would be taken, or Stop() was called. UNAVAILABLE: there is no
  // descriptor for one, or the thread hangs.
  absl::Status Accepts() const;
  // OK: the listener's thread goes on, whether it takes or refuses connections. UNAVAILABLE: it
  // hangs.
  absl::Status Turns() const;
  int64_t refused() const { return refused_.load(std::memory_order_relaxed); }

 private:
  void Run();
  // Takes the connections that wait on one socket. False: something is lacking, and it is of no use
  // to go on now.
  bool AcceptFrom(int listening);
  // Closes the next connection when there is no descriptor for it, by means of the spare one.
  // Returns 0 or an errno; EAGAIN: no connection waits.
  int RefuseByTheSpare(int listening);
  void Refused(const char* why);
  void Recovered();

  ListeningSockets sockets_;
  const int most_;
  const std::string what_;
  Take take_;
  int wake_ = -1;   // An eventfd.
  int spare_ = -1;  // A descriptor that is given up for a moment, to refuse a connection.
  std::atomic<bool> stopped_{false};
  std::atomic<bool> failing_{false};      // True: a connection could not even be refused.
  std::atomic<int64_t> busy_since_{0};    // Steady time in ns; 0: the thread waits.
  std::atomic<int64_t> refused_{0};
  // The next four are used by the listener's thread only.
  int64_t refused_before_ = 0;
  bool refusing_ = false;
  bool told_ = false;  // The log says that the port refuses, and not yet that it takes again.
  LineRate lines_;     // The rate of such lines.
  std::thread thread_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_LISTENER_H_
