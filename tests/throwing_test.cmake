# Reads the sources for calls of the standard library and of nlohmann/json that throw although there is a form
# that does not throw. Nothing here catches exceptions, so that a bad file, folder or environment would end the
# program. Run with cmake -DSOURCE_DIR=... -P. With -DTEXT=FILE only that file is read.
if(DEFINED TEXT)
  set(files ${TEXT})
else()
  set(patterns)
  foreach(folder base client metrics model proto server streaming)
    foreach(ext cc h)
      list(APPEND patterns ${SOURCE_DIR}/${folder}/*.${ext})
    endforeach()
  endforeach()
  file(GLOB_RECURSE files ${patterns})
endif()

# Matches a call of std::filesystem, up to the end of its statement, that gets no error code. Calls on paths,
# which touch no file, do not count.
string(CONCAT filesystem
       "(std::filesystem|fs)::(absolute|canonical|weakly_canonical|copy|copy_file|copy_symlink|create_directory|"
       "create_directories|create_symlink|create_hard_link|current_path|equivalent|exists|file_size|"
       "hard_link_count|is_[a-z_]+|last_write_time|permissions|proximate|read_symlink|relative|remove|"
       "remove_all|rename|resize_file|space|status|symlink_status|temp_directory_path|directory_iterator|"
       "recursive_directory_iterator)( +[a-z_]+)?\\([^@]*@")
set(others
    "std::sto(i|l|ll|ul|ull|f|d|ld)\\("     # absl::SimpleAtoi
    "std::s?regex"                          # Its stack grows with the text.
    "istreambuf_iterator"                   # Throws if the file is a folder; rdbuf() does not.
    "\\.exceptions\\("
    "std::async"
    "\\.dump\\(\\)"                         # Throws for text that is not UTF-8.
    "[Jj]son::parse\\([^@]*@([^@]*@)?")          # Its callback may have a statement of its own.
set(failed 0)
foreach(file IN LISTS files)
  file(READ ${file} text)
  # Removes characters that lists use, and text that only looks like a call.
  string(REGEX REPLACE "//[^\n]*" "" text "${text}")
  string(REPLACE "@" " " text "${text}")
  string(REPLACE ";" "@" text "${text}")
  string(REPLACE "[" "(" text "${text}")
  string(REPLACE "]" ")" text "${text}")
  foreach(pattern IN LISTS filesystem others)
    string(REGEX MATCHALL "${pattern}" calls "${text}")
    foreach(call IN LISTS calls)
      if(call MATCHES "(error|ignored|unknown)\\)|allow_exceptions=\\*/false|^fs::directory_iterator\\(\\)")
        continue()
      endif()
      string(REGEX REPLACE "\n *" " " call "${call}")
      string(SUBSTRING "${call}" 0 90 call)
      message(SEND_ERROR "${file}: `${call}` throws; use the form that returns an error")
      set(failed 1)
    endforeach()
  endforeach()
endforeach()
list(LENGTH files count)
if(count LESS 1)
  message(FATAL_ERROR "found no sources in ${SOURCE_DIR}")
endif()
if(NOT failed)
  message(STATUS "${count} files, no call that throws where another form does not")
endif()
