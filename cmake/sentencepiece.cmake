# Builds Debian's SentencePiece from its source: static, position independent, inference only. The
# shared library cannot be used: it carries its own protobuf and abseil, which clash with gRPC's.
if(NOT EXISTS ${SPM_SOURCE_DIR}/src/sentencepiece_processor.cc)
  message(FATAL_ERROR "There is no SentencePiece source in ${SPM_SOURCE_DIR}: run ./dev setup")
endif()

set(spm_binary_dir ${PROJECT_BINARY_DIR}/sentencepiece)
file(STRINGS ${SPM_SOURCE_DIR}/VERSION.txt spm_version LIMIT_COUNT 1)
file(CONFIGURE OUTPUT ${spm_binary_dir}/config.h CONTENT
"#define VERSION \"${spm_version}\"
#define PACKAGE \"sentencepiece\"
#define PACKAGE_STRING \"sentencepiece\"
")
# src/init.h includes the bundled protobuf by path; this header takes the system's instead.
file(CONFIGURE
  OUTPUT ${spm_binary_dir}/shim/third_party/protobuf-lite/google/protobuf/message_lite.h
  CONTENT "#include <google/protobuf/message_lite.h>\n")

file(MAKE_DIRECTORY ${spm_binary_dir}/proto)
set(spm_generated)
foreach(proto sentencepiece sentencepiece_model)
  add_custom_command(
    OUTPUT ${spm_binary_dir}/proto/${proto}.pb.cc ${spm_binary_dir}/proto/${proto}.pb.h
    COMMAND protobuf::protoc --proto_path=${SPM_SOURCE_DIR}/src --cpp_out=${spm_binary_dir}/proto
            ${SPM_SOURCE_DIR}/src/${proto}.proto
    DEPENDS ${SPM_SOURCE_DIR}/src/${proto}.proto protobuf::protoc
    VERBATIM)
  list(APPEND spm_generated ${spm_binary_dir}/proto/${proto}.pb.cc)
endforeach()

set(spm_sources bpe_model char_model error filesystem model_factory model_interface normalizer
    sentencepiece_processor unigram_model util word_model)
list(TRANSFORM spm_sources PREPEND ${SPM_SOURCE_DIR}/src/)
list(TRANSFORM spm_sources APPEND .cc)

add_library(leapstream_sentencepiece STATIC
  ${spm_sources} ${SPM_SOURCE_DIR}/third_party/absl/flags/flag.cc ${spm_generated})
set_target_properties(leapstream_sentencepiece PROPERTIES
  POSITION_INDEPENDENT_CODE ON EXPORT_COMPILE_COMMANDS OFF)
target_compile_options(leapstream_sentencepiece PRIVATE -w)
# The source has a partial abseil of its own. It is renamed, so that no symbol of it meets the real
# one.
target_compile_definitions(leapstream_sentencepiece PRIVATE absl=spm_absl _USE_INTERNAL_STRING_VIEW)
target_include_directories(leapstream_sentencepiece SYSTEM
  PUBLIC ${SPM_SOURCE_DIR}/src ${spm_binary_dir}/proto
  PRIVATE ${spm_binary_dir} ${spm_binary_dir}/shim ${SPM_SOURCE_DIR}
          ${SPM_SOURCE_DIR}/third_party)
target_link_libraries(leapstream_sentencepiece PUBLIC protobuf::libprotobuf Threads::Threads)
