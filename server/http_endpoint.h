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

// A page of an HttpEndpoint. GET of its path answers 200 with the body, or 503 with the message of
// the error.
struct HttpPage {
  std::string path;
  std::string content_type;
  // Called on the endpoint's thread; must not block.
  std::function<absl::StatusOr<std::string>()> body;
};

// A small HTTP server for scrapers and probes. One thread serves all connections and waits for
// none: a client that is slow holds its connection, and nothing else. A connection is for one
// request, and has budget::kHttpMilliseconds for it. When there are `most_connections`, one of them
// is closed to make room for the next: one that has its answer, or else one that has asked for
// nothing yet, or else any; the oldest such one. Thread-safe.
class HttpEndpoint {
 public:
  // UNAVAILABLE: the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(const Address& address,
                                                             const std::vector<HttpPage>& pages,
                                                             int most_connections);
  virtual ~HttpEndpoint() = default;  // Stops the server.
  virtual int port() const = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_HTTP_ENDPOINT_H_
