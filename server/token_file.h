#ifndef LEAPSTREAM_SERVER_TOKEN_FILE_H_
#define LEAPSTREAM_SERVER_TOKEN_FILE_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace leapstream {

// The bearer tokens that a server accepts, as salted hashes in a file: one "principal salt hash"
// a line, then, if the token expires, when (RFC 3339); "#" begins a comment. The hash is
// HMAC-SHA-256 of the token under the salt, both in hex: tokens are random, so that slowing a
// guesser down would only slow the server down. A token that several lines have is good as long as
// one of them is, and belongs to the principal of the first that is. The file is read again when it
// changes; a change that cannot be read is logged, and what was read before stays. Thread-safe.
class TokenFile {
 public:
  // NOT_FOUND: it cannot be read; INVALID_ARGUMENT, with file and line: a bad entry.
  static absl::StatusOr<std::unique_ptr<TokenFile>> Open(const std::string& path);

  struct Holder {
    std::string principal;
    std::string entry;  // Which lines it has, for StillAccepts(). Tells nothing of the token.
  };
  // Whose token it is. UNAUTHENTICATED: nobody's, or it has expired at `now`. Takes as long
  // whichever entry it is.
  absl::StatusOr<Holder> HolderOf(absl::string_view token, absl::Time now);
  // OK, or what HolderOf() would now say of the token of an entry.
  absl::Status StillAccepts(absl::string_view entry, absl::Time now);

  // A line for the file. INVALID_ARGUMENT: a principal that is not one word of printable ASCII, or
  // a token that could be guessed: fewer than 32 bytes.
  static absl::StatusOr<std::string> Entry(absl::string_view principal, absl::string_view token);
  static std::string NewToken();  // 256 random bits in hex.

 private:
  struct Token {
    std::string principal;
    std::string salt;
    std::string hash;
    absl::Time expires;
    int line = 0;
  };
  struct Version {  // Of the file, by what stat() says.
    int64_t changed_ns = 0;
    int64_t size = -1;
    uint64_t inode = 0;
    bool operator==(const Version& other) const {
      return changed_ns == other.changed_ns && size == other.size && inode == other.inode;
    }
  };
  explicit TokenFile(std::string path) : path_(std::move(path)) {}
  static Version Look(const std::string& path);
  static absl::StatusOr<std::vector<Token>> Parse(absl::string_view text, absl::string_view path);
  // The first of `tokens`, in the order of lines, that is good. Errors as of HolderOf().
  static absl::StatusOr<const Token*> FirstGood(const std::vector<const Token*>& tokens,
                                                absl::Time now);
  // What the file has now.
  std::shared_ptr<const std::vector<Token>> Current();
  void ReadAgainIfChanged() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  Mutex mutex_;
  Version version_ ABSL_GUARDED_BY(mutex_);
  std::optional<Version> complained_of_ ABSL_GUARDED_BY(mutex_);  // The log says it was not read.
  std::shared_ptr<const std::vector<Token>> tokens_ ABSL_GUARDED_BY(mutex_);  // By hash.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_TOKEN_FILE_H_
