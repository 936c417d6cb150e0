#include "client/cli/port_file.h"

#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace leapstream::client {

absl::Status WritePortFile(const std::string& path, int port) {
  const std::string unfinished = path + ".tmp";  // So nobody reads half of the file.
  std::ofstream file(unfinished);
  file << port << "\n";
  file.close();
  if (!file || std::rename(unfinished.c_str(), path.c_str()) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("cannot write the port to ", path));
  }
  return absl::OkStatus();
}

}  // namespace leapstream::client
