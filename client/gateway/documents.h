#ifndef LEAPSTREAM_CLIENT_GATEWAY_DOCUMENTS_H_
#define LEAPSTREAM_CLIENT_GATEWAY_DOCUMENTS_H_

#include <string>

namespace leapstream::gateway {

// The gateway's interfaces in the languages of machines: its requests in OpenAPI 3.1, its WebSockets
// in AsyncAPI 2.6. The schemas of messages are made from the proto, so that they are never behind.
std::string OpenApiDocument();
std::string AsyncApiDocument();

}  // namespace leapstream::gateway

#endif  // LEAPSTREAM_CLIENT_GATEWAY_DOCUMENTS_H_
