#ifndef LEAPSTREAM_SERVER_TLS_FILES_H_
#define LEAPSTREAM_SERVER_TLS_FILES_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace leapstream {

// PEM files; read again when they change.
struct TlsFiles {
  std::string certificate;  // The chain, the server's own first. Empty: no TLS.
  std::string key;
  std::string
      client_ca;  // Clients must have a certificate that these signed; empty: they need none.
};

// Whether they can be used. gRPC would find out at the first handshake, and tell nobody.
// INVALID_ARGUMENT: a file that is not PEM, or a key that is not the certificate's; NOT_FOUND: one
// that cannot be read, or is no regular file.
absl::Status CheckTlsFiles(const TlsFiles& files);

// What the files have, in files of memory, for gRPC to read instead: it would wait without end at
// one that has become a pipe, and so would whoever ends the server. Not thread-safe.
class TlsCopies {
 public:
  // `files` name a certificate. Errors are those of CheckTlsFiles(); RESOURCE_EXHAUSTED: there are
  // no descriptors for copies.
  static absl::StatusOr<std::unique_ptr<TlsCopies>> Of(const TlsFiles& files);
  ~TlsCopies();
  TlsCopies(const TlsCopies&) = delete;
  TlsCopies& operator=(const TlsCopies&) = delete;

  // To be read for as long as this exists.
  const TlsFiles& copies() const { return copies_; }
  // Reads the files again. If they have changed, and fit together, the copies are as they are now;
  // else nothing changes, and the first time the log says why.
  void Update();

 private:
  struct Contents {
    std::string certificate, key, client_ca;
  };
  explicit TlsCopies(const TlsFiles& files) : files_(files) {}
  static absl::StatusOr<Contents> Read(const TlsFiles& files);
  static absl::Status Check(const TlsFiles& files, const Contents& contents);
  friend absl::Status CheckTlsFiles(const TlsFiles& files);
  absl::Status Copy(const Contents& contents);

  const TlsFiles files_;
  TlsFiles copies_;
  int descriptors_[3] = {-1, -1, -1};  // Of the copies, in the order of the names.
  Contents contents_;                  // Of the copies.
  std::string complained_of_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_TLS_FILES_H_
