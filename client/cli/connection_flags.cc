#include "client/cli/connection_flags.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
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

CLI::Option* AddModelFlag(CLI::App* command, std::string& model, const std::string& help) {
  return command->add_option("--model", model, help)->check([](const std::string& name) {
    std::error_code error;
    const bool is_folder =
        absl::StrContains(name, '/') && std::filesystem::is_directory(name, error);
    if (!is_folder) return std::string();
    return absl::StrCat("want a name that leapstream models lists, got the folder ", name,
                        "; leapstream-server --model ", name, " serves it");
  });
}

void AddLanguageFlags(CLI::App* command, StreamOptions& stream) {
  command->add_option("--source-lang", stream.source_language_code,
                      "such as en, or the model's own code, such as eng_Latn");
  command->add_option("--target-lang", stream.target_language_code, "such as de");
}

}  // namespace leapstream::client
