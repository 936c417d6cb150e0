#ifndef LEAPSTREAM_CLIENT_WEB_PAGE_H_
#define LEAPSTREAM_CLIENT_WEB_PAGE_H_

#include "absl/strings/string_view.h"

namespace leapstream::client {

// A file of the page in client/web/page, put into the program when it was built, such as
// "/style.css". Empty: no file has this path.
absl::string_view PageFile(absl::string_view path);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_WEB_PAGE_H_
