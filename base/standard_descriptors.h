#ifndef LEAPSTREAM_BASE_STANDARD_DESCRIPTORS_H_
#define LEAPSTREAM_BASE_STANDARD_DESCRIPTORS_H_

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace leapstream {

// Opens those of the descriptors 0, 1 and 2 that a program was started without (`<&-`), as the
// first thing in main(): else the next file or socket gets the number, and what is written to
// standard error goes into it. Reading standard input fails then, and so does writing standard
// output: a program that lost them says so. Standard error is dropped. False: a descriptor could
// not be opened, and the program cannot go on.
inline bool OpenStandardDescriptors() {
  constexpr int kModes[] = {O_WRONLY, O_RDONLY, O_WRONLY};
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest number that is free is this one. A machine without /dev has a root.
    int opened = open("/dev/null", kModes[descriptor]);
    if (opened < 0) opened = open("/", O_RDONLY | O_DIRECTORY);
    if (opened != descriptor) return false;
  }
  return true;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_STANDARD_DESCRIPTORS_H_
