#include "client/cli/characters.h"

#include <locale.h>
#include <wchar.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace leapstream::client {
namespace {

// Makes C.UTF-8 this thread's locale while the object lives. That locale is part of the C library,
// so it is always there.
class Utf8Locale {
 public:
  Utf8Locale() {
    static const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    if (utf8 != nullptr) previous_ = uselocale(utf8);
  }
  ~Utf8Locale() {
    if (previous_ != nullptr) uselocale(previous_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  locale_t previous_ = nullptr;
};

// Takes the first character off. A Utf8Locale must be in effect.
wchar_t Next(absl::string_view& text) {
  wchar_t character = 0;
  mbstate_t state = {};
  const size_t size = mbrtowc(&character, text.data(), text.size(), &state);
  const bool valid = size > 0 && size <= text.size();
  if (!valid) character = static_cast<unsigned char>(text.front());
  text.remove_prefix(valid ? size : 1);
  return character;
}

}  // namespace

size_t CharacterBytes(absl::string_view text) {
  const Utf8Locale locale;
  const size_t size = text.size();
  Next(text);
  return size - text.size();
}

int DisplayWidth(absl::string_view text) {
  const Utf8Locale locale;
  int width = 0;
  while (!text.empty()) width += std::max(wcwidth(Next(text)), 0);
  return width;
}

std::string Counted(int64_t number, absl::string_view noun) {
  return absl::StrCat(number, " ", noun, number == 1 ? "" : "s");
}

}  // namespace leapstream::client
