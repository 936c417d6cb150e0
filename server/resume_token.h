#ifndef LEAPSTREAM_SERVER_RESUME_TOKEN_H_
#define LEAPSTREAM_SERVER_RESUME_TOKEN_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "streaming/pause_segmenter.h"
#include "streaming/session.h"

namespace leapstream {

// What a server must know of a session to go on with it. Holds no text.
struct ResumeToken {
  std::string session_id;
  std::optional<std::string> owner;  // OwnerOf() its principal; nothing: a token of version 2.
  std::string model_checksum;
  std::string config_digest;  // Of all that decides what is put out; see ConfigDigest().
  int64_t segment = 1;        // The first that is not complete.
  // If pauses end segments: where its source begins, or that of complete ones before it, so many,
  // whose ends had not come yet. Else `source` counts chunks alone.
  SourcePosition source;
  int drops = 0;  // If segments go on in the next one, instead: tokens of the first word to skip.
  absl::Time expires;
  SessionSummary before;  // Of the segments that are; lagging figures are sums. Of version 2: no
                          // audio and no times.
};

// Signs tokens with HMAC-SHA-256. Const, thread-safe.
class ResumeSigner {
 public:
  // A key of this process alone: its tokens are forgeries to every other one.
  static ResumeSigner WithRandomKey();
  // The file's bytes, white space at its end not counted. NOT_FOUND: it cannot be read;
  // INVALID_ARGUMENT: fewer than 32 bytes.
  static absl::StatusOr<ResumeSigner> WithKeyFrom(const std::string& path);

  std::string Sign(const ResumeToken& token) const;
  // INVALID_ARGUMENT, RESUME_TOKEN_INVALID: not signed with this key. FAILED_PRECONDITION,
  // RESUME_TOKEN_EXPIRED: too old at `now`.
  absl::StatusOr<ResumeToken> Verify(absl::string_view token, absl::Time now) const;

 private:
  explicit ResumeSigner(std::string key) : key_(std::move(key)) {}
  std::string Mac(absl::string_view text) const;  // 32 bytes.

  std::string key_;
};

// 128 random bits in hex.
std::string NewSessionId();

// Stands for a principal in a token; empty: for anybody, as the principal.
std::string OwnerOf(absl::string_view principal);

// Hex SHA-256.
std::string Sha256(absl::string_view text);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RESUME_TOKEN_H_
