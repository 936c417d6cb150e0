#include "client/cli/web_command.h"

#include <pthread.h>
#include <signal.h>

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "client/cli/connection_flags.h"
#include "client/cli/port_file.h"

namespace leapstream::client {
namespace {

constexpr int kMaxPort = 65535;

// Splits HOST:PORT; an IPv6 address is in brackets.
absl::Status SplitAddress(const std::string& address, std::string* host, int* port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), port) || *port < 0 || *port > kMaxPort) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected --listen HOST:PORT such as 127.0.0.1:8080, got ", address));
  }
  *host = address.substr(0, colon);
  if (host->front() == '[' && host->back() == ']') *host = host->substr(1, host->size() - 2);
  return absl::OkStatus();
}

}  // namespace

void WebCommand::AddTo(CLI::App& app, const std::string& footer) {
  command_ = app.add_subcommand(
      "web",
      "Serve a page that translates what is typed into it, and shows it to others by a link.\n"
      "It has no passwords: whoever reaches --listen can use the server through it.");
  AddConnectionFlags(command_, connection_);
  command_->add_option("--listen", listen_, "HOST:PORT of the page; port 0: a free one")
      ->capture_default_str();
  command_
      ->add_option("--host-name", options_.host_names,
                   "a name that browsers call it by, besides localhost and addresses; repeatable")
      ->take_all();
  command_
      ->add_option("--public-url", options_.public_urls,
                   "the address that browsers have of the page behind a proxy, such as "
                   "https://talks.example.org/live/; repeatable")
      ->type_name("URL")
      ->take_all();
  command_->add_option("--max-sessions", options_.max_sessions, "translations at once")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command_->add_option("--max-viewers", options_.max_viewers, "browsers that watch at once")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command_->add_option("--port-file", port_file_, "file to write the port to");
  command_->footer(footer);
}

std::optional<absl::Status> WebCommand::Run() {
  if (!command_->parsed()) return std::nullopt;
  return Serve();
}

absl::Status WebCommand::Serve() {
  LEAPSTREAM_RETURN_IF_ERROR(SplitAddress(listen_, &options_.host, &options_.port));
  // The signals are blocked before any thread is made, so that the threads inherit it.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // The page says so if there is no server; one that comes later is found.
  connection_.connect_timeout = absl::ZeroDuration();
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::unique_ptr<PageServer> page,
                              PageServer::Start(connection_, options_));
  if (!port_file_.empty()) {
    LEAPSTREAM_RETURN_IF_ERROR(WritePortFile(port_file_, page->port()));
  }
  const bool everywhere = options_.host == "0.0.0.0" || options_.host == "::";
  absl::FPrintF(stderr, "leapstream: the page is at http://%s:%d/\n",
                everywhere ? "localhost" : listen_.substr(0, listen_.rfind(':')), page->port());
  if (everywhere) {
    absl::FPrintF(stderr,
                  "leapstream: and at all addresses of this machine, without a password: whoever "
                  "reaches it can use the server through it\n");
  }
  int signal = 0;
  sigwait(&signals, &signal);
  return absl::OkStatus();
}

}  // namespace leapstream::client
