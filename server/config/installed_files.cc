#include "server/config/installed_files.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace leapstream {

InstalledFiles FilesInstalledWith(absl::string_view program) {
  namespace fs = std::filesystem;
  const fs::path prefix = fs::path(std::string(program)).parent_path().parent_path();
  const auto readable = [](const fs::path& path) {
    return access(path.c_str(), R_OK) == 0 ? path.string() : "";
  };
  const fs::path etc = prefix == "/usr" ? fs::path("/etc") : prefix / "etc";
  return {readable(etc / "leapstream/server.yaml"),
          readable(prefix / "share/leapstream/models/en-de")};
}

InstalledFiles FindInstalledFiles() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? InstalledFiles() : FilesInstalledWith(self.string());
}

}  // namespace leapstream
