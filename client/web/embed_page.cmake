# Writes a C++ source that holds the files of the page: cmake -DOUTPUT=... -DFILES=PATH=FILE;... -P embed_page.cmake
set(text "// Made by embed_page.cmake.\n#include \"client/web/page.h\"\n\nnamespace leapstream::client {\nnamespace {\n")
set(table "")
set(number 0)
foreach(entry IN LISTS FILES)
  string(REGEX MATCH "^([^=]*)=(.*)$" matched "${entry}")
  set(path "${CMAKE_MATCH_1}")
  file(READ "${CMAKE_MATCH_2}" hex HEX)
  string(REGEX REPLACE "(..)" "\\\\x\\1" bytes "${hex}")
  string(LENGTH "${hex}" digits)
  math(EXPR size "${digits} / 2")
  string(APPEND text "constexpr char kFile${number}[] =\n    \"${bytes}\";\n")
  string(APPEND table "      {\"${path}\", absl::string_view(kFile${number}, ${size})},\n")
  math(EXPR number "${number} + 1")
endforeach()
string(APPEND text "}  // namespace\n\nabsl::string_view PageFile(absl::string_view path) {\n"
                   "  static constexpr struct {\n    absl::string_view path, bytes;\n  } kFiles[] = {\n${table}  };\n"
                   "  for (const auto& file : kFiles) {\n    if (file.path == path) return file.bytes;\n  }\n"
                   "  return {};\n}\n\n}  // namespace leapstream::client\n")
file(WRITE "${OUTPUT}" "${text}")
