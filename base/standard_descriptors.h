#ifndef LEAPSTREAM_BASE_STANDARD_DESCRIPTORS_H_
#define LEAPSTREAM_BASE_STANDARD_DESCRIPTORS_H_

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

// To be included by the file of a program's main() alone.
namespace leapstream {

// Opens those of the descriptors 0, 1 and 2 that a program was started without (`<&-`): else the
// next file or socket gets the number, and what is written to standard error goes into it. Reading
// standard input fails then, and so does writing standard output: a program that lost them says so.
// Standard error is dropped. False: a descriptor could not be opened, and main() cannot go on.
inline bool OpenStandardDescriptors() {
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
    if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest number that is free is this one. A machine without /dev has a root.
    int opened = open("/dev/null", descriptor == STDOUT_FILENO ? O_RDONLY : O_WRONLY);
    if (opened < 0) opened = open("/", O_RDONLY | O_DIRECTORY);
    if (opened != descriptor) return false;
  }
  return true;
}

// Before main(), and before the initialisers of all libraries: gRPC's open descriptors.
inline void OpenStandardDescriptorsFirst() { OpenStandardDescriptors(); }
__attribute__((section(".preinit_array"), used)) static void (*const kOpensDescriptorsFirst)() =
    &OpenStandardDescriptorsFirst;

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_STANDARD_DESCRIPTORS_H_
