#include "server/tls_files.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "base/small_file.h"
#include "base/status.h"

namespace leapstream {
namespace {

absl::Status Bad(absl::string_view what) {
  char reason[256] = "";
  const unsigned long code = ERR_get_error();  // NOLINT: OpenSSL's type.
  if (code != 0) ERR_error_string_n(code, reason, sizeof(reason));
  ERR_clear_error();
  return absl::InvalidArgumentError(
      absl::StrCat(what, code != 0 ? " (" : "", reason, code != 0 ? ")" : ""));
}

}  // namespace

absl::Status CheckTlsFiles(const TlsFiles& files) {
  if (files.certificate.empty()) return absl::OkStatus();
  for (const std::string* path : {&files.certificate, &files.key, &files.client_ca}) {
    if (path->empty()) continue;
    LEAPSTREAM_RETURN_IF_ERROR(ReadSmallFile(*path).status());
  }
  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_server_method()),
                                                             &SSL_CTX_free);
  if (context == nullptr) return absl::InternalError("OpenSSL makes no context");
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()) != 1) {
    return Bad(absl::StrCat(files.certificate, " is no certificate chain in PEM"));
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    return Bad(absl::StrCat(files.key,
                            " is not the private key, in PEM and without a password, of ",
                            files.certificate));
  }
  if (!files.client_ca.empty() &&
      SSL_CTX_load_verify_locations(context.get(), files.client_ca.c_str(), nullptr) != 1) {
    return Bad(absl::StrCat(files.client_ca, " has no certificates in PEM"));
  }
  return absl::OkStatus();
}

}  // namespace leapstream
