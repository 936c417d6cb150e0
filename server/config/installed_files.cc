#include "server/config/installed_files.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace leapstream {

InstalledFiles FilesInstalledWith(absl::string_view program) {
  namespace fs = std::filesystem;
  const fs::path prefix = fs::path(std::string(program)).parent_path().parent_path();
  // A file that is there and cannot be read is an error of whoever reads it: without a configuration
  // the server would have neither tokens nor TLS.
  const auto there = [](const fs::path& path) {
    return access(path.c_str(), F_OK) == 0 || errno == EACCES ? path.string() : "";
  };
  const fs::path etc = prefix == "/usr" ? fs::path("/etc") : prefix / "etc";
  return {there(etc / "leapstream/server.yaml"),
          there(prefix / "share/leapstream/models/en-de")};
}

InstalledFiles FindInstalledFiles() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? InstalledFiles() : FilesInstalledWith(self.string());
}

}  // namespace leapstream
