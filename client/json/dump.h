#ifndef LEAPSTREAM_CLIENT_JSON_DUMP_H_
#define LEAPSTREAM_CLIENT_JSON_DUMP_H_

#include <string>

#include <nlohmann/json.hpp>

namespace leapstream::client {

// `json` on one line, without its line feed. Bytes that are not UTF-8 become U+FFFD: they must not
// throw.
template <typename Json>
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_JSON_DUMP_H_
