#ifndef LEAPSTREAM_CLIENT_TYPES_H_
#define LEAPSTREAM_CLIENT_TYPES_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/policy.h"

// The values that the client library takes and gives. Its interface, client.h, and its inside share
// them; docs/protocol.md says what they mean.
namespace leapstream::client {

// The files are read once, when the client is made.
struct Security {
  bool tls = false;
  // PEM of the authorities that sign servers' certificates; empty: the system's.
  std::string ca_file;
  std::string certificate_file;  // The client's own certificate, in PEM; empty: it has none.
  std::string key_file;          // The certificate's key, in PEM.
  std::string token_file;  // Token for each call, without TLS only to this machine; empty: none.
};

// Finds the addresses of a host name, such as "10.0.0.1" and "fe80::1%eth0"; may block.
using AddressLookup =
    std::function<absl::StatusOr<std::vector<std::string>>(const std::string& host)>;

struct ClientOptions {
  // host:port, or any other name that gRPC resolves. Several addresses, with commas between them,
  // are replicas, and so are all addresses of a name: streams take turns at them, and go on at
  // another one when a replica is lost. Names are looked up again while streams begin or look for a
  // server.
  std::string address = "localhost:50051";
  absl::Duration connect_timeout = absl::Seconds(5);  // 0: the first call connects.
  Security security = {};
  AddressLookup lookup = {};  // Null: the system's (getaddrinfo).
};

enum class EarlyEnd { kUnspecified, kStop, kSuppress, kReadOn, kForceFinish };

// Format of the samples for Stream::PushAudio(): mono, little-endian; floats are in [-1, 1].
enum class AudioFormat { kNone, kPcmS16Le, kPcmF32Le };

enum class FinishReason { kUnspecified, kEndOfSentence, kMaxLength, kSourceLimit };

// fairseq's beam search; unset values are fairseq-generate's. See BeamSearch in the protocol.
struct BeamSearch {
  int beam = 5;
  std::optional<double> length_penalty;
  std::optional<int> min_length;
  double max_length_a = 0;  // Both 0: 0 and 200.
  int max_length_b = 0;
  int no_repeat_ngram = 0;
  int n_best = 1;  // For TextOptions only.
};

// A term of a glossary; see docs/terms.md.
struct Term {
  std::string source;
  std::string target;  // Empty: the term is not translated.
};

// The server decides about unset fields; Started has the values that it applied.
struct StreamOptions {
  std::string model;
  std::string source_language_code;  // BCP-47, or a model's own code.
  std::string target_language_code;
  // Servers older than 0.4 know only wait-k, offline and learned, and ignore its other values.
  Policy policy;
  EarlyEnd early_end = EarlyEnd::kUnspecified;
  // Text only: if a translation ends before its source does, the next segment begins with the
  // source that is left. Servers older than 0.2 ignore this.
  bool next_segments = false;
  // Text only: the server ends a segment where a sentence ends or an empty line stands. It implies
  // next_segments. Servers older than 0.4 ignore this; Started says what holds.
  bool sentences = false;
  // Text only: terms that the target must have, in place of the server's own for the model; and
  // whether tags, placeholders, addresses and numbers of the source stand in the target as they
  // are. Servers older than 0.5 ignore these.
  std::vector<Term> glossary;
  bool keep_markup = false;
  int max_target_tokens = 0;               // Per segment; 0: the server's default.
  // The rest of a segment's target is searched once its source is complete. Servers older than 0.3
  // ignore this.
  std::optional<BeamSearch> beam;
  AudioFormat audio = AudioFormat::kNone;  // kNone: the source is text.
  int sample_rate = 0;                     // Rate of the audio in Hz; 0: 16000.
  // Audio only: the length of a pause that ends a segment (0: no pause ends one), and the level
  // below which audio is quiet, in dB of full scale.
  std::optional<absl::Duration> pause;
  double pause_threshold_db = 0;
  bool token_details = false;  // Fills Delta::tokens.
  bool log_probs = false;
  bool segment_stats = true;                           // Fills SegmentCompleted::stats.
  absl::Duration idle_timeout = absl::ZeroDuration();  // 0: the server's default.
  absl::Duration deadline = absl::InfiniteDuration();  // Limit of the whole stream.
  // Time for finding a server when none takes the stream, or when the server that had it is lost.
  // The stream then goes on where it was. 0: the stream ends with the first error.
  absl::Duration resume_timeout = absl::Seconds(60);
};

// Settings of one text that is translated at once: see Translate in the protocol.
struct TextOptions {
  std::string model;                 // Empty: the server's only one, or the pair's.
  std::string source_language_code;  // BCP-47, such as "en".
  std::string target_language_code;
  Policy policy;
  bool sentences = true;  // Each sentence of a line is a segment; else the line is one.
  std::vector<Term> glossary;  // These two: see StreamOptions.
  bool keep_markup = false;
  // Unset: the best next token is taken, one after the other. Set without a policy: `offline`.
  std::optional<BeamSearch> beam;
  absl::Duration deadline = absl::InfiniteDuration();
  // Time for finding a server when none takes the text, or when the server that had it is lost.
  absl::Duration retry_timeout = absl::Seconds(60);
};

struct Hypothesis {
  std::string text;
  double score = 0;  // A natural logarithm; see Hypothesis in the protocol.
};

struct TextTranslation {
  std::string text;  // A line for each line of the source.
  // With a beam: the best translations of each segment, the best first.
  std::vector<std::vector<Hypothesis>> segments;
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
  StreamOptions applied;  // All but `deadline`, which the server does not echo.
  Limits limits;
};

struct Token {
  int id = 0;
  std::string piece;
  int source_tokens_read = 0;
  float log_prob = 0;
  absl::Duration emit_offset;  // Time since the session started.
  double source_audio_ms = 0;  // Speech only: the segment's audio that had been read.
};

// Text to append to that of the segment. It is never taken back.
struct Delta {
  int64_t sequence = 0;
  int64_t segment = 0;
  std::string text;
  std::vector<Token> tokens;
  // Tokens of this segment's source (speech: encoder states) that had been read when the text was
  // written.
  int source_tokens_read = 0;
  double source_audio_ms = 0;  // Speech only: the segment's audio that had been read.
  // Speech only: the end of that, from the session's first sample on. 0: the server is older than
  // 0.4.
  double audio_offset_ms = 0;
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

// See SegmentStats in the protocol. The inherited figures are in tokens, for speech in ms.
struct SegmentStats : Lagging {
  int source_tokens = 0;
  int target_tokens = 0;
  std::optional<Lagging> words;
  std::optional<Lagging> computation_aware;        // Speech only.
  std::optional<Lagging> words_computation_aware;  // Speech only.
  absl::Duration first_token;
  absl::Duration compute;
  absl::Duration queue;
  double source_audio_ms = 0;
  int64_t encoder_rows = 0;  // These three are 0 if the server does not count them.
  int64_t decoder_rows = 0;
  int64_t decoder_steps = 0;
};

struct SegmentCompleted {
  int64_t segment = 0;
  std::string text;  // Equals the concatenated deltas.
  FinishReason reason = FinishReason::kUnspecified;
  std::optional<SegmentStats> stats;
  // Source tokens that were read after the translation had ended, as far as is known.
  int untranslated_source_tokens = 0;
  bool source_dropped = false;  // Source was left when the translation ended, and is dropped.
  // The rest of the source belongs to the next segment: a sentence ended, source was left, or audio
  // became too long for one segment.
  bool continues = false;
  // Speech only: the places in the session's audio at which the segment begins, and up to which it
  // was read. Both 0: it got no audio, or the server is older than 0.4.
  double audio_start_ms = 0;
  double audio_end_ms = 0;
};

// The server gives the stream up after `remaining`, or when the open segment is complete.
struct GoingAway {
  absl::Duration remaining;
  std::string reason;  // Name of the proto's enum value, such as "GOING_AWAY_REASON_DRAINING".
};

// The amounts that one call counted for its principal: see Usage in the protocol.
struct Usage {
  int64_t source_characters = 0;
  double source_audio_ms = 0;
  int64_t target_tokens = 0;
};

struct Summary {
  int64_t segments = 0;
  int64_t source_tokens = 0;
  int64_t target_tokens = 0;
  SegmentStats totals;                     // Some figures only: see SegmentStats in the protocol.
  int64_t untranslated_source_tokens = 0;  // The sum over segments since the last resume.
  int64_t dropped_source_bytes = 0;  // Bytes of source that was not read, since the last resume.
  std::optional<Usage> usage;  // That of the last call; nullopt: the server is older than 0.4.
};

// The server is lost, or will not take the stream now. Another call is made for the stream.
struct Interrupted {
  absl::Status why;
};

// The stream goes on at a server, after an interruption or an announced move; nothing was lost.
struct Resumed {
  std::string address;
  absl::Duration gap;  // Time since the last call ended.
};

using Event =
    std::variant<Started, Delta, SegmentCompleted, GoingAway, Interrupted, Resumed, Summary>;

struct Model {
  std::string name;
  std::vector<std::string> source_language_codes;  // Each goes with each of the targets.
  std::vector<std::string> target_language_codes;
  std::string license;  // Of the weights, as far as their files say it. The same holds for origin.
  std::string origin;   // The place that the weights came from.
  std::string checksum;
  bool speech = false;           // The model takes audio, not text.
  absl::Duration read_duration;  // Speech only: audio of one READ, the unit of k.
  // The names of the policies that the model takes, such as "la", as in texts of policies. Empty:
  // the server is older than 0.4.
  std::vector<std::string> policies;
  bool learned_policy = false;   // The model decides itself when to read, and takes no k.
  int default_k = 0;             // 0: none; without a k, segments are read to their ends.
  int min_k = 0;
  int max_k = 0;
  int64_t state_bytes_per_session = 0;
  int64_t state_bytes_per_token = 0;
  std::string compute_type;
  std::string state_type;  // The type of states that are sums. Empty: the server is older.
  // It goes on with texts: see client/texts.h. Without languages it does nothing else.
  bool generates = false;
  int max_text_tokens = 0;      // The most tokens of a text, </s> in front included; 0: no limit.
  int trained_text_tokens = 0;  // The tokens that it was trained for.
};

// The reason in the google.rpc.ErrorInfo of `status`, such as "MODEL_NOT_FOUND"; "" if it has none.
std::string ErrorReason(const absl::Status& status);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_TYPES_H_
