#ifndef LEAPSTREAM_MODEL_API_TOKENIZERS_MOSES_CLASSES_H_
#define LEAPSTREAM_MODEL_API_TOKENIZERS_MOSES_CLASSES_H_

#include "absl/strings/string_view.h"

// The classes of characters that the Moses tokeniser and detokeniser of sacremoses have. A code
// point beyond Unicode is in none of them.
namespace leapstream::moses {

bool IsLetter(char32_t c);  // Alphabetic for the detokeniser.
// Alphabetic for the tokeniser of `language` ("de"): letters and some marks, and for "zh", "ja" and
// "ko" the characters of their scripts with some punctuation.
bool IsAlphabetic(char32_t c, absl::string_view language);
bool IsDigit(char32_t c);   // Together with IsAlphabetic(): alphanumeric.
bool IsNumber(char32_t c);  // Digits, and other numbers such as superscripts.
bool IsLower(char32_t c);
bool IsCurrency(char32_t c);
bool IsEastAsian(char32_t c);  // The detokeniser puts no space between two of these.

}  // namespace leapstream::moses

#endif  // LEAPSTREAM_MODEL_API_TOKENIZERS_MOSES_CLASSES_H_
