#include "server/resume_token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/small_file.h"
#include "base/status.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

constexpr size_t kMacBytes = 32;
constexpr size_t kMinKeyBytes = 32;
constexpr size_t kMaxResumeTokenBytes = 4096;
// The versions that Sign() writes. Only a session that older servers do not know needs the newer.
constexpr char kVersion[] = "4";
constexpr char kVersionWithBegin[] = "5";
constexpr char kVersionWithAudio[] = "6";
constexpr size_t kFields = 20;  // The number of fields of kVersion.

// The number of fields that tokens of a version have, which are the first ones of today's; 0: no
// such token is read.
size_t FieldsOf(absl::string_view version) {
  if (version == kVersionWithBegin) return kFields + 2;
  if (version == kVersionWithAudio) return kFields + 1;
  if (version == kVersion) return kFields;
  if (version == "3") return 19;
  return version == "2" ? 14 : 0;
}

absl::Status Forged() {
  return InvalidRequest(
      "RESUME_TOKEN_INVALID",
      "the resume token was not signed by this server's key; start a new session");
}

std::string Nanoseconds(absl::Duration duration) {
  return absl::StrCat(absl::ToInt64Nanoseconds(duration));
}

bool ParseNanoseconds(absl::string_view text, absl::Duration* duration) {
  int64_t nanoseconds = 0;
  if (!absl::SimpleAtoi(text, &nanoseconds)) return false;
  *duration = absl::Nanoseconds(nanoseconds);
  return true;
}

}  // namespace

ResumeSigner ResumeSigner::WithRandomKey() {
  std::string key(kMinKeyBytes, '\0');
  LEAPSTREAM_CHECK(getrandom(key.data(), key.size(), 0) == static_cast<ssize_t>(key.size()));
  return ResumeSigner(std::move(key));
}

absl::StatusOr<ResumeSigner> ResumeSigner::WithKeyFrom(const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(std::string key, ReadSmallFile(path));
  absl::StripTrailingAsciiWhitespace(&key);
  if (key.size() < kMinKeyBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the resume key ", path, " must have ",
                                                   kMinKeyBytes, " bytes at least, has ",
                                                   key.size(), "; openssl rand -hex 32 makes one"));
  }
  return ResumeSigner(std::move(key));
}

std::string ResumeSigner::Mac(absl::string_view text) const {
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  LEAPSTREAM_CHECK(HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
                        reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac,
                        &size) != nullptr &&
                   size == kMacBytes);
  return std::string(reinterpret_cast<char*>(mac), size);
}

std::string ResumeSigner::Seal(absl::string_view text) const {
  return absl::StrCat(Mac(text), text);
}

std::optional<absl::string_view> ResumeSigner::Unseal(absl::string_view token) const {
  if (token.size() <= kMacBytes) return std::nullopt;
  const absl::string_view text = token.substr(kMacBytes);
  if (CRYPTO_memcmp(Mac(text).data(), token.data(), kMacBytes) != 0) return std::nullopt;
  return text;
}

std::string ResumeSigner::Sign(const ResumeToken& token) const {
  const SegmentStats& totals = token.before.totals;
  const char* const version = token.begin.has_value()  ? kVersionWithBegin
                              : token.source.audio > 0 ? kVersionWithAudio
                                                       : kVersion;
  // %a writes a double without any loss.
  std::string text = absl::StrJoin(
      std::vector<std::string>{
          version, token.session_id, absl::BytesToHexString(token.model_checksum),
          token.config_digest, absl::StrCat(token.segment),
          absl::StrCat(absl::ToUnixMillis(token.expires)), absl::StrCat(token.before.segments),
          absl::StrCat(token.before.source_tokens), absl::StrCat(token.before.target_tokens),
          absl::StrFormat("%a", totals.lagging.al), absl::StrFormat("%a", totals.lagging.laal),
          absl::StrCat(token.source.chunks), absl::StrCat(token.source.samples),
          absl::StrCat(token.drops), token.owner.value_or(""), Nanoseconds(totals.source_audio),
          Nanoseconds(totals.first_token), Nanoseconds(totals.compute), Nanoseconds(totals.queue),
          token.in_text ? "1" : "0"},
      "\n");
  if (token.begin.has_value()) {
    absl::StrAppend(&text, "\n", token.begin->chunks, "\n", token.begin->samples);
  } else if (token.source.audio > 0) {
    absl::StrAppend(&text, "\n", token.source.audio);
  }
  return Seal(text);
}

absl::StatusOr<ResumeToken> ResumeSigner::Verify(absl::string_view token, absl::Time now) const {
  const std::optional<absl::string_view> unsealed = Unseal(token);
  if (token.size() > kMaxResumeTokenBytes || !unsealed.has_value()) return Forged();
  const absl::string_view text = *unsealed;
  // The signature is good, so this server or another version of it wrote the text.
  const std::vector<std::string> fields = absl::StrSplit(text, '\n');
  ResumeToken result;
  int64_t expires = 0;
  SegmentStats& totals = result.before.totals;
  const bool has_times = fields.size() > 15;
  const bool has_audio = fields.size() == kFields + 1;
  const bool has_begin = fields.size() > kFields + 1;
  if (has_begin) result.begin.emplace();
  if (fields.size() != FieldsOf(fields[0]) ||
      !absl::SimpleAtoi(fields[4], &result.segment) || !absl::SimpleAtoi(fields[5], &expires) ||
      !absl::SimpleAtoi(fields[6], &result.before.segments) ||
      !absl::SimpleAtoi(fields[7], &result.before.source_tokens) ||
      !absl::SimpleAtoi(fields[8], &result.before.target_tokens) ||
      !absl::SimpleAtoi(fields[11], &result.source.chunks) ||
      !absl::SimpleAtoi(fields[12], &result.source.samples) ||
      !absl::SimpleAtoi(fields[13], &result.drops) ||
      (has_begin && !(absl::SimpleAtoi(fields[20], &result.begin->chunks) &&
                      absl::SimpleAtoi(fields[21], &result.begin->samples))) ||
      (has_audio && !absl::SimpleAtoi(fields[20], &result.source.audio)) ||
      (has_times && !(ParseNanoseconds(fields[15], &totals.source_audio) &&
                        ParseNanoseconds(fields[16], &totals.first_token) &&
                        ParseNanoseconds(fields[17], &totals.compute) &&
                        ParseNanoseconds(fields[18], &totals.queue)))) {
    return WithReason(
        absl::FailedPreconditionError(
            "the resume token is of another version of the server; start a new session"),
        "RESUME_TOKEN_EXPIRED");
  }
  result.session_id = fields[1];
  result.model_checksum = absl::HexStringToBytes(fields[2]);
  result.config_digest = fields[3];
  result.expires = absl::FromUnixMillis(expires);
  result.in_text = fields.size() > 19 && fields[19] == "1";
  if (has_times) result.owner = fields[14];
  totals.lagging.al = std::strtod(fields[9].c_str(), nullptr);
  totals.lagging.laal = std::strtod(fields[10].c_str(), nullptr);
  if (now >= result.expires) {
    return WithReason(
        absl::FailedPreconditionError(absl::StrCat(
            "the resume token expired at ", absl::FormatTime(result.expires, absl::UTCTimeZone()),
            "; start a new session")),
        "RESUME_TOKEN_EXPIRED");
  }
  return result;
}

std::string OwnerOf(absl::string_view principal) {
  return principal.empty() ? "" : Sha256(principal);
}

std::string Sha256(absl::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  LEAPSTREAM_CHECK(EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha256(), nullptr) == 1);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(digest), size));
}

std::string NewSessionId() {
  char bytes[16] = {};
  // getrandom() cannot fail for so few bytes; it waits until the kernel's generator is seeded.
  if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) return "";
  return absl::BytesToHexString(absl::string_view(bytes, sizeof(bytes)));
}

}  // namespace leapstream
