#ifndef LEAPSTREAM_CLIENT_JSON_HTTP_BODY_H_
#define LEAPSTREAM_CLIENT_JSON_HTTP_BODY_H_

#include <httplib.h>

namespace leapstream::client {

// RFC 9112, 6.3: a request that has neither a Content-Length nor a Transfer-Encoding has no body.
// httplib reads one until the connection ends, and refuses it if that takes long. This is for the
// handler before routing, where `request` is httplib's own object, which is not const.
inline void TakeNoLengthAsNoBody(const httplib::Request& request) {
  if (request.has_header("Content-Length") || request.has_header("Transfer-Encoding")) return;
  const_cast<httplib::Request&>(request).set_header("Content-Length", "0");
}

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_JSON_HTTP_BODY_H_
