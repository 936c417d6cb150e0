#include "client/gateway/tls_context.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace leapstream::gateway {
namespace {

absl::Status TlsError(const std::string& file) {
  char why[256] = "";
  ERR_error_string_n(ERR_get_error(), why, sizeof(why));
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat("cannot use ", file, " for TLS: ", why));
}

std::string TextOf(const ASN1_STRING* text) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, text);
  if (size < 0) return "";
  std::string copy(reinterpret_cast<const char*>(utf8), static_cast<size_t>(size));
  OPENSSL_free(utf8);
  return copy;
}

std::string TextOf(const GENERAL_NAME& name) {
  if (name.type == GEN_DNS || name.type == GEN_EMAIL || name.type == GEN_URI) {
    return TextOf(name.d.ia5);
  }
  if (name.type != GEN_IPADD) return "";
  const int size = ASN1_STRING_length(name.d.iPAddress);
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name.d.iPAddress), text,
            sizeof(text));
  return size == 4 || size == 16 ? text : "";
}

}  // namespace

absl::StatusOr<SSL_CTX*> NewServerContext(const std::string& certificate, const std::string& key,
                                          const std::string& client_ca) {
  ERR_clear_error();
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_server_method()),
                                                       &SSL_CTX_free);
  if (context == nullptr) return TlsError("OpenSSL");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(),
                      SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  // A session that is taken up again brings no certificate of the client with it.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  const auto id = reinterpret_cast<const unsigned char*>("leapstream");
  SSL_CTX_set_session_id_context(context.get(), id, 10);
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate.c_str()) != 1) {
    return TlsError(certificate);
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    return TlsError(key);
  }
  if (!client_ca.empty()) {
    if (SSL_CTX_load_verify_locations(context.get(), client_ca.c_str(), nullptr) != 1) {
      return TlsError(client_ca);
    }
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return context.release();
}

std::string PeerName(const SSL* connection) {
  const std::unique_ptr<X509, void (*)(X509*)> certificate(
      SSL_get1_peer_certificate(connection), &X509_free);
  if (certificate == nullptr) return "";
  std::string name;
  auto* const names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; name.empty() && i < sk_GENERAL_NAME_num(names); ++i) {
    name = TextOf(*sk_GENERAL_NAME_value(names, i));
  }
  GENERAL_NAMES_free(names);
  if (!name.empty()) return name;
  const X509_NAME* const subject = X509_get_subject_name(certificate.get());
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at >= 0) name = TextOf(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (!name.empty()) return name;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (X509_digest(certificate.get(), EVP_sha256(), digest, &size) != 1) return "";
  return absl::StrCat("sha256:", absl::BytesToHexString(absl::string_view(
                                     reinterpret_cast<const char*>(digest), size)));
}

}  // namespace leapstream::gateway
