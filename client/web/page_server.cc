#include "client/web/page_server.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"
#include "client/gateway/gateway.h"
#include "client/servers.h"
#include "client/web/page.h"
#include "client/web/public_url.h"

namespace leapstream::client {
namespace {

// The page loads nothing but its own files, and no other page may have it in a frame.
constexpr char kContentPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

constexpr struct {
  const char* path;
  const char* file;
  const char* type;
} kPage[] = {
    {"/", "/index.html", "text/html; charset=utf-8"},
    {"/style.css", "/style.css", "text/css; charset=utf-8"},
    {"/page.js", "/page.js", "text/javascript; charset=utf-8"},
    {"/conversation.js", "/conversation.js", "text/javascript; charset=utf-8"},
    {"/leapstream.js", "/leapstream.js", "text/javascript; charset=utf-8"},
    {"/transcript.js", "/transcript.js", "text/javascript; charset=utf-8"},
    {"/captions.js", "/captions.js", "text/javascript; charset=utf-8"},
    {"/microphone.js", "/microphone.js", "text/javascript; charset=utf-8"},
    {"/icon.svg", "/icon.svg", "image/svg+xml"},
    {"/talk.txt", "/talk.txt", "text/plain; charset=utf-8"},
};

class GatewayPageServer final : public PageServer {
 public:
  GatewayPageServer(std::shared_ptr<Servers> servers, gateway::GatewayOptions options)
      : servers_(std::move(servers)), gateway_(gateway::Gateway::Start(std::move(options))) {}
  absl::Status Listen(const PageOptions& options) {
    const absl::Status status = gateway_->Listen(options.host, options.port);
    if (status.ok()) return status;
    return absl::InvalidArgumentError(
        absl::StrCat(status.message(), "; choose another --listen"));
  }
  int port() const override { return gateway_->port(); }

 private:
  const std::shared_ptr<Servers> servers_;
  const std::unique_ptr<gateway::Gateway> gateway_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PageServer>> PageServer::Start(const ClientOptions& connection,
                                                              const PageOptions& options) {
  gateway::GatewayOptions how;
  how.host_names = {options.host_names.begin(), options.host_names.end()};
  for (const std::string& given : options.public_urls) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const PublicUrl url, ParsePublicUrl(given));
    how.host_names.insert(url.name);
    how.allowed_origins.push_back(url.origin);
    if (&given != &options.public_urls.front() && url.path != how.base_path) {
      return absl::InvalidArgumentError(
          absl::StrCat("want one path in every --public-url, got ", Quoted(how.base_path), " and ",
                       Quoted(url.path)));
    }
    how.base_path = url.path;
  }
  how.checks_host = true;
  how.host_remedy =
      "; give it with --host-name, or, if a proxy asks on behalf of browsers, theirs with "
      "--public-url";
  how.origin_remedy =
      "; if it is this one behind a proxy, give the address that browsers have with --public-url";
  how.max_streams = options.max_sessions;
  how.max_viewers = options.max_viewers;
  for (const auto& file : kPage) {
    how.files[file.path] = {file.type, std::string(PageFile(file.file))};
  }
  how.file_headers = {{"Content-Security-Policy", kContentPolicy},
                      {"Referrer-Policy", "no-referrer"},
                      {"Cross-Origin-Resource-Policy", "same-origin"}};
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::shared_ptr<Servers> servers, Servers::Create(connection));
  how.channel = [servers] { return servers->Next()->channel; };
  auto server = std::make_unique<GatewayPageServer>(servers, std::move(how));
  LEAPSTREAM_RETURN_IF_ERROR(server->Listen(options));
  return std::unique_ptr<PageServer>(std::move(server));
}

}  // namespace leapstream::client
