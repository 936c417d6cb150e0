#ifndef LEAPSTREAM_CLIENT_CLIENT_H_
#define LEAPSTREAM_CLIENT_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/types.h"

// The client library. It hides gRPC and the wire's messages; docs/protocol.md says what they mean.
// It has a namespace of its own, since the streaming layer has types of the same names.
namespace leapstream::client {

class Servers;
class Session;

inline constexpr int64_t kMaxUnsentBytes = 256 << 10;

// INVALID_ARGUMENT: `options.address` names no server, or is malformed; the message says what to
// write.
absl::Status CheckServerAddresses(const ClientOptions& options);

// One session, carried by as many calls as it takes. The stream keeps what it knows of the open
// segment, and gives that to the next server when a server is lost. The events are those of an
// uninterrupted stream, plus Interrupted and Resumed. Thread-safe. Made by Client::StartStream().
class Stream {
 public:
  ~Stream();  // Cancels a stream that is not over, and waits until it is.
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // The next five methods never block: source that the server does not take yet is queued; see
  // unsent_bytes(). On a stream that is over they do nothing and return OK; Wait() has the reason.
  // FAILED_PRECONDITION: CloseSource() has been called.

  // Appends to the open segment. INVALID_ARGUMENT: `text` is not UTF-8, and nothing of it was sent.
  absl::Status PushText(absl::string_view text);
  // Appends samples in the format of StreamOptions::audio. INVALID_ARGUMENT: they are not whole
  // samples, or the stream takes no audio; nothing was sent.
  absl::Status PushAudio(absl::string_view samples);
  // The next text opens a new segment. Nothing happens if pauses end segments and no segment is
  // open.
  absl::Status EndSegment();
  absl::Status KeepAlive();    // Counts as activity and does nothing else.
  absl::Status CloseSource();  // Half-close: ends the open segment, if any, and the session.

  // Ends the stream with CANCELLED, unless it is over. Events that nobody has taken are lost.
  void Cancel();

  // Returns the next event and blocks until there is one; nullopt: the stream is over. Events that
  // nobody takes are kept up to a limit, after which the server is slowed down.
  std::optional<Event> Next();
  std::optional<Event> TryNext();  // Does not block; nullopt also if no event has come yet.
  bool finished() const;           // Whether the stream is over and every event has been taken.

  // Blocks until the stream is over, throwing away the events that nobody took, and says how the
  // stream ended: OK after a Summary. A server's ErrorInfo is kept; see ErrorReason(). INTERNAL
  // also says that a server did not continue a segment's text as it was.
  absl::Status Wait();

  // Bytes of source that wait to be sent; an end of a segment counts as one. Programs stop reading
  // their input at kMaxUnsentBytes.
  int64_t unsent_bytes() const;

  // A descriptor for poll(). It is readable when TryNext(), finished() or unsent_bytes() may have
  // changed, until a TryNext() returns nothing. The stream owns it; -1 if the system had none left.
  int ready_fd() const;

 private:
  friend class Client;
  explicit Stream(std::shared_ptr<Session> session);
  std::shared_ptr<Session> session_;
};

// Connections to the replicas of a service, shared by any number of streams. Streams may outlive
// the client. Thread-safe.
class Client {
 public:
  // UNAVAILABLE: no server answers at any address, or none within the timeout. INVALID_ARGUMENT:
  // the address is missing or malformed, or the settings of `security` do not fit together.
  // NOT_FOUND: a file of `security` cannot be read.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const ClientOptions& options);
  ~Client();

  // Opens a session; Stream::Wait() has its errors.
  std::unique_ptr<Stream> StartStream(const StreamOptions& options);

  // Translates a text at once, and blocks until that is done. A call that breaks, or that no server
  // takes now, is made again: it changes nothing. Errors: those of Translate in docs/protocol.md.
  // INVALID_ARGUMENT: also if `text` is not UTF-8.
  absl::StatusOr<TextTranslation> Translate(absl::string_view text, const TextOptions& options);

  absl::StatusOr<std::vector<Model>> ListModels(absl::Duration timeout = absl::Seconds(10));

  // Waits until one server says that it is serving: by grpc.health.v1, or, on a server without it,
  // by answering ListModels. UNAVAILABLE: no server said so within the timeout.
  absl::Status Probe(absl::Duration timeout);

 private:
  friend class Texts;
  explicit Client(std::shared_ptr<Servers> servers);
  std::shared_ptr<Servers> servers_;
};

// Whether `text` is UTF-8 of whole code points in their shortest forms. `*valid_bytes` gets the
// length of its longest prefix that is.
bool IsUtf8(absl::string_view text, size_t* valid_bytes);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLIENT_H_
