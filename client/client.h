#ifndef LEAPSTREAM_CLIENT_CLIENT_H_
#define LEAPSTREAM_CLIENT_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

// The client library. It hides gRPC and the wire's messages; docs/protocol.md says what they mean.
// A namespace of its own, since the streaming layer has types of the same names.
namespace leapstream::client {

class Servers;

// Files are read once, when the client is made.
struct Security {
  bool tls = false;
  std::string ca_file;  // PEM, of those who sign servers' certificates; empty: the system's.
  std::string certificate_file;  // The client's own, in PEM, and its key; empty: it has none.
  std::string key_file;
  std::string token_file;  // Sent with each call; without TLS only to this machine. Empty: none.
};

// Finds the addresses of a host name, such as "10.0.0.1" and "fe80::1%eth0"; may block.
using AddressLookup =
    std::function<absl::StatusOr<std::vector<std::string>>(const std::string& host)>;

struct ClientOptions {
  // host:port, or any other name that gRPC resolves. Several, with commas between them, are
  // replicas, and so are all addresses of a name: streams take turns at them, and go on at another
  // when one is lost. Names are looked up again while streams begin or look for a server.
  std::string address = "localhost:50051";
  absl::Duration connect_timeout = absl::Seconds(5);  // 0: connect when the first call is made.
  Security security = {};
  AddressLookup lookup = {};  // Null: the system's (getaddrinfo).
};

// INVALID_ARGUMENT: the address of `options` names no server, or is malformed; what to write.
absl::Status CheckServerAddresses(const ClientOptions& options);

enum class EarlyEnd { kUnspecified, kStop, kSuppress, kReadOn, kForceFinish };

// What Stream::PushAudio() gets: mono little-endian samples, floats in [-1, 1].
enum class AudioFormat { kNone, kPcmS16Le, kPcmF32Le };

enum class FinishReason { kUnspecified, kEndOfSentence, kMaxLength, kSourceLimit };

// Unset fields are left to the server; what it applied is in Started.
struct StreamOptions {
  std::string model;
  std::string source_language_code;  // BCP-47.
  std::string target_language_code;
  std::optional<int> k;  // Of wait-k, in source tokens.
  bool offline = false;  // Instead of wait-k: a segment is read to its end before the first word.
  EarlyEnd early_end = EarlyEnd::kUnspecified;
  // Text: where a translation ends before its source does, the next segment begins with the source
  // that is left. Servers from before 0.2 take no notice of it.
  bool next_segments = false;
  int max_target_tokens = 0;               // Per segment; 0: the server's.
  AudioFormat audio = AudioFormat::kNone;  // kNone: the source is text.
  int sample_rate = 0;                     // Of audio, in Hz; 0: 16000.
  // Of audio: how long a pause ends a segment, 0: none does; and what is quiet, in dB of full
  // scale.
  std::optional<absl::Duration> pause;
  double pause_threshold_db = 0;
  bool token_details = false;  // Fills Delta::tokens.
  bool log_probs = false;
  bool segment_stats = true;                           // Fills SegmentCompleted::stats.
  absl::Duration idle_timeout = absl::ZeroDuration();  // 0: the server's.
  absl::Duration deadline = absl::InfiniteDuration();  // Of the whole stream.
  // How long a server is looked for when none takes the stream, or the one that had it is lost. The
  // stream then goes on where it was. 0: it ends with the first error.
  absl::Duration resume_timeout = absl::Seconds(60);
};

struct Limits {
  int max_chunk_bytes = 0;
  int max_source_tokens_per_segment = 0;
  absl::Duration max_session_duration;
  absl::Duration idle_timeout;
};

struct Started {
  std::string session_id;
  std::string model;
  std::string model_checksum;
  StreamOptions applied;  // Without `deadline`, which the server does not echo.
  Limits limits;
};

struct Token {
  int id = 0;
  std::string piece;
  int source_tokens_read = 0;
  float log_prob = 0;
  absl::Duration emit_offset;  // Since the session started.
  double source_audio_ms = 0;  // Speech: audio of the segment that had been read.
};

// Text to append to the segment's; never taken back.
struct Delta {
  int64_t sequence = 0;
  int64_t segment = 0;
  std::string text;
  std::vector<Token> tokens;
  // Of this segment, when the text was written; of speech, encoder states.
  int source_tokens_read = 0;
  double source_audio_ms = 0;  // Speech: audio of the segment that had been read.
};

struct Lagging {
  double average_lagging = 0;
  double length_adaptive_average_lagging = 0;
  double average_proportion = 0;
  double differentiable_average_lagging = 0;
  double average_token_delay = 0;
  double start_offset = 0;
  double end_offset = 0;
  std::optional<double> yet_another_average_lagging;
};

// See SegmentStats of the protocol. Its own figures are in tokens, of speech in ms.
struct SegmentStats : Lagging {
  int source_tokens = 0;
  int target_tokens = 0;
  std::optional<Lagging> words;
  std::optional<Lagging> computation_aware;  // Of speech; so is the next one.
  std::optional<Lagging> words_computation_aware;
  absl::Duration first_token;
  absl::Duration compute;
  absl::Duration queue;
  double source_audio_ms = 0;
};

struct SegmentCompleted {
  int64_t segment = 0;
  std::string text;  // Equals the concatenated deltas.
  FinishReason reason = FinishReason::kUnspecified;
  std::optional<SegmentStats> stats;
  // Of its source, as far as is known: tokens that were read after the translation had ended.
  int untranslated_source_tokens = 0;
  bool source_dropped = false;  // Some was left when the translation ended, and is dropped.
  bool continues = false;       // Some was left, and is that of the next segment.
};

// The server gives the stream up after `remaining`, or when the open segment is complete.
struct GoingAway {
  absl::Duration remaining;
  std::string reason;  // As in the proto: "GOING_AWAY_REASON_DRAINING", ….
};

struct Summary {
  int64_t segments = 0;
  int64_t source_tokens = 0;
  int64_t target_tokens = 0;
  SegmentStats totals;  // Not all figures: see SegmentStats of the protocol.
  int64_t untranslated_source_tokens = 0;  // The sum over segments since the last resume.
  int64_t dropped_source_bytes = 0;        // Of source that was not read, since then.
};

// The server is lost, or will not take the stream now; another call is made for it.
struct Interrupted {
  absl::Status why;
};

// The stream goes on at a server, after an interruption or an announced move; nothing was lost.
struct Resumed {
  std::string address;
  absl::Duration gap;  // Since the last call ended.
};

using Event =
    std::variant<Started, Delta, SegmentCompleted, GoingAway, Interrupted, Resumed, Summary>;

// One session, through as many calls as it takes: what is known of the open segment is kept, and
// given to the next server when one is lost. The events are those of a stream that was never
// interrupted, but for Interrupted and Resumed. Thread-safe. Made by Client::StartStream().
class Stream {
 public:
  ~Stream();  // Cancels a stream that is not over, and waits until it is.
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // The five below never block: what the server does not take yet is queued, see unsent_bytes().
  // On a stream that is over they do nothing and return OK; Wait() has the reason.
  // FAILED_PRECONDITION: after CloseSource().

  // Appended to the open segment. INVALID_ARGUMENT: not UTF-8; nothing of it was sent.
  absl::Status PushText(absl::string_view text);
  // Samples in StreamOptions::audio's format. INVALID_ARGUMENT: not whole samples, or the stream is
  // not of audio; nothing of it was sent.
  absl::Status PushAudio(absl::string_view samples);
  // The next text opens a new segment. Nothing happens if pauses end segments and none is open.
  absl::Status EndSegment();
  absl::Status KeepAlive();    // Counts as activity, nothing else.
  absl::Status CloseSource();  // Half-close: ends the open segment, if any, and the session.

  // The stream ends with CANCELLED, unless it was over. Events that have not been taken are lost.
  void Cancel();

  // The next event; blocks for it. Nothing: the stream is over. Events that are not taken are kept
  // up to a limit, after which the server is slowed down.
  std::optional<Event> Next();
  std::optional<Event> TryNext();  // Does not block.
  bool finished() const;           // The stream is over, and every event has been taken.

  // Blocks until the stream is over, throwing away the events that nobody took, and says how it
  // ended: OK after a Summary. A server's ErrorInfo is kept, see ErrorReason(). INTERNAL: also if a
  // server does not continue a segment's text as it was.
  absl::Status Wait();

  int64_t unsent_bytes() const;  // Of text and control messages that wait to be sent.

  // For poll(): readable when TryNext(), finished() or unsent_bytes() may have changed, until a
  // TryNext() that returns nothing. Owned by the stream; -1 if the system had none left.
  int ready_fd() const;

 private:
  friend class Client;
  class Session;
  explicit Stream(std::shared_ptr<Session> session);
  std::shared_ptr<Session> session_;
};

struct Model {
  std::string name;
  std::vector<std::string> source_language_codes;
  std::vector<std::string> target_language_codes;
  std::string checksum;
  bool speech = false;           // It takes audio, not text.
  absl::Duration read_duration;  // Speech: of one READ, the unit of k.
  bool learned_policy = false;   // It decides itself when to read, and takes no k.
  int default_k = 0;             // 0: none; segments are read to their ends if no k is asked for.
  int min_k = 0;
  int max_k = 0;
  int64_t state_bytes_per_session = 0;
  int64_t state_bytes_per_token = 0;
  std::string compute_type;
};

// Connections to the replicas of a service, shared by any number of streams. Thread-safe. Streams
// may outlive it.
class Client {
 public:
  // UNAVAILABLE: nobody answers at any of the addresses, or not within the timeout.
  // INVALID_ARGUMENT: there is no address, or what `security` asks for does not fit together.
  // NOT_FOUND: one of its files cannot be read.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const ClientOptions& options);
  ~Client();

  // Opens a session; errors come from Stream::Wait().
  std::unique_ptr<Stream> StartStream(const StreamOptions& options);

  absl::StatusOr<std::vector<Model>> ListModels(absl::Duration timeout = absl::Seconds(10));

  // Waits until one server says that it is serving: by grpc.health.v1, or, on a server without it,
  // by answering ListModels. UNAVAILABLE: not within the timeout.
  absl::Status Probe(absl::Duration timeout);

 private:
  explicit Client(std::shared_ptr<Servers> servers);
  std::shared_ptr<Servers> servers_;
};

// The reason of the google.rpc.ErrorInfo that came with `status`, such as "MODEL_NOT_FOUND", or "".
std::string ErrorReason(const absl::Status& status);

// Whether `text` is UTF-8 in whole, shortest-form code points. `*valid_bytes` is the length of the
// longest prefix that is.
bool IsUtf8(absl::string_view text, size_t* valid_bytes);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLIENT_H_
