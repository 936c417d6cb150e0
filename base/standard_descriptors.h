#ifndef LEAPSTREAM_BASE_STANDARD_DESCRIPTORS_H_
#define LEAPSTREAM_BASE_STANDARD_DESCRIPTORS_H_

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

// Only the file of a program's main() includes this.
namespace leapstream {

// Opens each of the descriptors 0, 1 and 2 that a program was started without (`<&-`). Otherwise
// the next file or socket would get the number, and text for standard error would go into it.
// Reading standard input then fails, and so does writing standard output: a program that lost them
// says so. Standard error is dropped. False: a descriptor could not be opened, and main() cannot go
// on.
inline bool OpenStandardDescriptors() {
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
    if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest free number is this one. A machine without /dev has a root.
    int opened = open("/dev/null", descriptor == STDOUT_FILENO ? O_RDONLY : O_WRONLY);
    if (opened < 0) opened = open("/", O_RDONLY | O_DIRECTORY);
    if (opened != descriptor) return false;
  }
  return true;
}

// Runs before main(), and before the initialisers of all libraries, since gRPC's open descriptors.
inline void OpenStandardDescriptorsFirst() { OpenStandardDescriptors(); }
__attribute__((section(".preinit_array"), used)) static void (*const kOpensDescriptorsFirst)() =
    &OpenStandardDescriptorsFirst;

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_STANDARD_DESCRIPTORS_H_
