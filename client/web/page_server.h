#ifndef LEAPSTREAM_CLIENT_WEB_PAGE_SERVER_H_
#define LEAPSTREAM_CLIENT_WEB_PAGE_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client.h"

namespace leapstream::client {

struct PageOptions {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: a free port.
  // Names that browsers may call it by, besides localhost and addresses. A page of another site
  // could give itself our address, but not one of these names.
  std::vector<std::string> host_names;
  // Addresses that browsers have of the page behind a proxy, such as
  // "https://talks.example.org/live/". Pages of these origins may write, their names are added to
  // host_names, and their one path may stand before all others here.
  std::vector<std::string> public_urls;
  int max_sessions = 32;  // Sessions at once.
  int max_viewers = 64;   // Viewers at once, of all sessions.
};

// Serves the page of client/web/page, and what it asks for: the HTTP and WebSocket interface of
// docs/http.md, whose calls go to the servers of `connection` by turns. Pages of other sites may
// not use it. Thread-safe.
class PageServer {
 public:
  // INVALID_ARGUMENT: the address cannot be listened on, a public URL is malformed, or two public
  // URLs have different paths. Other errors are those of Client::Connect(), but for a server that
  // does not answer: one that comes later is found.
  static absl::StatusOr<std::unique_ptr<PageServer>> Start(const ClientOptions& connection,
                                                           const PageOptions& options);
  virtual ~PageServer() = default;  // Ends all sessions and viewers.
  virtual int port() const = 0;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_WEB_PAGE_SERVER_H_
