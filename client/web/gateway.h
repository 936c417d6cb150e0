#ifndef LEAPSTREAM_CLIENT_WEB_GATEWAY_H_
#define LEAPSTREAM_CLIENT_WEB_GATEWAY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"

namespace leapstream::client {

struct GatewayOptions {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: a free port.
  // Names that browsers may call the gateway by, besides localhost and addresses. A page of another
  // site could give itself our address, but not one of these names.
  std::vector<std::string> host_names;
  // Addresses that browsers have of the page behind a proxy, such as
  // "https://talks.example.org/live/". Pages of these origins may write, their names are added to
  // host_names, and their one path may stand before all others here.
  std::vector<std::string> public_urls;
  int max_sessions = 32;  // Sessions at once.
  int max_viewers = 64;   // Viewers at once, of all sessions: each takes a thread.
  absl::Duration idle_timeout =
      absl::Minutes(10);                          // A session that got no source for so long ends.
  absl::Duration keep_ended = absl::Minutes(10);  // An ended session can be read for so long.
};

// Serves the page of client/web/page, and the requests of the page:
//   GET  /api/models                 as `leapstream models --json`
//   POST /api/sessions               {"model": …, "policy": "la:2", "audio": …,
//                                    "sample_rate": …} gives {"id": …, "key": …}; "k" is
//                                    the policy wait-k
//   GET  /api/sessions/ID/events     server-sent events, from the first one on or after
//                                    Last-Event-ID; see web_session.h
//   POST /api/sessions/ID/source     {"text": …, "ends_segment": …}
//   POST /api/sessions/ID/audio      if it began with "audio": true: mono 16-bit little-endian
//                                    samples at its "sample_rate" (16000 if it named none), as
//                                    application/octet-stream
//   POST /api/sessions/ID/close      no more source
// Whoever has the id may watch. Whoever has the key, sent as X-Leapstream-Key, may write. A POST
// must be of type application/json or, for audio, application/octet-stream, and must come from a
// page of the same host or of a public URL's origin. So no other site can make a browser send it.
// Errors are {"error": …} with status 400, 403, 404, 409, 413, 415, 429 or 503. Thread-safe.
class Gateway {
 public:
  // `client` must outlive it. INVALID_ARGUMENT: the address cannot be listened on, a public URL is
  // malformed, or two public URLs have different paths.
  static absl::StatusOr<std::unique_ptr<Gateway>> Start(Client* client,
                                                        const GatewayOptions& options);
  virtual ~Gateway() = default;  // Ends all sessions and viewers.
  virtual int port() const = 0;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_WEB_GATEWAY_H_
