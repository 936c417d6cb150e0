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

// The bearer tokens that a server accepts, as salted hashes in a file.
//
// Each line has "principal salt hash" and, if the token expires, a time (RFC 3339). A line that
// begins with "#" is a comment. The hash is the HMAC-SHA-256 of the token under the salt; both are
// in hex. It is a fast hash: tokens are random, so nobody can guess one, and a slow hash would only
// slow the server down. A token that several lines have is good as long as one of these lines is.
// It belongs to the principal of the first line that is good.
//
// The file is read again when it changes. A change that cannot be read is logged, and the lines
// from before stay. Thread-safe.
class TokenFile {
 public:
  // NOT_FOUND: the file cannot be read. INVALID_ARGUMENT, with file and line: a line is wrong.
  static absl::StatusOr<std::unique_ptr<TokenFile>> Open(const std::string& path);

  struct Holder {
    std::string principal;
    std::string entry;  // The hashes of the token's lines, for StillAccepts().
  };
  // Finds the holder of a token. Takes the same time whichever line has the token. UNAUTHENTICATED:
  // no line has it, or all of its lines have expired at `now`.
  absl::StatusOr<Holder> HolderOf(absl::string_view token, absl::Time now);
  // Returns the status that HolderOf() would now have for the token of a Holder::entry.
  absl::Status StillAccepts(absl::string_view entry, absl::Time now);

  // Makes a line for the file. INVALID_ARGUMENT: the principal is not one word of printable ASCII,
  // or the token is too long or shorter than 32 bytes, which somebody could guess.
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
  struct Version {  // The version of the file, as stat() shows it.
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
  // Returns the first good one of `tokens`, in the order of lines. Errors are those of HolderOf().
  static absl::StatusOr<const Token*> FirstGood(const std::vector<const Token*>& tokens,
                                                absl::Time now);
  // The tokens that the file has now.
  std::shared_ptr<const std::vector<Token>> Current();
  void ReadAgainIfChanged() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  Mutex mutex_;
  Version version_ ABSL_GUARDED_BY(mutex_);
  std::optional<Version> complained_of_ ABSL_GUARDED_BY(mutex_);  // The log says that it is wrong.
  std::shared_ptr<const std::vector<Token>> tokens_ ABSL_GUARDED_BY(mutex_);  // Sorted by hash.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_TOKEN_FILE_H_
