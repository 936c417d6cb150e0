#ifndef LEAPSTREAM_CLIENT_CLI_OFFLINE_WARNING_H_
#define LEAPSTREAM_CLIENT_CLI_OFFLINE_WARNING_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/types.h"

namespace leapstream::client {

// A sentence to show before a session that reads whole segments, if its model was trained to write
// while it reads; "" if it was not, or if it cannot be told which of `models` it will be. `name`:
// the model that was asked for, "" if none was.
std::string OfflineWarning(const std::vector<Model>& models, absl::string_view name);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_OFFLINE_WARNING_H_
