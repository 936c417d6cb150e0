#include "server/token_file.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/small_file.h"
#include "base/status.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

constexpr size_t kSaltBytes = 16;
constexpr size_t kHashBytes = 32;
constexpr size_t kTokenBytes = 32;
constexpr size_t kMinTokenBytes = 32;
constexpr size_t kMaxTokenBytes = 1024;
constexpr size_t kMaxPrincipalBytes = 64;

std::string RandomBytes(size_t count) {
  std::string bytes(count, '\0');
  LEAPSTREAM_CHECK(getrandom(bytes.data(), count, 0) == static_cast<ssize_t>(count));
  return bytes;
}

std::string Hash(absl::string_view salt, absl::string_view token) {
  std::string hash(kHashBytes, '\0');
  unsigned int size = 0;
  HMAC(EVP_sha256(), salt.data(), static_cast<int>(salt.size()),
       reinterpret_cast<const unsigned char*>(token.data()), token.size(),
       reinterpret_cast<unsigned char*>(hash.data()), &size);
  return hash;
}

bool IsPrincipal(absl::string_view text) {
  return !text.empty() && text.size() <= kMaxPrincipalBytes && text[0] != '#' &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isgraph(static_cast<unsigned char>(c)); });
}

bool FromHex(absl::string_view hex, size_t bytes, std::string* result) {
  if (hex.size() != 2 * bytes || !std::all_of(hex.begin(), hex.end(), [](char c) {
        return absl::ascii_isxdigit(static_cast<unsigned char>(c));
      })) {
    return false;
  }
  *result = absl::HexStringToBytes(hex);
  return true;
}

}  // namespace

absl::StatusOr<std::vector<TokenFile::Token>> TokenFile::Parse(absl::string_view text,
                                                               absl::string_view path) {
  std::vector<Token> tokens;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line[0] == '#') continue;
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    Token token;
    token.expires = absl::InfiniteFuture();
    std::string error;
    const bool good = (fields.size() == 3 || fields.size() == 4) && IsPrincipal(fields[0]) &&
                      FromHex(fields[1], kSaltBytes, &token.salt) &&
                      FromHex(fields[2], kHashBytes, &token.hash) &&
                      (fields.size() == 3 ||
                       absl::ParseTime(absl::RFC3339_full, fields[3], &token.expires, &error));
    if (!good) {  // The message does not show the line: it may have the token itself.
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", number, ": expected a principal, a salt of ", kSaltBytes,
                       " and a hash of ", kHashBytes,
                       " bytes in hex, and maybe a time such as 2030-01-31T00:00:00Z; "
                       "leapstream-server --new-token NAME makes such a line"));
    }
    token.principal = std::string(fields[0]);
    token.line = number;
    tokens.push_back(std::move(token));
  }
  std::sort(tokens.begin(), tokens.end(),
            [](const Token& a, const Token& b) { return a.hash < b.hash; });
  return tokens;
}

TokenFile::Version TokenFile::Look(const std::string& path) {
  struct stat status {};
  Version version;
  if (stat(path.c_str(), &status) != 0) return version;
  version.inode = status.st_ino;
  if (S_ISFIFO(status.st_mode)) return version;  // A pipe that was read has nothing more.
  version.changed_ns = int64_t{status.st_mtim.tv_sec} * 1000000000 + status.st_mtim.tv_nsec;
  version.size = status.st_size;
  return version;
}

absl::StatusOr<std::unique_ptr<TokenFile>> TokenFile::Open(const std::string& path) {
  std::unique_ptr<TokenFile> file(new TokenFile(path));
  const Version version = Look(path);
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  LEAPSTREAM_ASSIGN_OR_RETURN(std::vector<Token> tokens, Parse(text, path));
  MutexLock lock(&file->mutex_);
  file->version_ = version;
  file->tokens_ = std::make_shared<const std::vector<Token>>(std::move(tokens));
  return file;
}

void TokenFile::ReadAgainIfChanged() {
  const Version version = Look(path_);
  if (version == version_) return;
  // Calls wait for this, so there is no patience for a pipe.
  const absl::StatusOr<std::string> text = ReadSmallFile(path_, absl::ZeroDuration());
  // A file that cannot be read now, maybe for want of a descriptor, is read again at the next look.
  // A file that is wrong is not looked at again until it changes.
  if (text.ok()) version_ = version;
  auto tokens = text.ok() ? Parse(*text, path_) : text.status();
  if (!tokens.ok()) {
    if (version == complained_of_) return;
    complained_of_ = version;
    spdlog::error("the tokens were not read again: {}", std::string(tokens.status().message()));
    return;
  }
  tokens_ = std::make_shared<const std::vector<Token>>(*std::move(tokens));
  spdlog::info("{} tokens read from {}", tokens_->size(), path_);
}

std::shared_ptr<const std::vector<TokenFile::Token>> TokenFile::Current() {
  MutexLock lock(&mutex_);
  ReadAgainIfChanged();
  return tokens_;
}

absl::StatusOr<const TokenFile::Token*> TokenFile::FirstGood(
    const std::vector<const Token*>& tokens, absl::Time now) {
  const Token* first = nullptr;
  for (const Token* token : tokens) {
    if (token->expires <= now) continue;
    if (first == nullptr || token->line < first->line) first = token;
  }
  if (first != nullptr) return first;
  if (tokens.empty()) {
    return WithReason(absl::UnauthenticatedError("this token is not accepted; ask for another"),
                      "TOKEN_INVALID");
  }
  return WithReason(absl::UnauthenticatedError("this token has expired; ask for another"),
                    "TOKEN_EXPIRED");
}

absl::Status TokenFile::StillAccepts(absl::string_view entry, absl::Time now) {
  const auto tokens = Current();
  std::vector<const Token*> found;
  for (; entry.size() >= kHashBytes; entry.remove_prefix(kHashBytes)) {
    const absl::string_view hash = entry.substr(0, kHashBytes);
    auto token = std::lower_bound(
        tokens->begin(), tokens->end(), hash,
        [](const Token& token, absl::string_view hash) { return token.hash < hash; });
    for (; token != tokens->end() && token->hash == hash; ++token) found.push_back(&*token);
  }
  return FirstGood(found, now).status();
}

absl::StatusOr<TokenFile::Holder> TokenFile::HolderOf(absl::string_view token, absl::Time now) {
  const auto tokens = Current();
  std::vector<const Token*> found;
  Holder holder;
  if (token.size() <= kMaxTokenBytes) {
    for (const Token& entry : *tokens) {  // All are tried, so that the time tells nothing.
      const std::string hash = Hash(entry.salt, token);
      if (CRYPTO_memcmp(hash.data(), entry.hash.data(), kHashBytes) != 0) continue;
      if (found.empty() || found.back()->hash != hash) holder.entry += hash;
      found.push_back(&entry);
    }
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const Token* const first, FirstGood(found, now));
  holder.principal = first->principal;
  return holder;
}

absl::StatusOr<std::string> TokenFile::Entry(absl::string_view principal, absl::string_view token) {
  if (!IsPrincipal(principal)) {
    return absl::InvalidArgumentError(absl::StrCat("a token's name must be one word of 1 to ",
                                                   kMaxPrincipalBytes, " printable characters"));
  }
  if (token.size() < kMinTokenBytes || token.size() > kMaxTokenBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a token must have ", kMinTokenBytes, " to ",
                                                   kMaxTokenBytes, " bytes, got ", token.size(),
                                                   "; leave it out to have one made"));
  }
  const std::string salt = RandomBytes(kSaltBytes);
  return absl::StrCat(principal, " ", absl::BytesToHexString(salt), " ",
                      absl::BytesToHexString(Hash(salt, token)));
}

std::string TokenFile::NewToken() { return absl::BytesToHexString(RandomBytes(kTokenBytes)); }

}  // namespace leapstream
