#ifndef LEAPSTREAM_SERVER_HTTP_ENDPOINT_H_
#define LEAPSTREAM_SERVER_HTTP_ENDPOINT_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/address.h"

namespace leapstream {

// What GET of a path answers: 200 with the body, or 503 with why not. Called on one thread; it must
// not block.
struct HttpPage {
  std::string path;
  std::string content_type;
  std::function<absl::StatusOr<std::string>()> body;
};

// A small HTTP server for scrapers and probes. One thread serves all connections and waits for
// none: a client that is slow holds its connection, and nothing else. A connection is for one
// request, and has budget::kHttpMilliseconds for it; when there are `most_connections`, the oldest
// one that has asked for nothing yet makes room for the next. Thread-safe.
class HttpEndpoint {
 public:
  // UNAVAILABLE: the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(const Address& address,
                                                             const std::vector<HttpPage>& pages,
                                                             int most_connections);
  virtual ~HttpEndpoint() = default;  // Stops it.
  virtual int port() const = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_HTTP_ENDPOINT_H_
