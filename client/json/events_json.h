#ifndef LEAPSTREAM_CLIENT_JSON_EVENTS_JSON_H_
#define LEAPSTREAM_CLIENT_JSON_EVENTS_JSON_H_

#include <string>
#include <vector>

#include "client/types.h"

namespace leapstream::client {

// Returns one line of JSON, without its line feed. Fields are named as in the proto, with durations
// as proto3 JSON has them ("0.120s") and 64-bit numbers as numbers.
std::string ToJson(const Event& event);
std::string ToJson(const std::vector<Model>& models);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_JSON_EVENTS_JSON_H_
