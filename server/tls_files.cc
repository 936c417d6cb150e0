#include "server/tls_files.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/small_file.h"
#include "base/status.h"

namespace leapstream {
namespace {

template <typename T, auto Free>
using Owned = std::unique_ptr<T, std::integral_constant<decltype(Free), Free>>;
using Certificate = Owned<X509, &X509_free>;

absl::Status Bad(absl::string_view what) {
  char reason[256] = "";
  const unsigned long code = ERR_get_error();  // NOLINT: OpenSSL's type.
  if (code != 0) ERR_error_string_n(code, reason, sizeof(reason));
  ERR_clear_error();
  return absl::InvalidArgumentError(
      absl::StrCat(what, code != 0 ? " (" : "", reason, code != 0 ? ")" : ""));
}

Owned<BIO, &BIO_free> Source(const std::string& pem) {
  return Owned<BIO, &BIO_free>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// Gives OpenSSL no password: there is nobody to be asked for one.
int NoPassword(char* /*buffer*/, int /*size*/, int /*writes*/, void* /*unused*/) { return -1; }

Certificate Next(BIO* source) {
  return Certificate(PEM_read_bio_X509_AUX(source, nullptr, &NoPassword, nullptr));
}

// True if the text was read to its end. False: there is something in it that is no certificate.
bool AtEnd() {
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) return false;
  ERR_clear_error();
  return true;
}

bool UseChain(SSL_CTX* context, const std::string& pem) {
  const auto source = Source(pem);
  const Certificate own = Next(source.get());
  if (own == nullptr || SSL_CTX_use_certificate(context, own.get()) != 1) return false;
  while (const Certificate issuer = Next(source.get())) {
    if (SSL_CTX_add1_chain_cert(context, issuer.get()) != 1) return false;
  }
  return AtEnd();
}

bool UseKey(SSL_CTX* context, const std::string& pem) {
  const auto source = Source(pem);
  const Owned<EVP_PKEY, &EVP_PKEY_free> key(
      PEM_read_bio_PrivateKey(source.get(), nullptr, &NoPassword, nullptr));
  return key != nullptr && SSL_CTX_use_PrivateKey(context, key.get()) == 1 &&
         SSL_CTX_check_private_key(context) == 1;
}

bool HasCertificates(const std::string& pem) {
  const auto source = Source(pem);
  int count = 0;
  while (Next(source.get()) != nullptr) ++count;
  return count > 0 && AtEnd();
}

// Returns the descriptor of a file in memory that has these bytes; negative: there is none to be
// had.
int MemoryFile(const std::string& bytes) {
  const int file = memfd_create("leapstream-tls", MFD_CLOEXEC);
  if (file < 0) return file;
  if (write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size())) return file;
  close(file);
  return -1;
}

}  // namespace

absl::StatusOr<TlsCopies::Contents> TlsCopies::Read(const TlsFiles& files,
                                                    absl::Duration patience) {
  Contents contents;
  LEAPSTREAM_ASSIGN_OR_RETURN(contents.certificate, ReadSmallFile(files.certificate, patience));
  LEAPSTREAM_ASSIGN_OR_RETURN(contents.key, ReadSmallFile(files.key, patience));
  if (!files.client_ca.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(contents.client_ca, ReadSmallFile(files.client_ca, patience));
  }
  return contents;
}

absl::Status TlsCopies::Check(const TlsFiles& files, const Contents& contents) {
  const Owned<SSL_CTX, &SSL_CTX_free> context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) return absl::InternalError("OpenSSL makes no context");
  ERR_clear_error();
  if (!UseChain(context.get(), contents.certificate)) {
    return Bad(absl::StrCat(files.certificate, " is no certificate chain in PEM"));
  }
  if (!UseKey(context.get(), contents.key)) {
    return Bad(absl::StrCat(files.key,
                            " is not the private key, in PEM and without a password, of ",
                            files.certificate));
  }
  if (!files.client_ca.empty() && !HasCertificates(contents.client_ca)) {
    return Bad(absl::StrCat(files.client_ca, " has no certificates in PEM"));
  }
  return absl::OkStatus();
}

absl::Status CheckTlsFiles(const TlsFiles& files) {
  if (files.certificate.empty()) return absl::OkStatus();
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto contents, TlsCopies::Read(files, kPipePatience));
  return TlsCopies::Check(files, contents);
}

absl::StatusOr<std::unique_ptr<TlsCopies>> TlsCopies::Of(const TlsFiles& files) {
  std::unique_ptr<TlsCopies> copies(new TlsCopies(files));
  LEAPSTREAM_ASSIGN_OR_RETURN(const Contents contents, Read(files, kPipePatience));
  LEAPSTREAM_RETURN_IF_ERROR(Check(files, contents));
  LEAPSTREAM_RETURN_IF_ERROR(copies->Copy(contents));
  const auto path = [](int descriptor) { return absl::StrCat("/proc/self/fd/", descriptor); };
  copies->copies_.certificate = path(copies->descriptors_[0]);
  copies->copies_.key = path(copies->descriptors_[1]);
  if (!files.client_ca.empty()) copies->copies_.client_ca = path(copies->descriptors_[2]);
  if (access(copies->copies_.key.c_str(), R_OK) != 0) {
    return absl::NotFoundError("cannot read /proc/self/fd, which TLS needs; mount /proc");
  }
  return copies;
}

TlsCopies::~TlsCopies() {
  for (const int descriptor : descriptors_) {
    if (descriptor >= 0) close(descriptor);
  }
}

absl::Status TlsCopies::Copy(const Contents& contents) {
  const std::string* const texts[] = {&contents.certificate, &contents.key, &contents.client_ca};
  std::array<int, 3> made = {-1, -1, -1};
  bool all = true;
  for (size_t i = 0; i < made.size() && all; ++i) {
    made[i] = MemoryFile(*texts[i]);
    all = made[i] >= 0;
  }
  for (size_t i = 0; i < made.size(); ++i) {
    if (all && descriptors_[i] < 0) {
      descriptors_[i] = std::exchange(made[i], -1);
    } else if (all) {
      dup3(made[i], descriptors_[i], O_CLOEXEC);  // The path gets the new file in one step.
    }
    if (made[i] >= 0) close(made[i]);
  }
  if (!all) {
    return absl::ResourceExhaustedError(
        "there are no descriptors for copies of the TLS files; raise their limit (ulimit -n)");
  }
  contents_ = contents;
  return absl::OkStatus();
}

bool TlsCopies::Update() {
  // There is no patience: a timer's thread calls this, which must not wait for a pipe.
  const absl::StatusOr<Contents> now = Read(files_, absl::ZeroDuration());
  absl::Status status = now.status();
  if (now.ok()) {
    if (now->certificate == contents_.certificate && now->key == contents_.key &&
        now->client_ca == contents_.client_ca) {
      complained_of_.clear();
      return false;
    }
    status = Check(files_, *now);
    if (status.ok()) status = Copy(*now);
  }
  const std::string what(status.message());
  if (status.ok()) {
    spdlog::info("TLS: the certificate was read again from {}", files_.certificate);
  } else if (complained_of_ != what) {
    spdlog::error("TLS goes on with the files as they were: {}", what);
  }
  complained_of_ = what;
  return status.ok();
}

}  // namespace leapstream
