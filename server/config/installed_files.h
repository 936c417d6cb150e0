#ifndef LEAPSTREAM_SERVER_CONFIG_INSTALLED_FILES_H_
#define LEAPSTREAM_SERVER_CONFIG_INSTALLED_FILES_H_

#include <string>

#include "absl/strings/string_view.h"

namespace leapstream {

// The files that were installed with a program. They lie beside the folder of the program,
// PREFIX/bin, wherever that is. Empty: there is none.
struct InstalledFiles {
  std::string config;  // PREFIX/etc/leapstream/server.yaml; of /usr it is in /etc.
  std::string model;   // PREFIX/share/leapstream/models/en-de
};

// `program` is the path of a program without symbolic links.
InstalledFiles FilesInstalledWith(absl::string_view program);

// FilesInstalledWith() this program.
InstalledFiles FindInstalledFiles();

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_CONFIG_INSTALLED_FILES_H_
