#ifndef LEAPSTREAM_SERVER_TLS_FILES_H_
#define LEAPSTREAM_SERVER_TLS_FILES_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace leapstream {

// The names of PEM files. The files are read again when they change.
struct TlsFiles {
  std::string certificate;  // The chain, the server's own first. Empty: no TLS.
  std::string key;          // The private key of the server's own certificate.
  // Clients must have a certificate that one of these signed; empty: they need none.
  std::string client_ca;
};

// OK if the files can be used, or if there are none. gRPC itself would find an error at the first
// handshake, and tell nobody. INVALID_ARGUMENT: a file is not PEM, or the key is not that of the
// certificate. NOT_FOUND: a file cannot be read: see
// ReadSmallFile().
absl::Status CheckTlsFiles(const TlsFiles& files);

// Copies of the files in memory, which gRPC reads instead of the files. If a file has become a
// pipe, gRPC would wait for its writer without end, and the end of the server would wait for gRPC.
// Not thread-safe.
class TlsCopies {
 public:
  // `files` must have a certificate. Errors are those of CheckTlsFiles(), and NOT_FOUND if /proc is
  // not mounted. RESOURCE_EXHAUSTED: there are no descriptors for the copies.
  static absl::StatusOr<std::unique_ptr<TlsCopies>> Of(const TlsFiles& files);
  ~TlsCopies();
  TlsCopies(const TlsCopies&) = delete;
  TlsCopies& operator=(const TlsCopies&) = delete;

  // The names of the copies, which exist as long as this object.
  const TlsFiles& copies() const { return copies_; }
  // Reads the files again. If they have changed and fit together, copies them. If they do not fit,
  // the copies stay as they are, and the log says why, once. True: the copies have changed.
  bool Update();

 private:
  struct Contents {
    std::string certificate, key, client_ca;
  };
  explicit TlsCopies(const TlsFiles& files) : files_(files) {}
  static absl::StatusOr<Contents> Read(const TlsFiles& files, absl::Duration patience);
  static absl::Status Check(const TlsFiles& files, const Contents& contents);
  friend absl::Status CheckTlsFiles(const TlsFiles& files);
  absl::Status Copy(const Contents& contents);

  const TlsFiles files_;
  TlsFiles copies_;
  int descriptors_[3] = {-1, -1, -1};  // Those of the copies, in the order of TlsFiles.
  Contents contents_;                  // Those of the copies.
  std::string complained_of_;          // The error that the log has already; empty: none.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_TLS_FILES_H_
