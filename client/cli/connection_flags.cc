#include "client/cli/connection_flags.h"

#include "absl/strings/str_replace.h"
#include "client/client.h"

namespace leapstream::client {

CLI::Option* AddConnectionFlags(CLI::App* command, ClientOptions& connection) {
  CLI::Option* const server =
      command
          ->add_option_function<std::string>(
              "--server",
              [&connection](const std::string& given) {
                connection.address = absl::StrReplaceAll(given, {{"\n", ","}});
              },
              "host:port of the server; of replicas: repeated, or with commas")
          ->join()  // Repeated values are joined with a line feed.
          ->default_str(connection.address);
  Security& security = connection.security;
  CLI::Option* const tls =
      command->add_flag("--tls", security.tls, "encrypt, and trust the system's certificates");
  server->check([tls](const std::string& given) {
    ClientOptions named;
    named.address = given;
    named.security.tls = tls->count() > 0;
    return std::string(CheckServerAddresses(named).message());
  });
  command->add_option("--tls-ca", security.ca_file, "PEM certificates to trust, not the system's")
      ->check(CLI::ExistingFile)
      ->needs(tls);
  CLI::Option* const certificate =
      command
          ->add_option("--tls-certificate", security.certificate_file,
                       "PEM certificate of this client, for servers that want one")
          ->check(CLI::ExistingFile)
          ->needs(tls);
  CLI::Option* const key =
      command->add_option("--tls-key", security.key_file, "PEM key of that certificate")
          ->check(CLI::ExistingFile)
          ->needs(certificate);
  certificate->needs(key);
  command
      ->add_option("--token-file", security.token_file,
                   "file of the bearer token, for servers that want one")
      ->check(CLI::ExistingFile);
  return server;
}

}  // namespace leapstream::client
