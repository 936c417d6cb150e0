#ifndef LEAPSTREAM_BASE_SMALL_FILE_H_
#define LEAPSTREAM_BASE_SMALL_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace leapstream {

// The time in which the writer of a pipe must end.
constexpr absl::Duration kPipePatience = absl::Seconds(5);

// The bytes of a file that somebody wrote for a program: a configuration, a key, a token. The file
// may be a pipe, such as the shell's <(command), which is read to its end; a second call would find
// nothing more in it. A caller that must not wait has no patience: it gets no pipe.
//
// NOT_FOUND: it cannot be read; it is neither a regular file nor a pipe; the pipe is empty, or its
// writer does not end within `patience`. INVALID_ARGUMENT: it has more than a mebibyte.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path,
                                          absl::Duration patience = kPipePatience);

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_SMALL_FILE_H_
