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

// The knowledge of a session that a server needs to go on with it. It holds no text.
struct ResumeToken {
  std::string session_id;
  std::optional<std::string> owner;  // OwnerOf() the principal; nullopt: the token has version 2.
  std::string model_checksum;
  std::string config_digest;  // See ConfigDigest().
  int64_t segment = 1;        // The first segment that is not complete.
  // The client sends its source again from here; see ResumePoint. Tokens have `audio` from version
  // 6 on.
  SourcePosition source;
  int drops = 0;  // ResumePoint::skipped.
  std::optional<SourcePosition> begin;  // ResumePoint::begin. Tokens have it from version 5 on.
  bool in_text = false;  // ResumePoint::in_text. Tokens before version 4 do not say it.
  absl::Time expires;
  // The complete segments. Lagging figures are sums. A token of version 2 has no duration of audio
  // and no times.
  SessionSummary before;
};

// Signs tokens with HMAC-SHA-256. Const, thread-safe.
class ResumeSigner {
 public:
  // Uses a key of this process alone: no other process accepts its tokens.
  static ResumeSigner WithRandomKey();
  // Uses the file's bytes without the white space at its end. NOT_FOUND: the file cannot be read.
  // INVALID_ARGUMENT: it has fewer than 32 bytes.
  static absl::StatusOr<ResumeSigner> WithKeyFrom(const std::string& path);

  // A text with its signature in front, and the text of such a token; nullopt: it was not signed
  // with this key. Who seals texts of a new kind begins them with a name that no other kind has.
  std::string Seal(absl::string_view text) const;
  std::optional<absl::string_view> Unseal(absl::string_view token) const;

  std::string Sign(const ResumeToken& token) const;
  // INVALID_ARGUMENT, RESUME_TOKEN_INVALID: the token was not signed with this key.
  // FAILED_PRECONDITION, RESUME_TOKEN_EXPIRED: it has expired at `now`, or another version of the
  // server wrote it.
  absl::StatusOr<ResumeToken> Verify(absl::string_view token, absl::Time now) const;

 private:
  explicit ResumeSigner(std::string key) : key_(std::move(key)) {}
  std::string Mac(absl::string_view text) const;  // 32 bytes.

  std::string key_;
};

// 128 random bits in hex.
std::string NewSessionId();

// The text that stands for a principal in a token; empty for an empty principal, which is anybody.
std::string OwnerOf(absl::string_view principal);

// Hex SHA-256.
std::string Sha256(absl::string_view text);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RESUME_TOKEN_H_
